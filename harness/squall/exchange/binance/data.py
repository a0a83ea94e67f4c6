"""What Binance's streams say, and the snapshots that its REST API gives to go with them.

Depth message `n` holds book changes `2n - 1` and `2n`, so its ids are U = 2n - 1 and u = 2n, and a
snapshot taken after it has `lastUpdateId` 2n.
"""

from __future__ import annotations

from typing import Any

from squall.exchange import market
from squall.exchange.binance.streams import Stream
from squall.exchange.market import Instrument, quantity
from squall.exchange.orders import Order

IDS_PER_MESSAGE = 2
_STATES = {"open": "NEW", "filled": "FILLED", "cancelled": "CANCELED"}
_EXECUTIONS = {"open": "NEW", "filled": "TRADE", "cancelled": "CANCELED"}


def event(stream: Stream, number: int, time: int) -> tuple[dict[str, Any], int | None]:
    """Message `number` of a stream at `time` (ms), and the number it bears on the wire."""
    symbol, instrument = stream.symbol, stream.instrument
    match stream.topic:
        case "trade":
            return {"e": "trade", **trade(symbol, instrument, number, time), "t": number}, number
        case "aggTrade":
            ids = {"a": number, "f": number, "l": number}
            return {"e": "aggTrade", **trade(symbol, instrument, number, time), **ids}, number
        case "depth" | "depth@100ms":
            return depth_update(symbol, instrument, number, time), number * IDS_PER_MESSAGE
        case "bookTicker":
            return book_ticker(symbol, instrument, number), None
        case "ticker":
            return {"e": "24hrTicker", "E": time, "s": symbol, **day(instrument, number)}, None
        case "miniTicker":
            return mini_ticker(symbol, instrument, number, time), None
        case topic if topic.startswith("kline_"):
            return kline(symbol, instrument, topic.removeprefix("kline_"), number, time), None
        case _:
            return snapshot(instrument, number), None


def trade(symbol: str, instrument: Instrument, number: int, time: int) -> dict[str, Any]:
    """What trades of both kinds have in common."""
    return {
        "E": time,
        "s": symbol,
        "p": instrument.price(market.last(number)),
        "q": quantity(market.traded(number)),
        "T": time,
        "m": not market.bought(number),
        "M": True,
    }


def depth_update(symbol: str, instrument: Instrument, number: int, time: int) -> dict[str, Any]:
    """A diff of the book: prices with their new quantities, 0 where a level is gone."""
    last = number * IDS_PER_MESSAGE
    first = last - IDS_PER_MESSAGE + 1
    sides: dict[str, list[list[str]]] = {"bids": [], "asks": []}
    for change in map(market.change, range(first, last + 1)):
        sides[change.side].append([instrument.price(change.ticks), quantity(change.lots)])
    return {
        "e": "depthUpdate",
        "E": time,
        "s": symbol,
        "U": first,
        "u": last,
        "b": sides["bids"],
        "a": sides["asks"],
    }


def snapshot(instrument: Instrument, number: int, limit: int = market.DEPTH) -> dict[str, Any]:
    """The book after depth message `number`."""
    last = number * IDS_PER_MESSAGE
    sides = {
        side: [[instrument.price(ticks), quantity(lots)] for ticks, lots in levels[:limit]]
        for side, levels in market.book(last).items()
    }
    return {"lastUpdateId": last, **sides}


def book_ticker(symbol: str, instrument: Instrument, number: int) -> dict[str, Any]:
    """The best prices."""
    now = market.summary(number)
    return {
        "u": number,
        "s": symbol,
        "b": instrument.price(now.bid),
        "B": quantity(now.bid_lots),
        "a": instrument.price(now.ask),
        "A": quantity(now.ask_lots),
    }


def mini_ticker(symbol: str, instrument: Instrument, number: int, time: int) -> dict[str, Any]:
    """The last day in short."""
    long = day(instrument, number)
    short = {name: long[name] for name in ("c", "o", "h", "l", "v", "q")}
    return {"e": "24hrMiniTicker", "E": time, "s": symbol, **short}


def day(instrument: Instrument, number: int) -> dict[str, Any]:
    """The last 24 hours."""
    now, price = market.summary(number), instrument.price
    return {
        "p": price(now.last - instrument.middle),
        "P": "0.000",
        "w": price(0),
        "x": price(0),
        "c": price(now.last),
        "Q": quantity(market.traded(number)),
        "b": price(now.bid),
        "B": quantity(now.bid_lots),
        "a": price(now.ask),
        "A": quantity(now.ask_lots),
        "o": price(0),
        "h": price(now.high),
        "l": price(now.low),
        "v": quantity(now.volume),
        "q": quantity(now.volume),
        "O": 0,
        "C": 86_400_000,
        "F": 1,
        "L": number,
        "n": number,
    }


