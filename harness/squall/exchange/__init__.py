"""The mock exchange: a venue that can be told to misbehave, and that sees what its clients do.

`core` is the exchange without I/O, `server` puts it on sockets (`line` is one connection, `wires`
speak WebSocket), `faults` lists what can be wrong with it, and a dialect (`deribit`, `binance`,
`bybit`, `kraken`) spells it as one venue does.
"""

from __future__ import annotations

from squall.exchange.dialects import DIALECTS, dialect
from squall.exchange.faults import EXCHANGE_FAULTS, ExchangeFault
from squall.exchange.injection import Injection
from squall.exchange.membership import Membership
from squall.exchange.protocol import Dialect
from squall.exchange.server import ExchangeServer
from squall.exchange.settings import Settings

__all__ = [
    "DIALECTS",
    "EXCHANGE_FAULTS",
    "Dialect",
    "ExchangeFault",
    "ExchangeServer",
    "Injection",
    "Membership",
    "Settings",
    "dialect",
]
