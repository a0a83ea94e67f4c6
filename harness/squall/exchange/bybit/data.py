"""What Bybit's topics say.

A book begins with a snapshot; deltas follow, each with `u` one more than the last. Where the
service behind the book restarts, a snapshot with `u` 1 begins a new count. `seq` goes on.
"""

from __future__ import annotations

from typing import Any

from squall.exchange import market
from squall.exchange.bybit.topics import Topic
from squall.exchange.market import Instrument, quantity
from squall.exchange.orders import Order

FIRST_U = 1000
CHANGES_PER_MESSAGE = 2
_STATES = {"open": "New", "filled": "Filled", "cancelled": "Cancelled"}


def message(topic: Topic, type: str, content: Any, time: int) -> dict[str, Any]:
    """A data message around its content; `time` in milliseconds."""
    return {"topic": topic.name, "type": type, "ts": time, "data": content}


def update_id(number: int, restarted: int | None) -> int:
    """`u` of book message `number`."""
    return FIRST_U + number if restarted is None else number - restarted + 1


def snapshot(
    topic: Topic, number: int, restarted: int | None, time: int, limit: int = market.DEPTH
) -> dict[str, Any]:
    """The book after message `number`."""
    price = topic.instrument.price
    sides = {
        side[0]: [[price(ticks), quantity(lots)] for ticks, lots in levels[:limit]]
        for side, levels in market.book(number * CHANGES_PER_MESSAGE).items()
    }
    numbers = {"u": update_id(number, restarted), "seq": number}
    content = {"s": topic.symbol, **sides, **numbers}
    return {**message(topic, "snapshot", content, time), "cts": time}


def delta(topic: Topic, number: int, restarted: int | None, time: int) -> dict[str, Any]:
    """What message `number` does to the book: size 0 deletes."""
    last = number * CHANGES_PER_MESSAGE
    sides: dict[str, list[list[str]]] = {"b": [], "a": []}
    for change in map(market.change, range(last - CHANGES_PER_MESSAGE + 1, last + 1)):
        amount = quantity(change.lots) if change.lots else "0"
        sides[change.side[0]].append([topic.instrument.price(change.ticks), amount])
    numbers = {"u": update_id(number, restarted), "seq": number}
    content = {"s": topic.symbol, **sides, **numbers}
    return {**message(topic, "delta", content, time), "cts": time}


def trades(topic: Topic, seqs: range, time: int) -> dict[str, Any]:
    """These trades."""
    content = [
        {
            "T": time,
            "s": topic.symbol,
            "S": "Buy" if market.bought(seq) else "Sell",
            "v": quantity(market.traded(seq)),
            "p": topic.instrument.price(market.last(seq)),
            "L": "PlusTick",
            "i": f"00000000-0000-0000-0000-{seq:012d}",
            "BT": False,
            "seq": seq,
        }
        for seq in seqs
    ]
    return message(topic, "snapshot", content, time)


def ticker(topic: Topic, number: int, time: int) -> dict[str, Any]:
    """The instrument's state."""
    content = day(topic.symbol, topic.instrument, number)
    return {**message(topic, "snapshot", content, time), "cs": number}


def day(symbol: str, instrument: Instrument, number: int) -> dict[str, Any]:
    """The last 24 hours of a perpetual."""
    now, price = market.summary(number), instrument.price
    return {
        "symbol": symbol,
        "lastPrice": price(now.last),
        "prevPrice24h": price(0),
        "price24hPcnt": "0",
        "highPrice24h": price(now.high),
        "lowPrice24h": price(now.low),
        "volume24h": quantity(now.volume),
        "turnover24h": quantity(now.volume),
        "markPrice": price(0),
        "indexPrice": price(0),
        "openInterest": quantity(now.volume),
        "openInterestValue": quantity(now.volume),
        "fundingRate": "0.0001",
        "nextFundingTime": "0",
        "bid1Price": price(now.bid),
        "bid1Size": quantity(now.bid_lots),
        "ask1Price": price(now.ask),
        "ask1Size": quantity(now.ask_lots),
    }


def instrument_info(symbol: str, instrument: Instrument, category: str) -> dict[str, Any]:
    """A symbol as GET /v5/market/instruments-info lists it."""
    tick, lot = market.spell(1, instrument.decimals), market.spell(1, market.LOT_DECIMALS)
    return {
        "symbol": symbol,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": instrument.base,
        "quoteCoin": instrument.quote,
        "settleCoin": instrument.quote,
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(instrument.decimals),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {
            "minPrice": tick,
            "maxPrice": instrument.price(99 * instrument.middle),
            "tickSize": tick,
        },
        "lotSizeFilter": {
            "minOrderQty": lot,
            "maxOrderQty": "9000",
            "qtyStep": lot,
            "basePrecision": lot,
            "quotePrecision": "0.00000001",
            "minNotionalValue": "5",
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "copyTrading": "none",
    }


def order(order: Order, time: int) -> dict[str, Any]:
    """The news of an order; `time` in milliseconds."""
    filled = order.filled
    return {
        "category": "linear",
        "orderId": order.id,
        "orderLinkId": order.label,
        "symbol": order.instrument,
        "side": order.direction.capitalize(),
        "orderType": order.type.capitalize(),
        "price": f"{order.price:g}",
        "qty": f"{order.amount:g}",
        "cumExecQty": f"{filled:g}",
        "cumExecValue": f"{filled * order.price:g}",
        "cumExecFee": "0",
        "leavesQty": f"{order.amount - filled:g}",
        "avgPrice": f"{order.price:g}" if filled else "",
        "orderStatus": _STATES[order.state],
        "rejectReason": "EC_NoError",
        "timeInForce": "GTC",
        "reduceOnly": False,
        "closeOnTrigger": False,
        "positionIdx": 0,
        "stopOrderType": "",
        "tpslMode": "",
        "createdTime": str(time),
        "updatedTime": str(time),
    }
