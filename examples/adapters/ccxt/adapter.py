"""ccxt.pro, one `while True: await exchange.watch_...` loop a channel, as its examples show it.

`pause` is for how many seconds the loop waits after an error; most of the examples do not.
"""

import asyncio
import json
import os
import sys

import ccxt.pro

PAUSE = json.loads(os.environ["SQUALL_SETTINGS"]).get("pause")


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


async def watch(exchange, channel):
    kind, _, rest = channel.partition(".")
    symbol = kind != "user" and exchange.safe_symbol(rest.partition(".")[0])
    while True:
        try:
            seq = None
            if kind == "trades":
                seq = int((await exchange.watch_trades(symbol))[-1]["info"]["trade_seq"])
            elif kind == "book":
                await exchange.watch_order_book(symbol)
            elif kind == "ticker":
                await exchange.watch_ticker(symbol)
            else:
                await exchange.watch_orders()
            say("message", channel=channel, seq=seq)
        except Exception as error:
            say("state", state="disconnected", reason=repr(error))
            if PAUSE:
                await asyncio.sleep(PAUSE)


async def main():
    told = (os.environ.get(f"SQUALL_{name}") for name in ("API_KEY", "API_SECRET", "CA_FILE"))
    exchange = ccxt.pro.deribit(dict(zip(("apiKey", "secret", "cafile"), told, strict=True)))
    exchange.urls["api"] |= {"ws": os.environ["SQUALL_URL"], "rest": os.environ["SQUALL_REST_URL"]}
    exchange.has["fetchCurrencies"] = False
    stdin, loop = asyncio.StreamReader(), asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    say("ready", commands=[])
    async with exchange:
        await exchange.load_markets()
        channels = json.loads(os.environ["SQUALL_CHANNELS"])
        loops = [asyncio.create_task(watch(exchange, channel)) for channel in channels]
        stop = asyncio.create_task(stdin.read())
        done, others = await asyncio.wait([stop, *loops], return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        done.pop().result()


asyncio.run(main())
