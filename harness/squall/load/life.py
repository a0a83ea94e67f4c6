"""What one user lives through, from its first dial to its end, as its adapter tells it.

    dialled ──▶ opened ──▶ upgraded ──────▶ authenticated ────▶ restored
      │ connect    upgrade  ▲  │ authenticate     subscribe        │ │
      ▲                     └──┼────────────── degraded ───────────┘ │
      └──────── lost ◀─────────┴─────────────────────────────────────┘

Each arrow is a duration. Two more span several: `outage` from the loss of a connection to the next
upgrade, `recovery` from the instant at which a whole user was so no more to that at which it is
whole again, however many dials lie between. A user is *whole* while it is connected, logged in, and
every channel is confirmed. A loss begins when the adapter notices it: on a line gone dead, that is
after the adapter's own time-out.

A stage that an adapter does not tell is not measured: without `opened` the whole dial counts as
`connect`, without `authenticated` `subscribe` begins at the upgrade.

No I/O, no thread, no clock of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from squall.load.tally import Tally

LAG_EVERY = 1.0
"""Seconds: the lag of at most one message a user is measured in so much time."""


IN_VAIN = "dial in vain"
"""The sample of a dial that came to nothing."""


class Sample(NamedTuple):
    """Something that is over: how long it took, where that says something.

    Where it tells why, it is a failure of the adapter itself.
    """

    name: str
    seconds: float | None = None
    why: str | None = None


class Recorder:
    """What the users of one process have lived through since it was last taken.

    `clock` gives the seconds on the storm's clock. What happens once it is `closed` is not counted:
    users that are taken down after the storm have lost nothing.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.tally = Tally()
        self.samples: list[Sample] = []
        self.messages = 0
        self.characters = 0
        self.closed = False

    def measured(self, name: str, seconds: float, at: float) -> None:
        """A stage has taken so long."""
        self.tally.measured(name, seconds, at)
        self.samples.append(Sample(name, seconds))

    def failed(self, why: str, at: float) -> None:
        """An adapter has failed by itself."""
        self.tally.failed(at, why)
        self.samples.append(Sample("adapter", why=why))

    def take(self) -> tuple[Tally, list[Sample]]:
        """What is new."""
        if self.messages:
            self.tally.counted(self.clock(), self.messages, self.characters)
            self.messages = self.characters = 0
        samples, self.samples = self.samples, []
        return self.tally.take(), samples


class Stage(Enum):
    """How far the present connection has come."""

    DOWN = "down"
    DIALLED = "dialled"
    OPENED = "opened"
    UPGRADED = "upgraded"
    AUTHENTICATED = "authenticated"
    WHOLE = "whole"
    OVER = "over"


class Life:
    """One user's life. An adapter calls the method that names what has happened to it."""

    __slots__ = (
        "_broken_at",
        "_heard",
        "_lag_due",
        "_line_lost_at",
        "_recorder",
        "_since",
        "_upgraded_at",
        "stage",
    )

    def __init__(self, recorder: Recorder) -> None:
        self.stage = Stage.DOWN
        self._recorder = recorder
        self._since = 0.0
        self._upgraded_at = 0.0
        self._heard = False
        self._line_lost_at: float | None = None
        self._broken_at: float | None = None
        self._lag_due = 0.0
        if not recorder.closed:
            recorder.tally.began(recorder.clock())

    def dialled(self) -> None:
        """A dial begins, whatever comes of it."""
        if (now := self._now()) is None:
            return
        self.stage, self._since = Stage.DIALLED, now
        self._recorder.tally.dialled(now)

    def opened(self) -> None:
        """TCP is there, and TLS where it belongs to this half; the upgrade is asked for."""
        if (now := self._now()) is not None and self.stage is Stage.DIALLED:
            self._ends("connect", Stage.OPENED, now)

    def upgraded(self) -> None:
        """The 101 has arrived."""
        if (now := self._now()) is None:
            return
        self._ends("connect" if self.stage is Stage.DIALLED else "upgrade", Stage.UPGRADED, now)
        self._recorder.tally.upgraded(now)
        self._upgraded_at = now
        self._heard = False
        if self._line_lost_at is not None:
            self._recorder.measured("outage", now - self._line_lost_at, now)
            self._line_lost_at = None

    def authenticated(self) -> None:
        """The login is acknowledged."""
        if (now := self._now()) is not None and self.stage is Stage.UPGRADED:
            self._ends("authenticate", Stage.AUTHENTICATED, now)

    def restored(self) -> None:
        """Everything is in place: connected, logged in, every channel confirmed."""
        if (now := self._now()) is None or self.stage is Stage.WHOLE:
            return
        self._ends("subscribe", Stage.WHOLE, now)
        self._recorder.tally.restored(now)
        if self._broken_at is not None:
            self._recorder.measured("recovery", now - self._broken_at, now)
            self._broken_at = None

    def degraded(self) -> None:
        """The connection lives, but a login or a channel is gone that was there."""
        if (now := self._now()) is not None and self.stage is not Stage.OVER:
            self._breaks(now)
            self.stage, self._since = Stage.UPGRADED, now

    def lost(self) -> None:
        """The connection is gone, or the dial has failed."""
        if (now := self._now()) is None or self.stage is Stage.OVER:
            return
        self._breaks(now)
        if self.stage in (Stage.UPGRADED, Stage.AUTHENTICATED, Stage.WHOLE):
            self._line_lost_at = now
        elif self.stage in (Stage.DIALLED, Stage.OPENED):
            self._recorder.samples.append(Sample(IN_VAIN))
        self.stage = Stage.DOWN

    def received(self, size: int) -> None:
        """A message of `size` characters has arrived, whatever it says."""
        self._recorder.messages += 1
        self._recorder.characters += size

    def data(self) -> bool:
        """Data for the consumer has arrived; whether to tell its `lag`, too."""
        if self._heard and self._recorder.clock() < self._lag_due:
            return False
        if (now := self._now()) is None:
            return False
        if not self._heard:
            self._heard = True
            self._recorder.measured("first_message", now - self._upgraded_at, now)
        self._lag_due = now + LAG_EVERY
        return True

    def lag(self, seconds: float) -> None:
        """So much time has passed between the exchange's timestamp and the arrival.

        It means something only where both are read from one clock, or from clocks in step.
        """
        if (now := self._now()) is not None:
            self._recorder.measured("lag", max(0.0, seconds), now)

    def failed(self, why: str) -> None:
        """The adapter itself has failed: it gave up, crashed, or delivered what is wrong.

        Connections that are refused or cut are no failures of the adapter: tell them as `lost`.
        """
        if (now := self._now()) is not None:
            self._recorder.failed(why, now)

    def ended(self) -> None:
        """The user is no more."""
        if self.stage is not Stage.OVER and (now := self._now()) is not None:
            self._breaks(now)
            self._recorder.tally.ended(now)
        self.stage = Stage.OVER

    def _now(self) -> float | None:
        return None if self._recorder.closed else self._recorder.clock()

    def _ends(self, name: str, stage: Stage, now: float) -> None:
        """A stage is done; it began where the one before it ended."""
        if self.stage not in (Stage.DOWN, Stage.OVER):
            self._recorder.measured(name, now - self._since, now)
        self.stage, self._since = stage, now

    def _breaks(self, now: float) -> None:
        if self.stage is Stage.WHOLE:
            self._recorder.tally.lost(now)
            self._broken_at = now
