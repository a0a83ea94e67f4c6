"""The client: one WebSocket line, its time-outs and its liveness.

It is the lower of the guide's two layers. Alone, with `reconnect_on_error`, it dials again after
any loss, and restores nothing: neither authentication nor subscriptions. An adapter owns it with
`reconnect_on_error=False`, because two layers that both dial give two connections: then a client
serves for one connection, is `Finished` with it, and the adapter makes another.

    idle ──start──▶ dialling ──connected──▶ up ──close──▶ closing
                     ▲    │                  │ dead ▶ Abort   │
                     │    └──────┬───────────┴────────────────┘
                     │      disconnected
                     │           ▼
                     └─────── waiting ──(no reconnect, stop, or given up)──▶ done
"""

from __future__ import annotations

from enum import Enum
from random import Random

from squall_reference.actions import (
    Abort,
    Actions,
    Close,
    Dial,
    Down,
    Finished,
    GiveUp,
    Loss,
    Ping,
    Received,
    Send,
    Up,
)
from squall_reference.liveness import LATE, Liveness
from squall_reference.redial import Redial
from squall_reference.settings import Settings


class Line(Enum):
    """What the line is doing."""

    IDLE = "idle"
    DIALLING = "dialling"
    UP = "up"
    CLOSING = "closing"
    WAITING = "waiting"
    DONE = "done"


class Client:
    """A sans-I/O WebSocket client. See the module's diagram."""

    def __init__(self, settings: Settings, rng: Random) -> None:
        self.line = Line.IDLE
        self._settings = settings
        self._redial = Redial(settings, rng) if settings.reconnect_on_error else None
        self._liveness: Liveness | None = None
        self._loss: Loss | None = None
        self._close_due: float | None = None
        self._dial_at: float | None = None
        self._stable_at: float | None = None
        self._exit_status: int | None = None

    @property
    def is_up(self) -> bool:
        """Whether messages can be sent and are received."""
        return self.line is Line.UP

    @property
    def heard_at(self) -> float | None:
        """When anything last arrived on the present connection."""
        return self._liveness.heard_at if self._liveness is not None else None

    @property
    def deadline(self) -> float | None:
        """When `tick` is due."""
        liveness = self._liveness.deadline if self._liveness is not None else None
        due = (liveness, self._close_due, self._dial_at, self._stable_at)
        return min((at for at in due if at is not None), default=None)

    def start(self, now: float) -> Actions:
        """Dial."""
        assert self.line in (Line.IDLE, Line.WAITING)
        self.line = Line.DIALLING
        self._dial_at = None
        if self._redial is not None:
            self._redial.dialled()
        return [Dial(self._settings.connect_timeout)]

    def connected(self, now: float) -> Actions:
        """The dial succeeded."""
        if self.line is not Line.DIALLING or self._exit_status is not None:
            return [Abort()]
        self.line = Line.UP
        self._liveness = Liveness(self._settings, now)
        self._stable_at = now + self._settings.stable_after if self._redial else None
        return [Up()]

    def received(self, message: str | bytes, now: float) -> Actions:
        """A message arrived; it is passed on while the line is up, not while it is closing."""
        if not self.is_up:
            return []
        assert self._liveness is not None
        self._liveness.heard(now)
        return [Received(message)]

    def pong(self, now: float) -> Actions:
        """Our ping was answered."""
        if self._liveness is not None:
            self._liveness.pong(now)
        return []

    def heartbeat(self, now: float) -> None:
        """The exchange sent its heartbeat."""
        if self._liveness is not None:
            self._liveness.heartbeat(now)

    def expect_heartbeats(self, interval: float, now: float) -> None:
        """The exchange has promised heartbeats."""
        if self._liveness is not None:
            self._liveness.expect_heartbeats(interval, now)

    def send(self, text: str) -> Actions:
        """Send a message; while the line is not up nothing is sent, and nothing is queued."""
        return [Send(text)] if self.is_up else []

    def drop(self, reason: str) -> Actions:
        """Give the connection up as dead: no closing handshake, which nobody might answer."""
        return [*self._leave(reason), Abort()] if self.is_up else []

    def close(self, reason: str, now: float) -> Actions:
        """Close the connection cleanly."""
        if not self.is_up:
            return []
        self._close_due = now + self._settings.close_timeout
        return [*self._leave(reason), Close()]

    def _leave(self, reason: str) -> Actions:
        self.line = Line.CLOSING
        self._loss = Loss(reason)
        self._liveness = None
        self._stable_at = None
        return [Down(self._loss)]

    def stop(self, now: float, status: int = 0) -> Actions:
        """End for good; `Finished(status)` follows when the socket is gone."""
        if self.line is Line.DONE or self._exit_status is not None:
            return []
        self._exit_status = status
        if self.line in (Line.IDLE, Line.WAITING):
            return self._finish(status)
        if self.line is Line.DIALLING:
            return [Abort()]
        return self.close("stopped", now)

    def disconnected(self, loss: Loss, now: float) -> Actions:
        """The dial failed, or the connection ended. The socket is gone."""
        if self.line not in (Line.DIALLING, Line.UP, Line.CLOSING):
            return []
        # Where we left by ourselves the owner knows already, and our reason is the true one.
        down: Actions = [] if self._loss is not None else [Down(loss)]
        loss = self._loss or loss
        self._loss = None
        self._liveness = None
        self._close_due = None
        self._stable_at = None
        if self._exit_status is not None:
            return down + self._finish(self._exit_status)
        if self._redial is None:
            return down + self._finish(1)
        verdict = self._redial.lost(loss, now)
        if isinstance(verdict, GiveUp):
            return [*down, verdict, *self._finish(1)]
        self.line = Line.WAITING
        self._dial_at = verdict.until
        return down

    def _finish(self, status: int) -> Actions:
        self.line = Line.DONE
        self._dial_at = None
        return [Finished(status)]

    def tick(self, now: float) -> Actions:
        """Do what is due: ping, judge the line, abort a closing handshake, dial again."""
        if self._dial_at is not None and self._dial_at <= now:
            return self.start(now)
        if self._close_due is not None and self._close_due <= now:
            self._close_due = None
            return [Abort()]
        if self._stable_at is not None and self._stable_at <= now:
            self._stable_at = None
            assert self._redial is not None
            self._redial.stable()
        return self._watch(now) if self.is_up else []

    def _watch(self, now: float) -> Actions:
        liveness = self._liveness
        assert liveness is not None
        if liveness.deadline is not None and now - liveness.deadline > LATE:
            liveness.pardon(now)
        reason = liveness.dead(now)
        if reason is not None:
            return self.drop(reason)
        return [Ping()] if liveness.ping_due(now) else []
