"""`websockets`, reconnecting with `async for` as the documentation of `connect` shows it.

Its keepalive (a ping every 20 s, 20 s for the pong) and its backoff are left as they come.
"""

import asyncio
import json
import os
import sys
from importlib.metadata import version

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

SUBSCRIBE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "public/subscribe",
    "params": {"channels": json.loads(os.environ["SQUALL_CHANNELS"])},
}


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def on_message(message):
    if message.get("method") == "subscription":
        channel, data = message["params"]["channel"], message["params"]["data"]
        seq = data[-1]["trade_seq"] if isinstance(data, list) else data.get("change_id")
        say("message", channel=channel, seq=seq)


async def watch():
    async for websocket in connect(os.environ["SQUALL_URL"]):
        try:
            say("state", state="connected")
            await websocket.send(json.dumps(SUBSCRIBE))
            async for text in websocket:
                on_message(json.loads(text))
        except ConnectionClosed:
            pass
        say("state", state="disconnected")


async def main():
    stdin, loop = asyncio.StreamReader(), asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    say("ready", commands=[], version=version("websockets"))
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        await stdin.read()
        watching.cancel()


asyncio.run(main())
