"""ccxt.pro, one `while True: await exchange.watch_...` loop a channel, as its examples show it.

`pause` is for how many seconds the loop waits after an error (most of the examples do not); `run`
can live in Squall's own process as well, and so on its virtual clock.
"""

import asyncio
import json
import os
import sys

import ccxt.pro


async def watch(exchange, channel, pause, emit):
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
            emit({"event": "message", "channel": channel, "seq": seq})
        except Exception as error:
            emit({"event": "state", "state": "disconnected", "reason": repr(error)})
            if pause:
                await asyncio.sleep(pause)


async def run(env, emit, commands):
    told = (env.get(f"SQUALL_{name}") for name in ("API_KEY", "API_SECRET", "CA_FILE"))
    exchange = ccxt.pro.deribit(dict(zip(("apiKey", "secret", "cafile"), told, strict=True)))
    exchange.urls["api"] |= {"ws": env["SQUALL_URL"], "rest": env["SQUALL_REST_URL"]}
    exchange.has["fetchCurrencies"] = False
    emit({"event": "ready", "commands": [], "version": ccxt.__version__})
    pause = json.loads(env["SQUALL_SETTINGS"]).get("pause")
    channels = json.loads(env["SQUALL_CHANNELS"])
    async with exchange, asyncio.TaskGroup() as group:
        await exchange.load_markets()
        loops = [group.create_task(watch(exchange, each, pause, emit)) for each in channels]
        await commands.get()
        for each in loops:
            each.cancel()


async def main():
    stdin, commands, loop = asyncio.StreamReader(), asyncio.Queue(), asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    loop.create_task(stdin.read()).add_done_callback(lambda _: commands.put_nowait(None))
    await run(os.environ, lambda event: print(json.dumps(event), flush=True), commands)


if __name__ == "__main__":
    asyncio.run(main())
