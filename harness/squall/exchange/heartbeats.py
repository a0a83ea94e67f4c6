"""Signs of life, as venues ask for them and give them.

On Deribit a client asks for an interval. From then on the venue sends, each interval, a heartbeat
and a request for a sign of life; where no sign comes within the interval it drops the connection at
once (https://docs.deribit.com/#public-set_heartbeat). Binance asks by itself, with WebSocket pings
that bear a payload; a pong answers the ping whose payload it copies, and all before it (RFC 6455,
section 5.5.3). Kraken asks nothing, but says that it is there when there is nothing else to say.
And a connection on which nobody says anything is closed, on Kraken and Bybit.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from squall.exchange.core import Exchange
    from squall.exchange.session import Session

IDLE_CODE = 1001


@dataclass(frozen=True, slots=True)
class Test:
    """A request for a sign of life; `provoked` where a fault made the venue ask."""

    __test__ = False  # pytest takes what is called Test for tests

    sent: float
    payload: bytes
    provoked: bool


class Heartbeat:
    """How often the venue tests a client, how long it waits, and the tests not answered yet.

    `how` is ping where it tests with WebSocket pings, None where with messages of its own.
    """

    def __init__(self, interval: float, timeout: float, how: str | None = None) -> None:
        self.interval = interval
        self.timeout = timeout
        self.how = how
        self.tests = 0
        self.unanswered: deque[Test] = deque()

    @property
    def detail(self) -> dict[str, str]:
        """What events of this heartbeat say in addition."""
        return {"how": self.how} if self.how else {}


class Heartbeats:
    """Keeps the heartbeats of all connections."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def opened(self, session: Session) -> None:
        """Begin what the venue does without being asked."""
        manners = self._exchange.manners
        if manners.ping_interval is not None:
            heartbeat = Heartbeat(manners.ping_interval, manners.ping_timeout, "ping")
            self._begin(session, heartbeat)
        if manners.keepalive_interval is not None:
            self._keep_alive(session, manners.keepalive_interval)
        if session.idle_limit is not None:
            self._watch_idleness(session, session.idle_limit)

    def set(self, session: Session, interval: float | None) -> None:
        """Begin, change or, with None, end the heartbeat of a connection."""
        self._exchange.observe("heartbeat_set", session.number, interval=interval)
        if interval is None:
            session.heartbeat = None
        else:
            self._begin(session, Heartbeat(interval, interval))

    def test(self, session: Session, *, provoked: bool = False) -> None:
        """Ask for a sign of life, which is due within the time-out."""
        heartbeat = session.heartbeat
        assert heartbeat is not None, "only a client with a heartbeat is tested"
        exchange = self._exchange
        heartbeat.tests += 1
        payload = f"{exchange.wall_clock * 1000:.0f}-{heartbeat.tests}".encode()
        test = Test(exchange.now, payload, provoked)
        heartbeat.unanswered.append(test)
        exchange.observe("test_requested", session.number, **heartbeat.detail)
        if heartbeat.how == "ping":
            exchange.ping(session, payload)
        else:
            exchange.send(exchange.dialect.heartbeat()[1], session)

        def check() -> None:
            if self._current(session, heartbeat) and test in heartbeat.unanswered:
                heartbeat.unanswered.clear()
                after = exchange.now - test.sent
                exchange.observe(
                    "heartbeat_missed", session.number, after=after, **heartbeat.detail
                )
                exchange.abort(session)

        exchange.agenda.at(test.sent + heartbeat.timeout, check, session)

    def answered(self, session: Session) -> None:
        """A sign of life: it answers all that was asked so far."""
        if session.heartbeat is not None:
            self._answered(session, session.heartbeat, len(session.heartbeat.unanswered))

    def ponged(self, session: Session, payload: bytes) -> bool:
        """A pong has come; whether it answers a ping that a fault provoked."""
        heartbeat = session.heartbeat
        if heartbeat is None:
            return False
        for place, test in enumerate(heartbeat.unanswered, 1):
            if test.payload == payload:
                self._answered(session, heartbeat, place)
                return test.provoked
        return False

    def _watch_idleness(self, session: Session, limit: float) -> None:
        """Close the connection when neither side has said anything for so long."""
        exchange = self._exchange

        def check() -> None:
            if not session.open:
                return
            last = max(session.last_heard, session.last_sent)
            # The same sum as that of the deadline: a difference might round to less than `limit`.
            if exchange.now >= last + limit:
                after = exchange.now - last
                exchange.observe("heartbeat_missed", session.number, after=after, how="idle")
                exchange.close(session, IDLE_CODE, "idle")
            else:
                self._watch_idleness(session, limit)

        exchange.agenda.at(max(session.last_heard, session.last_sent) + limit, check, session)

    def _answered(self, session: Session, heartbeat: Heartbeat, count: int) -> None:
        for test in [heartbeat.unanswered.popleft() for _ in range(count)]:
            after = self._exchange.now - test.sent
            self._exchange.observe("test_answered", session.number, after=after, **heartbeat.detail)

    def _begin(self, session: Session, heartbeat: Heartbeat) -> None:
        session.heartbeat = heartbeat
        self._after(heartbeat.interval, session, heartbeat)

    def _after(self, interval: float, session: Session, heartbeat: Heartbeat) -> None:
        self._exchange.agenda.at(
            self._exchange.now + interval, lambda: self._beat(session, heartbeat), session
        )

    def _beat(self, session: Session, heartbeat: Heartbeat) -> None:
        exchange = self._exchange
        if not self._current(session, heartbeat):
            return
        if not self._silenced(session):
            if heartbeat.how is None:
                exchange.send(exchange.dialect.heartbeat()[0], session)
            self.test(session)
        self._after(heartbeat.interval, session, heartbeat)

    def _keep_alive(self, session: Session, interval: float) -> None:
        exchange = self._exchange

        def beat() -> None:
            if not session.open:
                return
            quiet = exchange.now >= session.last_sent + interval
            if session.subscriptions and quiet and not self._silenced(session):
                exchange.send(exchange.dialect.keepalive(), session)
            self._keep_alive(session, interval)

        due = session.last_sent + interval
        exchange.agenda.at(due if due > exchange.now else exchange.now + interval, beat, session)

    def _silenced(self, session: Session) -> bool:
        for injection in self._exchange.injections:
            if injection.fault.silences_heartbeats:
                injection.bite(session.number)
                return True
        return False

    @staticmethod
    def _current(session: Session, heartbeat: Heartbeat) -> bool:
        return session.open and session.heartbeat is heartbeat
