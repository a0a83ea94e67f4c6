"""python-binance: a multiplex socket and its `recv` in a loop, as its documentation shows it.

AsyncClient is made without `create`, which would ping the venue's REST API first.
"""

import asyncio
import json
import os
import sys
from importlib.metadata import version

from binance import AsyncClient, BinanceSocketManager


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


async def watch(manager, channels):
    async with manager.multiplex_socket(channels) as stream:
        while True:
            message = await stream.recv()
            if message.get("e") == "error":
                say("state", state="disconnected", reason=f"{message['type']}: {message['m']}")
            elif "stream" in message:
                data = message["data"]
                seq = data.get("t") if data["e"] == "trade" else data.get("u")
                say("message", channel=message["stream"], seq=seq)


async def main():
    stdin, loop = asyncio.StreamReader(), asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    say("ready", commands=[], version=version("python-binance"))
    client = AsyncClient("", "")
    manager = BinanceSocketManager(client)
    manager.STREAM_URL = os.environ["SQUALL_URL"] + "/"
    watching = asyncio.create_task(watch(manager, json.loads(os.environ["SQUALL_CHANNELS"])))
    stop = asyncio.create_task(stdin.read())
    await asyncio.wait([watching, stop], return_when=asyncio.FIRST_COMPLETED)
    if watching.done():
        watching.result()
    watching.cancel()
    await asyncio.wait([watching])
    await client.close_connection()


asyncio.run(main())