def kline(
    symbol: str, instrument: Instrument, interval: str, number: int, time: int
) -> dict[str, Any]:
    """The current candle."""
    now, price = market.summary(number), instrument.price
    candle = {
        "t": time // 60_000 * 60_000,
        "T": time // 60_000 * 60_000 + 59_999,
        "s": symbol,
        "i": interval,
        "f": 1,
        "L": number,
        "o": price(0),
        "c": price(now.last),
        "h": price(now.high),
        "l": price(now.low),
        "v": quantity(now.volume),
        "n": number,
        "x": False,
        "q": quantity(now.volume),
        "V": quantity(now.volume // 2),
        "Q": quantity(now.volume // 2),
        "B": "0",
    }
    return {"e": "kline", "E": time, "s": symbol, "k": candle}


def ticker_24hr(symbol: str, instrument: Instrument, number: int, time: int) -> dict[str, Any]:
    """GET /api/v3/ticker/24hr, one symbol of it."""
    found = day(instrument, number)
    return {
        "symbol": symbol,
        "priceChange": found["p"],
        "priceChangePercent": found["P"],
        "weightedAvgPrice": found["w"],
        "prevClosePrice": found["x"],
        "lastPrice": found["c"],
        "lastQty": found["Q"],
        "bidPrice": found["b"],
        "bidQty": found["B"],
        "askPrice": found["a"],
        "askQty": found["A"],
        "openPrice": found["o"],
        "highPrice": found["h"],
        "lowPrice": found["l"],
        "volume": found["v"],
        "quoteVolume": found["q"],
        "openTime": time - 86_400_000,
        "closeTime": time,
        "firstId": 1,
        "lastId": number,
        "count": number,
    }


def exchange_symbol(symbol: str, instrument: Instrument) -> dict[str, Any]:
    """A symbol as GET /api/v3/exchangeInfo lists it."""
    tick, lot = market.spell(1, instrument.decimals), market.spell(1, market.LOT_DECIMALS)
    largest = instrument.price(99 * instrument.middle)
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": largest,
                "tickSize": tick,
            },
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000.0000", "stepSize": lot},
            {"filterType": "NOTIONAL", "minNotional": "5.00", "maxNotional": "9000000.00"},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_MAKER"],
    }


def order_number(order: Order) -> int:
    """Binance counts orders; the last group of digits of ours."""
    return int(order.id.rpartition("-")[2])


def order_reply(order: Order, time: int) -> dict[str, Any]:
    """An order as a request for it answers."""
    filled = order.filled
    return {
        "symbol": order.instrument,
        "orderId": order_number(order),
        "orderListId": -1,
        "clientOrderId": order.label,
        "transactTime": time,
        "price": f"{order.price:.8f}",
        "origQty": f"{order.amount:.8f}",
        "executedQty": f"{filled:.8f}",
        "cummulativeQuoteQty": f"{filled * order.price:.8f}",
        "status": _STATES[order.state],
        "timeInForce": "GTC",
        "type": order.type.upper(),
        "side": order.direction.upper(),
    }


def execution_report(order: Order, time: int) -> dict[str, Any]:
    """The news of an order on the user data stream."""
    filled = order.filled
    return {
        "e": "executionReport",
        "E": time,
        "s": order.instrument,
        "c": order.label,
        "S": order.direction.upper(),
        "o": order.type.upper(),
        "f": "GTC",
        "q": f"{order.amount:.8f}",
        "p": f"{order.price:.8f}",
        "P": "0.00000000",
        "F": "0.00000000",
        "g": -1,
        "C": "",
        "x": _EXECUTIONS[order.state],
        "X": _STATES[order.state],
        "r": "NONE",
        "i": order_number(order),
        "l": f"{filled:.8f}",
        "z": f"{filled:.8f}",
        "L": f"{order.price if filled else 0.0:.8f}",
        "n": "0",
        "N": None,
        "T": time,
        "t": -1,
        "I": order_number(order),
        "w": order.state == "open",
        "m": False,
        "M": False,
        "O": time,
        "Z": f"{filled * order.price:.8f}",
        "Y": f"{filled * order.price:.8f}",
        "Q": "0.00000000",
        "W": time,
        "V": "EXPIRE_MAKER",
    }
