"""The dialects by name. A new venue is one module and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from squall.errors import ScenarioError, did_you_mean
from squall.exchange.binance import Binance
from squall.exchange.bybit import Bybit
from squall.exchange.deribit import Deribit
from squall.exchange.kraken import Kraken
from squall.exchange.protocol import Dialect

DIALECTS: Mapping[str, type[Dialect]] = MappingProxyType(
    {dialect.name: dialect for dialect in (Deribit, Binance, Bybit, Kraken)}
)


def dialect(name: str) -> Dialect:
    """The dialect of this name. Raises ScenarioError where there is none."""
    found = DIALECTS.get(name)
    if found is None:
        raise ScenarioError(f"unknown dialect '{name}'.{did_you_mean(name, DIALECTS)}")
    return found()
