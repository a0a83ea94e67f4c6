"""Histories written by hand: what would have been seen, with its times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from squall.checks import Check
from squall.history import Event, History
from squall.verdict import Outcome, Verdict

TRADES, BOOK, ORDERS = "trades.BTC-PERPETUAL.100ms", "book.BTC-PERPETUAL.100ms", "user.orders.any"
FULL = ("public", "private", "events", "request", "process", "subscribe", "unsubscribe")


@dataclass
class Story:
    """Events in any order; the history has them sorted by their times."""

    channels: Sequence[str] = (TRADES, BOOK)
    private: Sequence[str] = ()
    adapter: Mapping[str, Any] = field(default_factory=dict)
    expect: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[Mapping[str, Any]] = ()
    adapters: int = 1
    events: list[Event] = field(default_factory=list)
    faults: int = 0

    def __post_init__(self) -> None:
        self.see(
            0,
            "scenario.run_started",
            scenario={"steps": list(self.steps)},
            adapter={"supports": FULL, "in_process": False, "settings": {}} | dict(self.adapter),
            expect=self.expect,
        )
        self.want(0, *self.channels, *self.private)
        self.see(0, "adapter.started", pid=7, command=["adapter"])

    def see(self, at: float, what: str, connection: int | None = None, /, **detail: Any) -> Event:
        source, _, kind = what.partition(".")
        event = Event(at, source, kind, connection, detail)
        self.events.append(event)
        return event

    def want(self, at: float, *channels: str) -> None:
        private = [name for name in channels if name.startswith("user.")]
        self.see(at, "scenario.wanted", channels=channels, private=private, adapters=self.adapters)

    # -- the adapter's side ------------------------------------------------------------------

    def dial(self, at: float, number: int, listener: str = "ws") -> None:
        self.see(at, "proxy.dialled", number, listener=listener, peer="127.0.0.1:9")
        self.see(at, "proxy.upgrade_requested", number, method="GET", upgrade=listener == "ws")

    def connect(self, at: float, number: int) -> None:
        self.dial(at, number)
        self.see(at, "exchange.opened", number, path="/ws/api/v2")
        self.see(at, "proxy.upgraded", number)

    def log_in(self, at: float, number: int, **detail: Any) -> None:
        grant = {"grant_type": "client_signature", "material": f"m{at}"} | detail
        self.see(at, "exchange.request", number, method="public/auth", private=False)
        self.see(at, "exchange.auth_requested", number, **grant)
        self.see(at, "exchange.auth_succeeded", number, token=f"t{at}", expires_in=900)

    def subscribe(self, at: float, number: int, *channels: str, **detail: Any) -> None:
        private = any(name.startswith("user.") for name in channels)
        asked = {"channels": channels, "private": private, "authenticated": private, "id": at}
        self.see(at, "exchange.request", number, method="public/subscribe", id=at)
        self.see(at, "exchange.subscribe_requested", number, **(asked | detail))
        self.see(at, "exchange.subscribed", number, channels=channels, refused=[], repeated=[])

    def send(self, at: float, number: int, *channels: str, **detail: Any) -> None:
        for channel in channels or (*self.channels, *self.private):
            self.see(at, "exchange.sent", number, channel=channel, seq=None, **detail)

    def serve(self, at: float, number: int) -> None:
        """Dialled, upgraded, subscribed, and data flow, all at once."""
        self.connect(at, number)
        if self.private:
            self.log_in(at, number)
        self.subscribe(at, number, *self.channels, *self.private)
        self.send(at, number)

    def leave(self, at: float, number: int, how: str = "fin") -> None:
        self.see(at, "proxy.client_closed", number, how=how)
        self.see(at, "proxy.closed", number, by="client", how=how)
        self.see(at, "exchange.closed", number, code=1006, by="network")

    def say(self, at: float, state: str) -> None:
        self.see(at, "adapter.state", state=state, reason=None)

    def order(self, at: float, number: int, label: str) -> None:
        params = {"label": label, "amount": 10}
        self.see(
            at, "adapter.command", id=number, do="request", method="private/buy", params=params
        )

    # -- the harness's side ------------------------------------------------------------------

    def fault(
        self,
        at: float,
        what: str,
        *connections: int | None,
        until: float | None = None,
        fires: float | None = None,
        source: str = "proxy",
        **settings: Any,
    ) -> None:
        """A fault that fires on these connections; None stands for none in particular."""
        self.faults += 1
        same = {"fault": what, "id": self.faults}
        self.see(at, f"{source}.fault_started", **same, settings=settings, target="all")
        for number in connections:
            self.see(at if fires is None else fires, f"{source}.fault_fired", number, **same)
        if until is not None:
            self.see(until, f"{source}.fault_ended", **same)

    def cut(self, at: float, number: int, what: str = "rst") -> None:
        self.fault(at, what, number, until=at)
        self.see(at, "proxy.closed", number, by="proxy", how=what)
        self.see(at, "exchange.closed", number, code=1006, by="network")

    def steady(self, at: float = 1.0) -> None:
        self.see(at, "scenario.steady", after=at)

    def step(self, at: float, index: int, do: str, reason: str | None = "done") -> None:
        self.see(at, "scenario.step", index=index, do=do)
        if reason:
            self.see(at, "scenario.step_ended", index=index, reason=reason)

    def heal(self, at: float) -> None:
        self.see(at, "scenario.healed")

    def settle(self, at: float, calm: float = 2.0, settled: bool = True) -> None:
        self.see(at, f"scenario.{'settled' if settled else 'not_settled'}", after=at)
        self.see(at + calm, "scenario.calm", seconds=calm)
        self.see(at + calm, "scenario.stopping")

    def stop(self, at: float, *open_connections: int, takes: float = 0.1) -> None:
        self.see(at, "adapter.stop_requested", how="stdin")
        for number in open_connections:
            self.leave(at + takes, number)
        self.see(at + takes, "adapter.exited", status=0, expected=True)

    def stall(self, at: float, seconds: float) -> None:
        self.see(at, "scenario.stalled", seconds=seconds)

    def sample(self, at: float, moment: str, **counts: Any) -> None:
        held = {"fds": 10, "threads": 1, "children": 0, "rss_bytes": 50_000_000}
        sockets = {"ESTABLISHED": 1}
        self.see(at, "system.sample", moment=moment, **(held | {"sockets": sockets} | counts))

    @property
    def history(self) -> History:
        return History(events=sorted(self.events, key=lambda event: event.at))

    def judge(self, check: Check) -> Verdict:
        return check.judge(self.history)


def steady_story(**what: Any) -> Story:
    """One connection, served since 0.5 s, steady at 1 s."""
    story = Story(**what)
    story.serve(0.5, 1)
    story.steady(1.0)
    return story


def reset_story(at: float = 2.0, redial: float | None = 2.5, **what: Any) -> Story:
    """It is reset once and, as a rule, comes back; 60 s are watched after the heal."""
    story = steady_story(**what)
    story.cut(at, 1)
    story.heal(at)
    if redial is not None:
        story.serve(redial, 2)
    story.settle(at + 60, settled=redial is not None)
    return story


def passes(verdict: Verdict) -> bool:
    """Whether it passes, with evidence; says why not."""
    assert verdict.outcome is Outcome.PASS, verdict
    assert verdict.evidence
    return True


def fails(verdict: Verdict, *words: str) -> bool:
    """Whether it fails, with evidence, and in these words."""
    assert verdict.outcome is Outcome.FAIL, verdict
    assert 0 < len(verdict.evidence) <= 12
    assert all(word in verdict.why for word in words), verdict.why
    return True


def is_unknown(verdict: Verdict, *words: str) -> bool:
    """Whether it cannot tell, and says so in these words."""
    assert verdict.outcome is Outcome.UNKNOWN, verdict
    assert all(word in verdict.why for word in words), verdict.why
    return True


def is_unsupported(verdict: Verdict, *words: str) -> bool:
    """Whether it does not apply, and says so in these words."""
    assert verdict.outcome is Outcome.UNSUPPORTED, verdict
    assert all(word in verdict.why for word in words), verdict.why
    return True
