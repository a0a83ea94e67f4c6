"""A venue of several processes: what each must know to be one venue with the others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Membership:
    """Process `number` of `count`, from 1.

    `origin` is when the venue opened, on the clock that all of them share; the numbers of messages
    and the venue's wall clock count from it. `key` signs tokens, so that each process knows the
    tokens of the others.
    """

    number: int
    count: int
    origin: float
    key: bytes
