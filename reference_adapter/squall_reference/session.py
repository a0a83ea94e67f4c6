"""The adapter: the upper of the guide's two layers, as a state machine without I/O.

It owns a `Client` and a `Conversation` for each connection, and is the only one that dials.
After each upgrade authentication is restored first, then subscriptions, and trading last:

                 ┌──────────────────────── a later dial ◀───────────────────────┐
                 ▼                                                              │
    start ▶ connecting ─101▶ connected ─auth ack▶ authenticated ─all acks▶ live │
                 │               │                      │                   │   │
                 └───────────────┴─── any loss ─────────┴───────────────────┘   │
                                         ▼                                      │
                                   disconnected ──▶ (circuit_open) ─────────────┘

    credentials rejected, or attempts used up ▶ gave_up          stop ▶ stopped

Without credentials `authenticated` is skipped. Every time-out is a `deadline` of the session; a
shell calls `tick` when it is due, and does what the returned actions say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from squall_reference.actions import (
    Actions,
    Down,
    Finished,
    GiveUp,
    Loss,
    Received,
    Reply,
    StateChanged,
    Up,
)
from squall_reference.client import Client
from squall_reference.conversation import Conversation
from squall_reference.feeds import Feeds
from squall_reference.login import Credentials, Login
from squall_reference.redial import Redial
from squall_reference.requests import Requests
from squall_reference.settings import Settings
from squall_reference.subscriptions import is_private


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the data can be trusted right now, and if not, why.

    `age` is the time in seconds since anything arrived; None without a connection. `doubtful`
    channels are silent for too long, or wait for a snapshot after a gap.
    """

    ok: bool
    state: str
    age: float | None
    missing: tuple[str, ...]
    doubtful: tuple[str, ...]


