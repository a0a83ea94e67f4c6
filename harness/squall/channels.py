"""Channels as a scenario names them: by kind and number, so that every venue can spell them.

`{trades: 2, book: 1}` are the first two channels of trades and the first book; `trades/2` is the
second of the trades channels that the adapter is to hold. Full names are left as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar, get_args

from squall.errors import ScenarioError, did_you_mean
from squall.exchange import Dialect
from squall.typed_yaml import AtLeast

ChannelKind = Literal["trades", "book", "ticker", "orders"]
Channels = Mapping[ChannelKind, Annotated[int, AtLeast(1)]] | tuple[str, ...]

F = TypeVar("F")

_REFERENCE = re.compile(r"([a-z]+)/([0-9]{1,6})")


def spell(channels: Channels, dialect: Dialect) -> list[str]:
    """The full names. Raises `ScenarioError` where the venue has not so many."""
    if not isinstance(channels, Mapping):
        return list(channels)
    return [name for kind, count in channels.items() for name in _spell_kind(kind, count, dialect)]


def further(channels: Channels, wanted: Sequence[str], dialect: Dialect) -> list[str]:
    """The full names of channels beyond those that are `wanted` already: so many of a kind."""
    if not isinstance(channels, Mapping):
        return [resolve(name, wanted, dialect) for name in channels]
    more: list[str] = []
    for kind, count in channels.items():
        fresh: list[str] = []
        asked = count
        names: list[str] = []
        while len(fresh) < count:
            known, names = len(names), _spell_kind(kind, asked, dialect)
            if len(names) == known:
                raise ScenarioError(f"channels: {kind}: {dialect.name} has no further channel")
            fresh = [name for name in names if name not in wanted]
            asked += count - len(fresh)
        more += fresh
    return more


def _spell_kind(kind: str, count: int, dialect: Dialect) -> list[str]:
    try:
        return dialect.channels(kind, count)
    except ValueError as error:
        raise ScenarioError(f"channels: {kind}: {count}: {error}") from None


def check_reference(reference: str) -> None:
    """Raise `ScenarioError` for the form kind/number with a kind that no venue has."""
    match = _REFERENCE.fullmatch(reference)
    if match and match[1] not in get_args(ChannelKind):
        hint = did_you_mean(match[1], get_args(ChannelKind))
        raise ScenarioError(f"'{reference}': unknown kind of channel '{match[1]}'.{hint}")


def resolve(reference: str, wanted: Sequence[str], dialect: Dialect) -> str:
    """The full name of `kind/number` among the `wanted` channels.

    Raises `ScenarioError` where there is no such kind among them, or not so many.
    """
    match = _REFERENCE.fullmatch(reference)
    if not match:
        return reference
    kind, number = match[1], int(match[2])
    of_kind = [name for name in wanted if dialect.kind(name) == kind]
    if not of_kind:
        kinds = {found for name in wanted if (found := dialect.kind(name)) is not None}
        raise ScenarioError(
            f"'{reference}': the adapter holds no channel of the kind '{kind}'."
            f"{did_you_mean(kind, kinds)}"
        )
    if not 1 <= number <= len(of_kind):
        raise ScenarioError(
            f"'{reference}': the adapter holds {len(of_kind)} of the kind '{kind}'; "
            f"right would be {kind}/1 to {kind}/{len(of_kind)}"
        )
    return of_kind[number - 1]


def resolve_fault(fault: F, wanted: Sequence[str], dialect: Dialect) -> F:
    """The fault with the full name of its `channel`, where it has one."""
    channel: Any = getattr(fault, "channel", None)
    if not isinstance(channel, str):
        return fault
    settled: Any = fault
    return replace(settled, channel=resolve(channel, wanted, dialect))  # type: ignore[no-any-return]
