"""Whether the line is alive, from three witnesses: any inbound message, pongs, heartbeats.

One witness alone is fooled. Data can flow in while nothing gets out, so a pong must follow each
ping. Pongs can come from a gateway whose exchange is dead, so the exchange's own heartbeat must
come too. And a line without pings or heartbeats still has its silence.
"""

from __future__ import annotations

from squall_reference.settings import Settings

# A tick that comes this many seconds late means that the process was held up, or asleep: what
# arrived meanwhile lies unread in the socket, and its absence proves nothing yet.
LATE = 1.0


class Liveness:
    """The watch over one connection, from the moment it is open."""

    def __init__(self, settings: Settings, now: float) -> None:
        self._settings = settings
        self._heard_at = now
        self._ping_at = None if settings.ping_interval is None else now + settings.ping_interval
        self._pong_due: float | None = None
        self._heartbeat_interval: float | None = None
        self._heartbeat_due: float | None = None
        self._pardoned_until = now

    @property
    def heard_at(self) -> float:
        """When anything last arrived."""
        return self._heard_at

    def heard(self, now: float) -> None:
        """A message or a pong has arrived."""
        self._heard_at = now

    def pong(self, now: float) -> None:
        """The pong of the last ping has arrived."""
        self.heard(now)
        self._pong_due = None

    def expect_heartbeats(self, interval: float, now: float) -> None:
        """From now on the exchange owes a heartbeat each `interval` seconds."""
        self._heartbeat_interval = interval
        self.heartbeat(now)

    def heartbeat(self, now: float) -> None:
        """The exchange's heartbeat has arrived."""
        if self._heartbeat_interval is not None:
            self._heartbeat_due = now + 2 * self._heartbeat_interval

    def pardon(self, now: float) -> None:
        """The process was held up: judge nothing before what arrived meanwhile can be read."""
        self._pardoned_until = now + LATE

    def ping_due(self, now: float) -> bool:
        """Whether to send a ping now; if so, its pong is awaited from now on."""
        if self._ping_at is None or self._ping_at > now:
            return False
        assert self._settings.ping_interval is not None
        self._ping_at = now + self._settings.ping_interval
        if self._pong_due is None:
            self._pong_due = now + self._settings.pong_timeout
            return True
        return False

    def dead(self, now: float) -> str | None:
        """Why the line is dead, or None while it may live."""
        if now < self._pardoned_until:
            return None
        settings = self._settings
        if self._pong_due is not None and self._pong_due <= now:
            return f"no pong within {settings.pong_timeout:g} s"
        if self._silent_at is not None and self._silent_at <= now:
            return f"silence for {settings.silence_timeout:g} s"
        if self._heartbeat_due is not None and self._heartbeat_due <= now:
            return f"no heartbeat for two intervals of {self._heartbeat_interval:g} s"
        return None

    @property
    def _silent_at(self) -> float | None:
        timeout = self._settings.silence_timeout
        return None if timeout is None else self._heard_at + timeout

    @property
    def deadline(self) -> float | None:
        """When to look again."""
        verdicts = [self._pong_due, self._silent_at, self._heartbeat_due]
        due = [max(at, self._pardoned_until) for at in verdicts if at is not None]
        if self._ping_at is not None:
            due.append(self._ping_at)
        return min(due, default=None)
