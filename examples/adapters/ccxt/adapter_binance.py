"""ccxt.pro on Binance: one `while True: await exchange.watch_...` a channel, as in its examples.

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
    market, kind = channel.split("@")[:2]
    symbol = exchange.safe_symbol(market.upper())
    while True:
        try:
            seq = None
            if kind == "trade":
                seq = int((await exchange.watch_trades(symbol))[-1]["id"])
            elif kind == "depth":
                seq = (await exchange.watch_order_book(symbol))["nonce"]
            else:
                await exchange.watch_ticker(symbol, {"name": kind})
            say("message", channel=channel, seq=seq)
        except Exception as error:
            say("state", state="disconnected", reason=repr(error))
            if PAUSE:
                await asyncio.sleep(PAUSE)


async def main():
    options = {"fetchMarkets": {"types": ["spot"]}}
    ca = os.environ.get("SQUALL_CA_FILE")
    exchange = ccxt.pro.binance({"options": options, "cafile": ca})
    exchange.urls["api"]["ws"]["spot"] = os.environ["SQUALL_URL"] + "/ws"
    exchange.urls["api"]["public"] = os.environ["SQUALL_REST_URL"] + "/api/v3"
    exchange.has["fetchCurrencies"] = False
    stdin, loop = asyncio.StreamReader(), asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    say("ready", commands=[], version=ccxt.__version__)
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
