"""When to dial again: capped exponential backoff with full jitter, and the circuit breaker.

Failures are counted until a connection has been stable for a while, not until one is opened: a
server that accepts and closes at once would otherwise be dialled in a tight loop (ccxt dialled
11 239 times in 12 s).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from squall_reference.actions import GiveUp, Loss
from squall_reference.breaker import Breaker
from squall_reference.settings import Settings


def backoff_ceiling(attempt: int, base: float, cap: float) -> float:
    """`base` doubled `attempt` times, but at most `cap`."""
    return min(cap, base * 2.0 ** min(attempt, 64))


def full_jitter(attempt: int, base: float, cap: float, rng: Random) -> float:
    """A random delay up to the ceiling of this attempt.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/. The guide has no
    jitter, so that all clients of an outage would come back in lockstep.
    """
    return rng.uniform(0.0, backoff_ceiling(attempt, base, cap))


@dataclass(frozen=True, slots=True)
class Wait:
    """Dial again at `until`, and not before."""

    until: float
    circuit_open: bool


class Redial:
    """The memory of failed dials that decides about the next one."""

    def __init__(self, settings: Settings, rng: Random) -> None:
        self.failures = 0
        self.breaker = Breaker(settings.breaker_failures, settings.breaker_open, rng)
        self._settings = settings
        self._rng = rng
        self._stable = False

    def dialled(self) -> None:
        """A dial begins."""
        self.breaker.dialled()

    def stable(self) -> None:
        """The connection has lasted: earlier failures are forgotten."""
        self.failures = 0
        self._stable = True
        self.breaker.succeeded()

    def lost(self, loss: Loss, now: float) -> Wait | GiveUp:
        """There is no connection: when to dial again, or whether to give up."""
        settings = self._settings
        if self._stable:
            # RFC 6455 section 7.2.3: after an abnormal closure, delay by a random amount.
            self._stable = False
            return self._wait(now + self._rng.uniform(0.0, settings.first_delay_max), loss, now)
        self.failures += 1
        if settings.max_attempts is not None and self.failures >= settings.max_attempts:
            return GiveUp(f"{self.failures} attempts in a row failed, the last: {loss.reason}")
        self.breaker.failed(now)
        ceiling = backoff_ceiling(self.failures - 1, settings.backoff_base, settings.backoff_max)
        # A herd that was not yet stable when it lost its lines is as large: spread it no less.
        delay = self._rng.uniform(0.0, max(settings.first_delay_max, ceiling))
        return self._wait(now + delay, loss, now)

    def _wait(self, until: float, loss: Loss, now: float) -> Wait:
        if self.breaker.open_until is not None:
            until = self.breaker.open_until
        told = loss.retry_after
        if told is None and loss.status == 403:
            told = self._settings.ban_wait
        if told is not None and now + told > until:
            # Never earlier than told, and not all in the same instant either.
            until = now + told + self._rng.uniform(0.0, self._settings.first_delay_max)
        return Wait(until, self.breaker.open_until is not None)
