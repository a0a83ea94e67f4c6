"""The mock exchange without I/O: what happened goes in, what is to be done comes out.

    admit, connected ─▶ received ─▶ (faults, ack latency) ─▶ dialect.answer ─▶ reply
    http ─▶ (faults) ─▶ dialect.rest ─▶ answer
                        tick ─▶ data, heartbeats, expiry
                        disconnected ─▶ cancel on disconnect

The shell calls a method for what it sees, with the time as `now`, and `tick` at the `deadline`.
The exchange calls `act` for what is to be done on the wire and `observe` for what the history
should know. An observer may inject a fault while it is being told, so faults are asked only after
a request has been reported.

A request takes effect when it is answered, `ack_latency` after it came, in the order in which
requests came. Whether its sender had logged in is judged by how things stood when it came.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from squall.exchange.account import Account
from squall.exchange.actions import Abort, Action, Answer, Close, Ping, Send
from squall.exchange.admission import Admission
from squall.exchange.agenda import Agenda
from squall.exchange.broadcast import Broadcast
from squall.exchange.counts import Counts
from squall.exchange.faults.base import ExchangeFault, Ruling
from squall.exchange.heartbeats import Heartbeats
from squall.exchange.injection import Injection, Injections, Observe
from squall.exchange.limits import Limits
from squall.exchange.membership import Membership
from squall.exchange.protocol import (
    Dialect,
    HttpAnswer,
    HttpRequest,
    Op,
    Request,
    VenueError,
)
from squall.exchange.session import Session
from squall.exchange.settings import Settings


class Exchange:
    """A venue: its connections, what they ask of it, and the faults in force.

    Without `observe` nobody is told anything, which is faster; `counts` has the totals. `crowd`
    has the number of open connections by the address of the client.
    """

    def __init__(
        self,
        dialect: Dialect,
        settings: Settings,
        *,
        observe: Observe | None,
        act: Callable[[Action], None],
        rng: random.Random,
        membership: Membership | None = None,
    ) -> None:
        self.dialect = dialect
        self.settings = settings
        self.manners = dialect.manners.under(settings)
        self.rng = rng
        self.observed = observe is not None
        self.observe = observe or _unobserved
        self.membership = membership
        self.counts = Counts()
        self.crowd: Counter[str] = Counter()
        self.now = self.origin = 0.0
        self.agenda = Agenda()
        self.injections = Injections(self)
        self.account = Account(self)
        self.broadcast = Broadcast(self)
        self.heartbeats = Heartbeats(self)
        self._admission = Admission(self)
        self._limits = Limits(self)
        self._act = act
        self._sessions: dict[int, Session] = {}
        self._afterwards: list[Callable[[], None]] = []

    # --- what the shell tells ---------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When `tick` is to be called next."""
        return self.agenda.deadline

    def begin(self, now: float) -> None:
        """The venue opens: its clock and the numbers of its messages count from here."""
        self.now = self.origin = now

    def tick(self, now: float) -> None:
        """Do what has fallen due."""
        self.now = now
        self.agenda.run(now)

    def admit(self, number: int, path: str, address: str, now: float) -> HttpAnswer | None:
        """Judge a client that asks for a WebSocket: the refusal, or None where it may come in."""
        self.now = now
        refusal = self._admission.refusal(number, path, address)
        if refusal is not None:
            self.counts.upgrades_refused += 1
            self.observe("rest", number, method="GET", path=path, status=refusal.status)
        return refusal

    def connected(
        self, number: int, path: str, address: str, now: float, extensions: str = ""
    ) -> None:
        """A WebSocket connection is up, with these extensions granted."""
        self.now = now
        session = Session(number, path, address, self.settings, self.manners, now)
        self._sessions[number] = session
        self.counts.upgrades += 1
        self.crowd[address] += 1
        granted = {"extensions": extensions} if extensions else {}
        self.observe("opened", number, path=path, **granted)
        if session.open:
            self.dialect.opened(self, session)
            self.heartbeats.opened(session)
            self._limits.opened(session)

    def ponged(self, number: int, payload: bytes, now: float) -> None:
        """A pong has arrived."""
        self.now = now
        provoked = self.heartbeats.ponged(self._sessions[number], payload)
        self.heard(number, now, counted=not provoked)

    def heard(self, number: int, now: float, *, counted: bool = True) -> None:
        """A message of any kind has arrived: a text, or a ping or pong.

        A client must not go over a limit because a fault made it speak: that is not `counted`.
        """
        self.now = now
        session = self._sessions[number]
        session.last_heard = now
        if not counted:
            return
        self._limits.heard(session)
        for injection in self.injections:
            excess = injection.fault.excess(injection, number, now)
            if excess is not None and session.open:
                injection.bite(number)
                self.observe("limit_exceeded", number, rule="messages", count=excess.count)
                self.close(session, excess.code, "Too many requests")

    def received(self, number: int, text: str, now: float) -> None:
        """A text message has arrived."""
        self.counts.messages_in += 1
        self.heard(number, now)
        session = self._sessions[number]
        if not session.open or session.condemned:
            return
        try:
            request = self.dialect.parse(text)
        except VenueError as error:
            request = Request("", id=error.id, received=now)
            excess = self._limits.excess(session, request)
            self._schedule(session, request, Ruling(error=excess or error))
            return
        self.take(session, request)

    def answers_close(self, number: int, now: float) -> bool:
        """A client says goodbye; whether it is answered, as it should be."""
        self.now = now
        for injection in self.injections:
            if injection.fault.ignores_close:
                injection.bite(number)
                self._sessions[number].said_goodbye = True
                return False
        return True

    def overflowed(self, number: int, unsent: int, now: float) -> None:
        """A client does not read what it is sent: so many bytes wait. It is cut off."""
        self.now = now
        session = self._sessions[number]
        if session.open:
            self.counts.slow_consumers += 1
            self.observe("limit_exceeded", number, rule="unsent bytes", count=unsent)
            self.close(session, self.settings.slow_consumer_code, "slow consumer")

    def closing(self, number: int, now: float) -> None:
        """A closing handshake is under way: nothing more may be sent."""
        self.now = now
        self._retire(self._sessions[number])

    def disconnected(self, number: int, code: int, reason: str, by: str, now: float) -> None:
        """A connection is gone."""
        self.now = now
        session = self._sessions.pop(number)
        self._retire(session)
        self.observe("closed", number, code=code, reason=reason, by=by)
        self.account.disconnected(session)

    def rest(self, number: int, method: str, target: str, now: float) -> HttpAnswer:
        """Answer an HTTP request."""
        self.now = now
        return self._answer(number, HttpRequest(method, target), None)

    def http(self, number: int, asked: HttpRequest, now: float) -> None:
        """An HTTP request has arrived; its answer may come later."""
        self.now = now
        request = self.dialect.understand(self, asked)
        ruling = Ruling()
        if request is not None:
            if request.logs_in:
                self._report_login(number, request)
            ruling = self._fate(number, request)

        def serve() -> None:
            if ruling.swallowed and not ruling.carried_out:
                return
            answer = self._answer(number, asked, ruling.error, request)
            if not ruling.swallowed:
                self._act(Answer(number, answer))
            self.finish()

        if ruling.delay:
            self.agenda.at(now + ruling.delay, serve)
        else:
            serve()

    def inject(self, fault: ExchangeFault, now: float) -> Injection:
        """Put a fault in force."""
        self.now = now
        return self.injections.add(fault)

    def heal(self, injection: Injection | None, now: float) -> None:
        """Remove one fault, or all."""
        self.now = now
        for each in [injection] if injection else list(self.injections):
            each.heal()

    # --- what its parts, its dialect and its faults may do ----------------------------------------

    @property
    def wall_clock(self) -> float:
        """What the venue's clock shows, in seconds since 1970."""
        return self.settings.epoch + self.now - self.origin

    def times(self, request: Request) -> tuple[float, float]:
        """When a request came and when it is answered, on the venue's wall clock."""
        now = self.wall_clock
        return now - (self.now - request.received), now

    @property
    def locked(self) -> bool:
        """Whether the venue says that it does not trade."""
        return any(injection.fault.locks for injection in self.injections)

    def live_sessions(self) -> list[Session]:
        """The connections that are up and not about to be closed."""
        return [session for session in self._sessions.values() if session.open]

    def take(self, session: Session, request: Request) -> None:
        """Report a request, and serve it when it is due."""
        known = session.authenticated(self.now) or self.dialect.vouches(self, session, request)
        request = replace(request, authenticated=known, received=self.now)
        self._report(session, request)
        if session.open:
            self._schedule(session, request, self._ruling(session, request))

    def send(self, text: str, *sessions: Session) -> None:
        """Send a message on these connections."""
        open_ones = [session for session in sessions if session.open]
        for session in open_ones:
            session.last_sent = self.now
        if open_ones:
            self.counts.messages_out += len(open_ones)
            self._act(Send(tuple(session.number for session in open_ones), text))

    def ping(self, session: Session, payload: bytes) -> None:
        """Send a WebSocket ping."""
        if session.open:
            self._act(Ping(session.number, payload))

    def close(self, session: Session, code: int, reason: str) -> None:
        """Close a connection with a closing handshake."""
        self._retire(session)
        self._act(Close(session.number, code, reason))

    def abort(self, session: Session) -> None:
        """Drop a connection."""
        self._retire(session)
        self._act(Abort(session.number))

    def afterwards(self, deed: Callable[[], None]) -> None:
        """Do this once the reply to the present request is sent."""
        self._afterwards.append(deed)

    def finish(self) -> None:
        """Do what was to be done after the reply."""
        deeds, self._afterwards = self._afterwards, []
        for deed in deeds:
            deed()

    # --- connecting -------------------------------------------------------------------------------

    def _retire(self, session: Session) -> None:
        if session.open:
            session.open = False
            self.crowd[session.address] -= 1
            if not self.crowd[session.address]:
                del self.crowd[session.address]
        self.broadcast.retire(session, list(session.subscriptions))

    # --- requests ---------------------------------------------------------------------------------

    def _report(self, session: Session, request: Request) -> None:
        number = session.number
        self.observe(
            "request",
            number,
            method=request.method,
            id=request.id,
            authenticated=request.authenticated,
            private=request.private,
        )
        if request.logs_in:
            self._report_login(number, request)
        match request.op:
            case Op.SUBSCRIBE:
                self.observe(
                    "subscribe_requested",
                    number,
                    channels=list(request.channels),
                    private=[c for c in request.channels if self.dialect.is_private(c)],
                    authenticated=request.authenticated,
                    id=request.id,
                )
            case Op.UNSUBSCRIBE:
                self.observe("unsubscribe_requested", number, channels=list(request.channels))
            case Op.TEST:
                self.heartbeats.answered(session)

    def _report_login(self, number: int, request: Request) -> None:
        self.observe("auth_requested", number, grant_type=request.grant, material=request.material)

    def _ruling(self, session: Session, request: Request) -> Ruling:
        """What limits and faults make of a request."""
        excess = self._limits.excess(session, request)
        if excess is not None:
            return Ruling(error=excess)
        return self._fate(session.number, request)

    def _fate(self, number: int, request: Request) -> Ruling:
        """What faults make of a request."""
        ruling = Ruling()
        for injection in self.injections:
            if found := injection.fault.ruling(self, request):
                ruling = ruling.joined(found)
                injection.bite(number)
                injection.spend()
        return ruling

    def _schedule(self, session: Session, request: Request, ruling: Ruling) -> None:
        due = session.last_due = max(self.now + self.settings.ack_latency, session.last_due)
        # What a fault delays does not hold up the replies behind it.
        self.agenda.at(due + ruling.delay, lambda: self._serve(session, request, ruling))

    def _serve(self, session: Session, request: Request, ruling: Ruling) -> None:
        if not session.open or (ruling.swallowed and not ruling.carried_out):
            return
        try:
            if ruling.error is not None:
                raise ruling.error
            if request.private:
                self.account.authorise(session, request)
            if ruling.missing:
                request = replace(request, missing=ruling.missing)
            replies = self.dialect.answer(self, session, request)
        except VenueError as error:
            replies = () if ruling.swallowed else self._fail(session, request, error)
        for reply in replies if not ruling.swallowed else ():
            self.send(reply, session)
        self.finish()

    def _answer(
        self,
        number: int,
        asked: HttpRequest,
        error: VenueError | None,
        request: Request | None = None,
    ) -> HttpAnswer:
        try:
            if error is not None:
                raise error
            answer = self.dialect.rest(self, number, asked)
        except VenueError as wrong:
            self.report_error(number, request or Request(f"{asked.method} {asked.path}"), wrong)
            answer = self.dialect.http_error(self, wrong)
        self.observe("rest", number, method=asked.method, path=asked.path, status=answer.status)
        return answer

    def report_error(self, number: int, request: Request, error: VenueError) -> None:
        """Tell that a request, or a part of it, is answered with an error."""
        self.observe(
            "error",
            number,
            code=error.code,
            message=error.message,
            method=request.method,
            id=request.id,
            injected=error.injected,
        )
        if request.logs_in:
            self.counts.logins_failed += 1
            self.observe("auth_failed", number, code=error.code, injected=error.injected)

    def _fail(self, session: Session, request: Request, error: VenueError) -> Sequence[str]:
        self.report_error(session.number, request, error)
        if error.terminates:
            code = self.settings.termination_code
            self.afterwards(lambda: self.close(session, code, error.message))
        reply = self.dialect.error(self, session, request, error)
        return () if reply is None else (reply,)


def _unobserved(kind: str, connection: int | None = None, /, **detail: object) -> None:
    """Nobody asked for events."""
