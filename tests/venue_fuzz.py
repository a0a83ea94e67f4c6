"""Whatever may be said and done to a venue, for tests that it always ends well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from squall.exchange import EXCHANGE_FAULTS
from venue_world import C, Client, World

texts = st.text() | st.binary().map(lambda data: data.decode("latin-1"))


def scalars(*words: str) -> st.SearchStrategy[Any]:
    """Any JSON scalar, among them words that the venue knows."""
    return (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(st.characters())
        | st.sampled_from(words)
    )


def values(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any JSON made of these scalars."""
    return st.recursive(
        scalars, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=6
    )


def any_story_ends_well(
    venue: str, says: Mapping[str, Sequence[Any]], asks: Sequence[tuple[str, str]]
) -> None:
    """Clients of these paths come, say these things and go, ask these things over HTTP, and faults
    begin and end, in any order: see `end`.
    """
    said = [(path, message) for path, messages in says.items() for message in messages]
    steps = st.one_of(
        st.tuples(st.just("connect"), st.sampled_from(sorted(says))),
        st.tuples(st.just("say"), st.tuples(st.integers(0, 5), st.sampled_from(said))),
        st.tuples(st.just("ask"), st.sampled_from(asks)),
        st.tuples(st.just("inject"), st.sampled_from(sorted(EXCHANGE_FAULTS))),
        st.tuples(st.just("heal"), st.none()),
        st.tuples(st.just("pong"), st.integers(0, 5)),
        st.tuples(st.just("leave"), st.integers(0, 5)),
        st.tuples(st.just("advance"), st.floats(0, 700)),
    )

    @given(st.lists(steps, max_size=40))
    @settings(derandomize=True, deadline=None, max_examples=200)
    def tell(story: Sequence[tuple[str, Any]]) -> None:
        world = World(venue, tick=20)
        here: list[Client] = []
        for do, what in story:
            _live(world, here, do, what)
            bury(here)
        end(world, here)

    tell()


def _live(world: World, here: list[Client], do: str, what: Any) -> None:
    near = here[what % len(here)] if isinstance(what, int) and here else None
    match do, what:
        case "connect", path:
            if world.admit(path) is None:
                here.append(world.join(path))
        case "say", (place, (path, message)) if here:
            client = here[place % len(here)]
            if client.path == path:
                client.say(message)
        case "ask", (method, target):
            world.ask_http(method, target, "nonce=1", x_mbx_apikey=world.key)
        case "inject", fault:
            world.inject(fault)
        case "heal", _:
            world.heal()
        case "advance", seconds:
            world.advance(seconds)
        case "pong", _ if near:
            near.pong(near.pings[-1] if near.pings else b"")
        case "leave", _ if near:
            here.remove(near)
            near.leave()


def bury(here: list[C]) -> None:
    """Those whose connections were dropped are gone."""
    for gone in [client for client in here if client.aborted]:
        here.remove(gone)
        gone.leave()


def end(world: World, here: Sequence[Client]) -> None:
    """All faults end and everybody leaves: nothing more may be done, and what began has ended."""
    world.heal()
    for client in here:
        client.leave()
    quiet = len(world.actions)
    world.advance(100_000)
    assert len(world.actions) == quiet
    for begun, ended in (("opened", "closed"), ("fault_started", "fault_ended")):
        assert len(world.of(begun)) == len(world.of(ended))
