"""Whatever a client says, the exchange answers or closes, and never breaks."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import venue_fuzz
from squall.exchange import EXCHANGE_FAULTS, dialect
from squall.exchange.deribit.methods import METHODS
from test_exchange import BOOK, ORDERS, TRADES, Client, World

scalars = venue_fuzz.scalars(BOOK, ORDERS, TRADES, "BTC-PERPETUAL", "connection", "limit")
values = venue_fuzz.values(scalars)
names = st.sampled_from(
    [
        *("channels", "interval", "grant_type", "client_id", "client_secret", "refresh_token"),
        *("scope", "timestamp", "nonce", "signature", "instrument_name", "amount", "price"),
        *("type", "label", "order_id", "access_token", "currency", "kind", "client_name"),
    ]
)
methods = st.sampled_from(sorted(METHODS)) | st.text(max_size=20)
requests = st.fixed_dictionaries(
    {"method": methods},
    optional={"id": scalars, "params": st.dictionaries(names, values) | values, "jsonrpc": scalars},
)


def answers_or_closes(client: Client, text: str) -> None:
    before = len(client.inbox)
    client.say(text)
    client.world.advance(1)
    replies = [m for m in client.inbox[before:] if "method" not in m]
    assert len(replies) == 1 or client.closed_with is not None
    for reply in replies:
        assert ("result" in reply) != ("error" in reply)


@given(venue_fuzz.texts)
@settings(derandomize=True, deadline=None)
def test_any_text_is_answered_or_closes(text: str) -> None:
    answers_or_closes(World().connect(), text)


@given(st.lists(requests, max_size=8))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_any_request_is_answered_or_closes(asked: list[dict[str, Any]]) -> None:
    world = World()
    client = world.connect()
    client.login()
    for request in asked:
        if client.closed_with is None:
            answers_or_closes(client, json.dumps(request))
    assert json.dumps(world.events, default=str)


steps = st.one_of(
    st.tuples(st.just("inject"), st.sampled_from(sorted(EXCHANGE_FAULTS))),
    st.tuples(st.just("heal"), st.none()),
    st.tuples(st.just("connect"), st.none()),
    st.tuples(st.just("login"), st.integers(0, 5)),
    st.tuples(st.just("ask"), st.tuples(st.integers(0, 5), methods)),
    st.tuples(st.just("subscribe"), st.tuples(st.integers(0, 5), st.integers(0, 4))),
    st.tuples(st.just("close"), st.integers(0, 5)),
    st.tuples(st.just("leave"), st.integers(0, 5)),
    st.tuples(st.just("advance"), st.floats(0, 30)),
)


kinds = st.sampled_from(
    [
        *("opened", "request", "auth_requested", "auth_succeeded", "auth_failed", "error"),
        *("subscribe_requested", "subscribed", "unsubscribed", "sent", "heartbeat_set"),
        *("test_requested", "test_answered", "order_placed", "order_cancelled", "token_expired"),
        *("limit_exceeded", "fault_started", "fault_fired", "fault_ended", "closed"),
    ]
)
whims = st.dictionaries(kinds, st.sampled_from(["heal", *sorted(EXCHANGE_FAULTS)]), max_size=3)


def meddle(world: World, whims: dict[str, str]) -> None:
    """Inject or heal while the exchange is telling its observer something, as scenarios do."""
    observe = world.exchange.observe

    def strike(kind: str, connection: int | None = None, /, **detail: Any) -> None:
        observe(kind, connection, **detail)
        whim = whims.pop(kind, None)
        if whim == "heal":
            world.heal()
        elif whim is not None:
            world.inject(whim)

    world.exchange.observe = strike


@given(st.lists(steps, max_size=40), whims)
@settings(derandomize=True, deadline=None, max_examples=500)
def test_any_story_of_faults_and_clients_ends_well(
    story: list[tuple[str, Any]], whims: dict[str, str]
) -> None:
    world = World()
    meddle(world, whims)
    here: list[Client] = []

    def client(n: int) -> Client | None:
        return here[n % len(here)] if here else None

    for do, what in story:
        match do:
            case "inject":
                world.inject(what)
            case "heal":
                world.heal()
            case "advance":
                world.advance(what)
            case "connect":
                if world.refusal() is None:
                    here.append(world.join())
            case "login" if one := client(what):
                login = {"client_id": world.key, "client_secret": world.secret}
                one.send("public/auth", grant_type="client_credentials", **login)
            case "ask" if one := client(what[0]):
                one.send(what[1], interval=10, instrument_name="BTC-PERPETUAL", amount=1, price=1)
            case "subscribe" if one := client(what[0]):
                channels = [*dialect("deribit").channels("book", what[1]), ORDERS, "platform_state"]
                one.send("private/subscribe", channels=channels)
            case "close" if one := client(what):
                if world.exchange.answers_close(one.number, world.now):
                    world.exchange.closing(one.number, world.now)
            case "leave" if one := client(what):
                here.remove(one)
                one.leave()
        venue_fuzz.bury(here)
    whims.clear()
    venue_fuzz.end(world, here)
