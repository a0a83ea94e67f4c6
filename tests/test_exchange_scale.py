"""The exchange under load: what it holds stays bounded, what it sends goes out together."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from squall.exchange import ExchangeServer, Membership, Settings, dialect
from squall.exchange.signed_tokens import SignedTokens
from test_exchange import BOOK, TICKER, TRADES, Failed, World
from test_exchange_server import PATIENCE, Run, Stage, play, text, upgrade

KEY = b"shared by the processes of one venue"


# --- bounded memory -------------------------------------------------------------------------------


def storm(world: World, times: int) -> None:
    """So many clients that connect, log in, subscribe and are gone."""
    for _ in range(times):
        client = world.connect()
        client.login()
        client.ask("private/subscribe", channels=[TRADES])
        client.leave()
        del world.clients[client.number]
        world.clients[client.number] = client
        client.inbox.clear()


def test_a_storm_of_reconnects_leaves_no_deeds_and_no_tokens_behind() -> None:
    world = World(token_lifetime=900.0, tick=60.0, ack_latency=0.0)
    storm(world, 1500)
    assert world.now < 200.0, "no token has come to its end"
    assert len(world.exchange.agenda) <= 1024
    assert len(world.exchange.account.tokens) == 0


def test_deeds_about_open_connections_are_kept_however_many_there_are() -> None:
    world = World(token_lifetime=30.0, ack_latency=0.0, connections_per_address=10_000)
    clients = [world.connect() for _ in range(1500)]
    for client in clients:
        client.login()
    world.advance(31.0)
    assert len(world.of("token_expired")) == 1500


def test_the_connections_of_an_address_are_counted_until_they_are_closed() -> None:
    world = World(connections_per_address=2)
    first, second = world.connect(), world.connect()
    assert world.refusal().status == 429
    first.leave()
    third = world.connect()
    assert world.refusal().status == 429
    # One that is being closed counts no more, and not twice less when it is gone.
    world.exchange.close(world.exchange.live_sessions()[0], 1000, "")
    assert world.refusal() is None
    second.leave()
    world.connect()
    assert world.refusal().status == 429
    third.leave()


def test_without_an_observer_the_counts_still_tell_what_happened() -> None:
    world = World(observed=False)
    client = world.connect()
    client.login()
    client.ask("private/subscribe", channels=[TRADES, BOOK])
    world.advance(2.0)
    counts = world.exchange.counts
    assert (counts.upgrades, counts.logins, counts.subscriptions) == (1, 1, 2)
    assert counts.messages_in == 2
    assert counts.messages_out == len(client.inbox) > 6
    client.ask("public/auth", grant_type="client_credentials", client_id="x", client_secret="y")
    assert counts.logins_failed == 1
    assert world.events == []


# --- batches --------------------------------------------------------------------------------------


def test_batches_go_out_together_and_leave_nothing_out() -> None:
    channels = dialect("deribit").channels("ticker", 12)
    seen = {}
    for batch in (0.0, 0.05):
        world = World(tick=0.1, batch_interval=batch)
        client = world.connect()
        client.ask("public/subscribe", channels=channels)
        moments: set[float] = set()
        for _ in range(2000):
            before = len(client.inbox)
            world.advance(0.001)
            if len(client.inbox) > before:
                moments.add(round(world.now, 3))
        seen[batch] = moments, {name: len(client.data(name)) for name in channels}
    alone, together = seen[0.0], seen[0.05]
    assert len(together[0]) <= 2.0 / 0.05 + 1 < len(alone[0])
    for name, count in alone[1].items():
        assert abs(together[1][name] - count) <= 1


def test_a_batch_is_no_longer_than_a_tick() -> None:
    with pytest.raises(ValueError, match=r"batch_interval is 0\.2 and longer than tick"):
        Settings(tick=0.1, batch_interval=0.2)


def test_a_batch_is_one_write_and_keeps_the_order_of_everything(run: Run) -> None:
    async def test(stage: Stage) -> None:
        reader, writer = await asyncio.open_connection(*stage.server.address)
        writer.write(upgrade())
        await reader.readuntil(b"\r\n\r\n")
        channels = dialect("deribit").channels("ticker", 20)
        writer.write(
            text({"id": 1, "method": "public/subscribe", "params": {"channels": channels}})
        )
        await stage.seen("sent", 100)
        # A reply is made inside a tick, too, and must not overtake what was gathered before it.
        writer.write(text({"id": 2, "method": "public/test", "params": {"pad": "x" * 100}}))
        found = b""
        async with asyncio.timeout(PATIENCE):
            while b'"id": 2' not in found:
                found += await reader.read(65_536)
        assert found.count(b'"ticker.') >= 100
        writer.close()

    run(test, settings={"tick": 0.02, "batch_interval": 0.02})


@pytest.fixture
def run() -> Run:
    def run(test: Any, **options: Any) -> None:
        asyncio.run(asyncio.wait_for(play(test, **options), 60))

    return run


# --- slow consumers -------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [0.0, 0.005])
def test_a_slow_consumer_is_told_so_behind_what_it_has_not_read(run: Run, batch: float) -> None:
    async def test(stage: Stage) -> None:
        reader, writer = await asyncio.open_connection(*stage.server.address, limit=1024)
        writer.write(upgrade())
        await reader.readuntil(b"\r\n\r\n")
        channels = dialect("deribit").channels("trades", 4)
        writer.write(
            text({"id": 1, "method": "public/subscribe", "params": {"channels": channels}})
        )
        exceeded = await stage.seen("limit_exceeded")
        assert exceeded[0]["rule"] == "unsent bytes"
        # No more than one round of messages beyond the limit.
        assert 100_000 < exceeded[0]["count"] < 200_000
        last = b""
        async with asyncio.timeout(PATIENCE):
            while piece := await reader.read(65_536):
                last = (last + piece)[-64:]
                if last.endswith(b"slow consumer"):
                    break
        assert last.endswith(b"\x88\x0f" + (4005).to_bytes(2, "big") + b"slow consumer")
        writer.transport.abort()
        assert (await stage.seen("closed"))[0]["code"] == 4005
        assert stage.server.exchange.counts.slow_consumers == 1

    run(
        test,
        settings={
            "tick": 0.01,
            "trades_per_message": 50,
            "max_unsent_bytes": 100_000,
            "slow_consumer_code": 4005,
            "close_timeout": 20.0,
            "batch_interval": batch,
        },
    )


def test_one_slow_consumer_does_not_hold_up_the_others(run: Run) -> None:
    async def test(stage: Stage) -> None:
        _, slow = await asyncio.open_connection(*stage.server.address, limit=1024)
        slow.write(upgrade())
        channels = dialect("deribit").channels("trades", 4)
        request = {"id": 1, "method": "public/subscribe", "params": {"channels": channels}}
        slow.write(text(request))
        async with stage.client() as quick:
            await quick.send(json.dumps(request))
            while not stage.of("closed"):
                await asyncio.wait_for(quick.recv(), PATIENCE)
            for _ in range(40):
                await asyncio.wait_for(quick.recv(), PATIENCE)
        slow.transport.abort()

    run(
        test,
        settings={
            "tick": 0.01,
            "trades_per_message": 50,
            "max_unsent_bytes": 100_000,
            "close_timeout": 0.1,
        },
    )


# --- tokens of several processes ------------------------------------------------------------------


def member(number: int) -> Membership:
    return Membership(number, 2, 100.0, KEY)


def worlds(**settings: Any) -> tuple[World, World]:
    return World(member(1), **settings), World(member(2), **settings)


def redeem(world: World, token: str) -> Any:
    return world.connect().ask("public/auth", grant_type="refresh_token", refresh_token=token)


def test_one_process_honours_the_refresh_token_of_another_once() -> None:
    here, there = worlds()
    assert (here.key, here.secret) == (there.key, there.secret)
    token = here.connect().login("session:mine")["refresh_token"]
    granted = redeem(there, token)
    assert granted["scope"].startswith("session:mine")
    assert redeem(there, token) == Failed(-32602)


def test_one_process_honours_the_access_token_of_another() -> None:
    here, there = worlds()
    token = here.connect().login("session:mine")["access_token"]
    client = there.connect()
    assert client.ask("private/subscribe", channels=[TRADES]) == Failed(13009)
    assert client.ask("private/subscribe", channels=[TRADES], access_token=token) == [TRADES]


def test_no_token_is_issued_twice() -> None:
    here, there = worlds()
    tokens = [world.connect().login()["access_token"] for world in (here, there) for _ in range(20)]
    assert len(set(tokens)) == 40


def test_a_token_of_another_process_is_bound_to_its_connection() -> None:
    here, there = worlds()
    token = here.connect().login()["access_token"]
    # Connections are numbered so that no two processes have the same; these worlds do not.
    there.connect()
    client = there.connect()
    assert client.ask("private/subscribe", channels=[TRADES], access_token=token) == Failed(13009)


@pytest.mark.parametrize("change", ["", "x", "access", "not.signed", "access.e30.xyz", "é.é"])
def test_a_forged_token_is_none(change: str) -> None:
    tokens = SignedTokens(random.Random(0), member(1))
    assert tokens.find(change) is None
    assert tokens.redeem(change) is None


def test_a_changed_token_is_none() -> None:
    issued = SignedTokens(random.Random(0), member(1)).issue("session:a", None, 900.0, 0.0)
    other = SignedTokens(random.Random(0), member(2))
    kind, body, tag = issued.access.split(".")
    for wrong in (f"{kind}.{body[:-2]}AA.{tag}", f"{kind}.{body}.{tag[:-1]}", issued.refresh):
        assert other.find(wrong) is None
    assert other.redeem(issued.access) is None
    stranger = SignedTokens(random.Random(0), Membership(2, 2, 0.0, b"another key"))
    assert stranger.find(issued.access) is None
    assert other.find(issued.access) is not None


def test_tokens_of_other_processes_expire_with_a_fault_and_refresh_after_it() -> None:
    here, there = worlds()
    granted = here.connect().login("session:mine")
    for world in (here, there):
        world.advance(1.0)
        world.inject("expire_token")
    client = there.connect()
    asked = client.ask("private/subscribe", channels=[TRADES], access_token=granted["access_token"])
    assert asked == Failed(13009)
    assert there.of("error")[-1]["injected"]
    assert redeem(there, granted["refresh_token"])["access_token"]


def test_tokens_of_other_processes_end_with_the_credentials() -> None:
    here, there = worlds()
    granted = here.connect().login("session:mine")
    there.advance(1.0)
    there.inject("revoke")
    there.heal()
    assert redeem(there, granted["refresh_token"]) == Failed(-32602)
    client = there.connect()
    asked = client.ask("private/subscribe", channels=[TRADES], access_token=granted["access_token"])
    assert asked == Failed(13009)


def test_orders_and_connections_of_two_processes_have_different_ids() -> None:
    async def test() -> None:
        numbers, orders = set(), set()
        for number in (1, 2):
            server = ExchangeServer(
                dialect("deribit"),
                Settings(),
                observe=None,
                rng=random.Random(0),
                membership=member(number),
            )
            numbers |= {server.number(("127.0.0.1", port)) for port in range(5)}
            world = World(member(number))
            client = world.connect()
            client.login()
            for _ in range(3):
                placed = client.ask(
                    "private/buy", instrument_name="BTC-PERPETUAL", amount=10, price=90_000
                )
                orders.add(placed["order"]["order_id"])
        assert len(numbers) == 10
        assert len(orders) == 6

    asyncio.run(test())


def test_two_processes_send_the_same_data() -> None:
    here, there = worlds(tick=0.1)
    there.advance(0.25)
    inboxes = []
    for world in (here, there):
        client = world.connect()
        client.ask("public/subscribe", channels=[TICKER, TRADES])
        world.advance(110.0 - world.now)
        inboxes.append([json.dumps(message) for message in client.inbox if "params" in message])
    assert inboxes[0][-50:] == inboxes[1][-50:]