class Session:
    """A Deribit adapter without I/O. See the module's diagram.

    Raises ValueError for a private channel without credentials. `epoch` is the Unix time at
    which the clock that gives `now` read zero; signatures need it.
    """

    def __init__(
        self,
        channels: Iterable[str],
        *,
        rng: Random,
        credentials: Credentials | None = None,
        settings: Settings | None = None,
        epoch: float = 0.0,
    ) -> None:
        self.state = "idle"
        self._settings = settings if settings is not None else Settings()
        # Exactly one layer may dial, and it is this one.
        self._client_settings = replace(self._settings, reconnect_on_error=False)
        self._rng = rng
        self._redial = Redial(self._settings, rng)
        self._login = Login(credentials, self._settings, rng, epoch) if credentials else None
        self._feeds = Feeds(self._settings, rng)
        self._requests = Requests()
        self._client: Client | None = None
        self._conversation: Conversation | None = None
        self._loss = Loss("")
        self._dial_at: float | None = None
        self._stable_at: float | None = None
        self._stay_closed = False
        self._exit_status: int | None = None
        self._want(channels)

    # What a shell tells.

    @property
    def deadline(self) -> float | None:
        """When `tick` is due."""
        due = [self._dial_at, self._stable_at]
        due.append(self._client.deadline if self._client is not None else None)
        due.append(self._conversation.deadline if self._conversation is not None else None)
        return min((at for at in due if at is not None), default=None)

    def start(self, now: float) -> Actions:
        """Dial for the first time."""
        return self._dial(now)

    def connected(self, now: float) -> Actions:
        """The dial succeeded."""
        return self._handle(self._line.connected(now), now)

    def received(self, message: str | bytes, now: float) -> Actions:
        """A message arrived."""
        return self._handle(self._line.received(message, now), now)

    def pong(self, now: float) -> Actions:
        """Our ping was answered."""
        return self._client.pong(now) if self._client is not None else []

    def disconnected(self, loss: Loss, now: float) -> Actions:
        """The dial failed, or the connection ended; its socket is gone."""
        return self._handle(self._line.disconnected(loss, now), now)

    def tick(self, now: float) -> Actions:
        """Do what is due."""
        if self._dial_at is not None and self._dial_at <= now:
            return self._dial(now)
        if self._stable_at is not None and self._stable_at <= now:
            self._stable_at = None
            self._redial.stable()
        actions = self._handle(self._client.tick(now), now) if self._client is not None else []
        if self._conversation is not None:
            actions += self._handle(self._conversation.tick(now), now)
        return actions

    def stop(self, now: float) -> Actions:
        """Close cleanly; `Finished` follows when the connection is gone."""
        if self._exit_status is None:
            self.state = "stopping"
        return self._end(0, now)

    # What the user wants.

    def subscribe(self, channels: Iterable[str], now: float) -> Actions:
        """Want more channels; while down, from the next connection on. Raises ValueError."""
        self._want(channels)
        return self._proceed(now)

    def unsubscribe(self, channels: Iterable[str], now: float) -> Actions:
        """Want channels no longer."""
        self._feeds.unwant(channels, now)
        return self._proceed(now)

    def request(self, tag: Any, method: str, params: Mapping[str, Any], now: float) -> Actions:
        """Send a request, or fail it at once: nothing is queued, so nothing is sent late or twice.

        A `Reply` with this `tag` follows in any case.
        """
        if self._conversation is None or not self._conversation.restored:
            return [Reply(tag, ok=False, error=f"not sent: the adapter is {self.state}")]
        return self._handle(self._conversation.request(tag, method, params, now), now)

    def disconnect(self, now: float) -> Actions:
        """Close the connection and stay closed. What is wanted can still be changed."""
        self._stay_closed = True
        self._dial_at = None
        if self._client is None:
            return [self._enter("disconnected", "as asked")] if self._exit_status is None else []
        return self._handle(self._client.stop(now), now)

    def health(self, now: float) -> Health:
        """Whether the data can be trusted: live, complete and fresh."""
        heard_at = self._client.heard_at if self._client is not None else None
        missing, doubtful = self._feeds.missing, self._feeds.doubtful
        ok = self.state == "live" and not missing and not doubtful
        age = None if heard_at is None else max(0.0, now - heard_at)
        return Health(ok, self.state, age, missing, doubtful)

    def _want(self, channels: Iterable[str]) -> None:
        channels = list(channels)
        private = [channel for channel in channels if is_private(channel)]
        if private and self._login is None:
            raise ValueError(f"{', '.join(private)}: needs credentials, and there are none")
        self._feeds.want(channels)

    def _proceed(self, now: float) -> Actions:
        if self._conversation is None:
            return []
        return self._handle(self._conversation.proceed(now), now)

    # The line, up and down.

    @property
    def _line(self) -> Client:
        assert self._client is not None, "a shell reports only on what it was asked to dial"
        return self._client

    def _handle(self, actions: Actions, now: float) -> Actions:
        """Pass on what is for the shell; act on what the parts tell their owner."""
        out: Actions = []
        for action in actions:
            match action:
                case Up():
                    out += self._begin(now)
                case Received(message) if self._conversation is not None:
                    out += self._handle(self._conversation.understand(message, now), now)
                case Down(loss):
                    out += self._leave(loss, now)
                case Finished():
                    out += self._gone(now)
                case GiveUp(reason):
                    out += self._give_up(reason, now)
                case StateChanged("live"):
                    out.append(self._enter("live"))
                    if self._stable_at is None:
                        self._stable_at = now + self._settings.stable_after
                case StateChanged(state, reason):
                    out.append(self._enter(state, reason))
                case _:
                    out.append(action)
        return out

    def _dial(self, now: float) -> Actions:
        self._dial_at = None
        self._redial.dialled()
        # A client serves for one connection: nothing of an old one can act on its successor.
        self._client = Client(self._client_settings, self._rng)
        return [self._enter("connecting"), *self._client.start(now)]

    def _begin(self, now: float) -> Actions:
        self._conversation = Conversation(
            self._line, self._login, self._feeds, self._requests, self._settings
        )
        return [self._enter("connected"), *self._handle(self._conversation.begin(now), now)]

    def _leave(self, loss: Loss, now: float) -> Actions:
        """The connection is of no use any more, or never came to be."""
        self._loss = loss
        self._stable_at = None
        actions: Actions = []
        if self._conversation is not None:
            actions += self._conversation.end(loss)
            limited_until = self._conversation.limited_until
            if limited_until is not None:
                self._loss = replace(loss, retry_after=max(0.0, limited_until - now))
            self._conversation = None
        if self._exit_status is None:
            reason = "as asked" if self._stay_closed else loss.reason
            actions.append(self._enter("disconnected", reason))
        return actions

    def _gone(self, now: float) -> Actions:
        """The socket is gone: nothing stands in the way of the next dial but its time."""
        self._client = None
        if self._exit_status is not None:
            return self._finish(self._exit_status)
        if self._stay_closed:
            return []
        verdict = self._redial.lost(self._loss, now)
        if isinstance(verdict, GiveUp):
            return self._give_up(verdict.reason, now)
        self._dial_at = verdict.until
        if not verdict.circuit_open:
            return []
        reason = f"{self._redial.failures} failures in a row"
        return [self._enter("circuit_open", f"{reason}; a trial in {verdict.until - now:.1f} s")]

    def _give_up(self, reason: str, now: float) -> Actions:
        return [self._enter("gave_up", reason), *self._end(1, now)]

    def _end(self, status: int, now: float) -> Actions:
        if self._exit_status is not None:
            return []
        self._exit_status = status
        self._dial_at = None
        if self._client is None:
            return self._finish(status)
        return self._handle(self._client.stop(now), now)

    def _finish(self, status: int) -> Actions:
        stopped = [self._enter("stopped")] if status == 0 else []
        return [*stopped, Finished(status)]

    def _enter(self, state: str, reason: str | None = None) -> StateChanged:
        self.state = state
        return StateChanged(state, reason)
