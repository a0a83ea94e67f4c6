"""Whatever happens to it, in whatever order: what a session never does."""

import json
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from squall_reference.actions import (
    Abort,
    Actions,
    Close,
    Dial,
    Finished,
    Loss,
    Ping,
    Reply,
    Send,
)
from squall_reference.login import Credentials
from squall_reference.session import Session
from squall_reference.settings import Settings

BOOK, ORDERS = "book.BTC-PERPETUAL.100ms", "user.orders.any.any.raw"
CHANNELS = [BOOK, ORDERS, "trades.BTC-PERPETUAL.100ms"]
TOKEN = {"access_token": "A", "refresh_token": "R", "expires_in": 60}


class World:
    """A shell and an exchange, and the rules that a session must keep towards both."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.now = 0.0
        self.line = "none"
        self.granted = False
        self.finished = False
        self.asked: list[dict[str, Any]] = []
        self.tags = 0
        self.open_tags: set[int] = set()
        self.wanted = set(CHANNELS)
        self.ids: set[int] = set()
        self.served: set[str] = set()
        self.take(session.start(0.0))

    def take(self, actions: Actions) -> None:
        for action in actions:
            assert not self.finished, f"{action} after the end"
            match action:
                case Dial():
                    assert self.line == "none", "two connections at once"
                    self.line = "dialling"
                case Send(text):
                    assert self.line == "up", "sent without a connection"
                    self.judge(json.loads(text))
                case Ping() | Close():
                    assert self.line == "up"
                    self.line = "closing" if isinstance(action, Close) else self.line
                case Abort():
                    assert self.line != "none"
                    self.line = "closing" if self.line == "up" else self.line
                case Reply(tag):
                    self.open_tags.remove(tag)
                case Finished():
                    assert self.line == "none", "finished with an open connection"
                    self.finished = True

    def judge(self, request: dict[str, Any]) -> None:
        assert request["id"] not in self.ids, "an id used twice"
        self.ids.add(request["id"])
        if request["method"].startswith("private/"):
            assert self.granted, "private before the ack of authentication"
        self.asked.append(request)

    def answer(self, request: dict[str, Any], do: str) -> None:
        message: dict[str, Any] = {"id": request["id"]}
        method, channels = request["method"], request["params"].get("channels", [])
        if do == "rejected":
            message["error"] = {"code": 13004, "message": "invalid_credentials"}
        elif do == "refused":
            message["error"] = {"code": 13009, "message": "unauthorized"}
        elif method == "public/auth":
            self.granted = True
            message["result"] = TOKEN
        elif method.endswith("/subscribe"):
            taken = channels[1:] if do == "short" else channels
            self.served.update(taken)
            message["result"] = taken
        else:
            if method.endswith("/unsubscribe"):
                self.served.difference_update(channels)
            message["result"] = "ok"
        self.take(self.session.received(json.dumps(message), self.now))

    def step(self, do: str, choice: int) -> None:
        session = self.session
        channel = CHANNELS[choice % len(CHANNELS)]
        match do:
            case "tick" if session.deadline is not None:
                self.now = max(self.now, session.deadline)
                self.take(session.tick(self.now))
                assert session.deadline is None or session.deadline > self.now, "no progress"
            case "sleep":
                self.now += choice
            case "connect" if self.line == "dialling":
                self.line, self.granted = "up", False
                self.asked.clear()
                self.served.clear()
                self.take(session.connected(self.now))
            case "lose" if self.line != "none":
                self.line = "none"
                self.asked.clear()
                self.take(session.disconnected(Loss("reset"), self.now))
            case "answer" | "short" | "rejected" | "refused" if self.asked and self.line == "up":
                self.answer(self.asked.pop(choice % len(self.asked)), do)
            case "swallow" if self.asked:
                self.asked.pop(choice % len(self.asked))
            case "pong" if self.line == "up":
                self.take(session.pong(self.now))
            case "data" if self.line == "up":
                data = {"type": "change", "change_id": choice, "prev_change_id": choice - 1}
                params = {"channel": channel, "data": data}
                message = json.dumps({"method": "subscription", "params": params})
                self.take(session.received(message, self.now))
            case "garbage" if self.line == "up":
                self.take(session.received("garbage", self.now))
            case "test" if self.line == "up":
                message = '{"method":"heartbeat","params":{"type":"test_request"}}'
                self.take(session.received(message, self.now))
            case "order":
                self.tags += 1
                self.open_tags.add(self.tags)
                self.take(session.request(self.tags, "private/buy", {}, self.now))
            case "want":
                self.wanted.add(channel)
                self.take(session.subscribe([channel], self.now))
            case "unwant":
                self.wanted.discard(channel)
                self.take(session.unsubscribe([channel], self.now))
            case "disconnect":
                self.take(session.disconnect(self.now))


KINDS = [
    *("tick", "tick", "connect", "connect", "answer", "answer", "answer", "pong", "lose", "sleep"),
    *("short", "rejected", "refused", "swallow", "data", "garbage", "test", "order", "want"),
    *("unwant", "disconnect"),
]
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 100)), max_size=60)


def world(seed: int, **mapping: object) -> World:
    made, _ = Settings.from_mapping(mapping)
    keys = Credentials("key-1", "secret-1")
    return World(Session(CHANNELS, rng=Random(seed), credentials=keys, settings=made))


@given(STEPS, st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_it_keeps_the_rules_whatever_happens(steps: list[tuple[str, int]], seed: int) -> None:
    found = world(seed)
    for do, choice in steps:
        if not found.finished:
            found.step(do, choice)
    if not found.finished:
        found.take(found.session.stop(found.now))
        while found.line != "none":
            found.step("lose", 0)
    assert found.finished
    assert found.open_tags == set(), "a request without an end"
    assert found.session.deadline is None


@given(STEPS, st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_when_the_trouble_ends_everything_wanted_is_served(
    steps: list[tuple[str, int]], seed: int
) -> None:
    found = world(seed, auth_attempts=1000)
    for do, choice in steps:
        if do != "disconnect":
            found.step(do, choice)
    healed = found.now
    while found.session.state != "live" or found.asked or found.served != found.wanted:
        assert found.now - healed < 120.0, "not restored"
        if found.line == "dialling":
            found.step("connect", 0)
        elif found.line == "closing":
            found.step("lose", 0)
        elif found.asked:
            found.step("answer", 0)
        else:
            found.step("tick", 0)
            found.step("pong", 0)
    assert found.session.health(found.now).missing == ()
