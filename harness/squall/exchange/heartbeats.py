"""The venue's application-level heartbeat.

A client asks for an interval. From then on the venue sends, each interval, a heartbeat and a
request for a sign of life; where no sign comes within the interval it drops the connection at once
(https://docs.deribit.com/#public-set_heartbeat).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from squall.exchange.core import Exchange
    from squall.exchange.session import Session


class Heartbeat:
    """What a client asked for: the interval, and when the tests were sent that it still owes."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.unanswered: deque[float] = deque()


class Heartbeats:
    """Keeps the heartbeats of all connections."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def set(self, session: Session, interval: float | None) -> None:
        """Begin, change or, with None, end the heartbeat of a connection."""
        self._exchange.observe("heartbeat_set", session.number, interval=interval)
        if interval is None:
            session.heartbeat = None
            return
        session.heartbeat = heartbeat = Heartbeat(interval)
        self._after(interval, session, heartbeat)

    def test(self, session: Session) -> None:
        """Ask for a sign of life, which is due within the interval."""
        heartbeat = session.heartbeat
        assert heartbeat is not None, "only a client that asked for heartbeats is tested"
        exchange = self._exchange
        sent = exchange.now
        heartbeat.unanswered.append(sent)
        exchange.observe("test_requested", session.number)
        exchange.send(exchange.dialect.heartbeat()[1], session)

        def check() -> None:
            if self._current(session, heartbeat) and sent in heartbeat.unanswered:
                heartbeat.unanswered.clear()
                exchange.observe("heartbeat_missed", session.number, after=exchange.now - sent)
                exchange.abort(session)

        exchange.agenda.at(sent + heartbeat.interval, check)

    def answered(self, session: Session) -> None:
        """A sign of life: it answers all that was asked so far."""
        if session.heartbeat is None:
            return
        answered = tuple(session.heartbeat.unanswered)
        session.heartbeat.unanswered.clear()
        for sent in answered:
            after = self._exchange.now - sent
            self._exchange.observe("test_answered", session.number, after=after)

    def _after(self, interval: float, session: Session, heartbeat: Heartbeat) -> None:
        self._exchange.agenda.at(
            self._exchange.now + interval, lambda: self._beat(session, heartbeat)
        )

    def _beat(self, session: Session, heartbeat: Heartbeat) -> None:
        exchange = self._exchange
        if not self._current(session, heartbeat):
            return
        if not self._silenced(session):
            exchange.send(exchange.dialect.heartbeat()[0], session)
            self.test(session)
        self._after(heartbeat.interval, session, heartbeat)

    def _silenced(self, session: Session) -> bool:
        for injection in self._exchange.injections:
            if injection.fault.silences_heartbeats:
                injection.bite(session.number)
                return True
        return False

    @staticmethod
    def _current(session: Session, heartbeat: Heartbeat) -> bool:
        return session.open and session.heartbeat is heartbeat
