"""What can be wrong with a venue: the faults by the name that a scenario gives them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from squall.exchange.faults.access import ExpireToken, RejectAuth, Revoke
from squall.exchange.faults.base import ExchangeFault
from squall.exchange.faults.data import BadChecksum, Dup, Gap, Reorder, RestartBook, StallChannel
from squall.exchange.faults.replies import DelayAck, DropAck, ErrorAck, PartialAck
from squall.exchange.faults.venue import (
    Ban,
    IgnoreClose,
    Limit,
    Maintenance,
    NoPing,
    Notice,
    TestBurst,
)

EXCHANGE_FAULTS: Mapping[str, type[ExchangeFault]] = MappingProxyType(
    {
        fault.name: fault
        for fault in (
            ExpireToken,
            Revoke,
            RejectAuth,
            DelayAck,
            DropAck,
            ErrorAck,
            PartialAck,
            StallChannel,
            Gap,
            Dup,
            Reorder,
            RestartBook,
            BadChecksum,
            NoPing,
            TestBurst,
            IgnoreClose,
            Notice,
            Maintenance,
            Limit,
            Ban,
        )
    }
)

__all__ = [
    "EXCHANGE_FAULTS",
    "BadChecksum",
    "Ban",
    "DelayAck",
    "DropAck",
    "Dup",
    "ErrorAck",
    "ExchangeFault",
    "ExpireToken",
    "Gap",
    "IgnoreClose",
    "Limit",
    "Maintenance",
    "NoPing",
    "Notice",
    "PartialAck",
    "RejectAuth",
    "Reorder",
    "RestartBook",
    "Revoke",
    "StallChannel",
    "TestBurst",
]
