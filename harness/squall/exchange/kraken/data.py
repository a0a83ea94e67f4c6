"""What Kraken's channels say, but for the book."""

from __future__ import annotations

import json
from typing import Any

from squall.exchange import market
from squall.exchange.kraken.channels import PAIRS
from squall.exchange.market import quantity
from squall.exchange.orders import Order

_STATES = {"open": "new", "filled": "filled", "cancelled": "canceled"}
_EXECUTIONS = {"open": "new", "filled": "trade", "cancelled": "canceled"}


def trades(symbol: str, ids: range, time: str) -> str:
    """These trades."""
    pair = PAIRS[symbol]
    told = ", ".join(
        f'{{"symbol": {json.dumps(symbol)}, "side": "{"buy" if market.bought(id) else "sell"}",'
        f' "price": {pair.price(market.last(id))}, "qty": {quantity(market.traded(id))},'
        f' "ord_type": "limit", "trade_id": {id}, "timestamp": "{time}"}}'
        for id in ids
    )
    return f'{{"channel": "trade", "type": "update", "data": [{told}]}}'


def ticker(type: str, symbol: str, number: int, time: str) -> str:
    """The pair's state."""
    now, price = market.summary(number), PAIRS[symbol].price
    figures = {
        "bid": price(now.bid),
        "bid_qty": quantity(now.bid_lots),
        "ask": price(now.ask),
        "ask_qty": quantity(now.ask_lots),
        "last": price(now.last),
        "volume": quantity(now.volume),
        "vwap": price(0),
        "low": price(now.low),
        "high": price(now.high),
        "change": price(now.last - PAIRS[symbol].middle),
        "change_pct": "0.00",
    }
    told = ", ".join(f'"{name}": {figure}' for name, figure in figures.items())
    said = f'"symbol": {json.dumps(symbol)}, {told}, "timestamp": "{time}"'
    return f'{{"channel": "ticker", "type": "{type}", "data": [{{{said}}}]}}'


def executions(type: str, orders: list[Order], time: str) -> str:
    """The news of orders."""
    told = [execution(order, time) for order in orders]
    return json.dumps({"channel": "executions", "type": type, "data": told})


def execution(order: Order, time: str) -> dict[str, Any]:
    """The news of one order."""
    filled = order.filled
    return {
        "order_id": order.id,
        "cl_ord_id": order.label,
        "symbol": order.instrument,
        "side": order.direction,
        "order_type": order.type,
        "order_qty": order.amount,
        "limit_price": order.price,
        "cum_qty": filled,
        "exec_type": _EXECUTIONS[order.state],
        "order_status": _STATES[order.state],
        "time_in_force": "GTC",
        "timestamp": time,
    }


def rest_order(order: Order) -> dict[str, Any]:
    """An open order as REST lists it."""
    return {
        "status": "open",
        "cl_ord_id": order.label or None,
        "descr": {
            "pair": order.instrument.replace("/", ""),
            "type": order.direction,
            "ordertype": order.type,
            "price": str(order.price),
        },
        "vol": str(order.amount),
        "vol_exec": "0.0",
    }
