"""TLS in the proxy: what is exact on a plain connection is exact inside TLS."""

from __future__ import annotations

import asyncio
import random
import ssl

import pytest

from frames_witness import built, masked
from proxy_witness import SWITCH, UPGRADE, Peer, switch_protocols
from squall_proxy import (
    Blackhole,
    Close,
    Fin,
    HandshakeBlackhole,
    Http,
    Proxy,
    Refuse,
    Rst,
    Stall,
    Throttle,
    TlsCertificate,
    TlsCut,
    TlsHang,
    Truncate,
    TunnelRefused,
)
from tls_witness import TlsPeer, TlsWorld, authority, on, trusting


async def upgraded(world: TlsWorld) -> tuple[TlsPeer, Peer]:
    client, server = await world.connect_tls()
    await switch_protocols(client, server)
    return client, server


@on()
async def test_the_client_speaks_tls_and_the_server_does_not(world: TlsWorld) -> None:
    client, server = await upgraded(world)
    await client.send(masked(b"to the server"))
    assert await server.read(19) == masked(b"to the server")
    await server.send(built(b"to the client"))
    assert await client.read(15) == built(b"to the client")
    assert world.events.kinds(1)[:2] == ["dialled", "tls_established"]
    assert world.events.of("tls_established")[0]["version"] == "TLSv1.3"


@on("asyncio", "uvloop")
async def test_a_megabyte_passes_both_ways_at_once(world: TlsWorld) -> None:
    client, server = await world.connect_tls()
    data = random.Random(1).randbytes(1_000_000)
    await client.send(b"\0")  # no HTTP
    assert await server.read(1) == b"\0"
    got = await asyncio.gather(
        client.send(data), server.send(data), client.read(len(data)), server.read(len(data))
    )
    assert got[2] == got[3] == data


@on()
async def test_a_fin_stays_a_fin_both_ways(world: TlsWorld) -> None:
    client, server = await upgraded(world)
    server.finish()
    assert await client.rest() == (b"", "fin")
    assert client.notified
    client.finish()
    assert await server.rest() == (b"", "fin")
    assert (await world.events.wait("closed"))["by"] == "server"


@on()
async def test_half_a_close_is_carried_through(world: TlsWorld) -> None:
    client, server = await upgraded(world)
    client.finish()
    assert await server.rest() == (b"", "fin")
    await server.send(built(b"late"))
    server.finish()
    assert await client.rest() == (built(b"late"), "fin")


@on()
async def test_a_client_that_still_talks_after_the_servers_end_is_heard(world: TlsWorld) -> None:
    client, server = await upgraded(world)
    server.finish()
    assert await client.rest() == (b"", "fin")
    await client.send(masked(b"late"))
    client.finish()
    assert await server.rest() == (masked(b"late"), "fin")


@on()
async def test_a_fin_without_close_notify_is_a_fin_too(world: TlsWorld) -> None:
    client, server = await upgraded(world)
    client.below.finish()
    assert await server.rest() == (b"", "fin")


@on()
async def test_a_rst_stays_a_rst_both_ways(world: TlsWorld) -> None:
    client, server = await upgraded(world)
    server.reset()
    assert (await client.rest())[1] == "rst"
    client, server = await upgraded(world)
    client.reset()
    assert (await server.rest())[1] == "rst"


@on()
async def test_rst_resets_an_idle_connection_on_both_sides(world: TlsWorld) -> None:
    client, server = await upgraded(world)
    world.proxy.inject(Rst())
    assert await client.rest() == (b"", "rst")
    assert await server.rest() == (b"", "rst")


@on()
async def test_fin_ends_it_without_a_close_frame(world: TlsWorld) -> None:
    client, server = await upgraded(world)
    world.proxy.inject(Fin())
    assert await client.rest() == (b"", "fin")
    assert await server.rest() == (b"", "fin")


@on()
async def test_close_sends_a_close_frame_inside_tls(world: TlsWorld) -> None:
    client, server = await upgraded(world)
    world.proxy.inject(Close(1012, "restart"))
    assert await client.read(11) == built(b"\x03\xf4restart", 8)
    await client.send(masked(b"\x03\xf4", 8))
    assert await client.rest() == (b"", "fin")
    assert await server.rest() == (b"", "fin")


@on()
async def test_truncate_cuts_a_frame_inside_tls(world: TlsWorld) -> None:
    client, server = await upgraded(world)
    world.proxy.inject(Truncate())
    await server.send(built(bytes(98)))
    assert await client.rest() == (built(bytes(98))[:50], "fin")


@on()
async def test_a_blackhole_swallows_even_the_fin_and_gives_back_all(world: TlsWorld) -> None:
    client, server = await upgraded(world)
    hole = world.proxy.inject(Blackhole())
    await server.send(built(b"held"))
    server.finish()
    assert await client.hears_nothing()
    hole.heal()
    assert await client.rest() == (built(b"held"), "fin")


@on()
async def test_a_blackhole_swallows_the_handshake_until_it_is_healed(world: TlsWorld) -> None:
    for fault in (Blackhole(), Blackhole("server_to_client"), Stall()):
        hole = world.proxy.inject(fault)
        client = TlsPeer(await world.dial())
        shaking = asyncio.ensure_future(client.shake_hands())
        await asyncio.sleep(0.2)
        assert not shaking.done(), fault
        hole.heal()
        await shaking


@on()
async def test_a_handshake_blackhole_of_the_upgrade_lets_tls_pass(world: TlsWorld) -> None:
    world.proxy.inject(HandshakeBlackhole("upgrade"))
    client, server = await world.connect_tls()
    await client.send(UPGRADE)
    await server.read(len(UPGRADE))
    await server.send(SWITCH)
    assert await client.hears_nothing()


@on()
async def test_http_answers_inside_tls(world: TlsWorld) -> None:
    world.proxy.inject(Http(429, {"Retry-After": "2"}))
    client = await world.dial_tls()
    await client.send(UPGRADE)
    answer, how = await client.rest()
    assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert how == "fin"


@on()
async def test_refusals_come_before_the_handshake(world: TlsWorld) -> None:
    for how, seen in (("reset", "rst"), ("closed", "fin")):
        refusal = world.proxy.inject(Refuse(how))  # type: ignore[arg-type]
        assert (await (await world.dial()).rest())[1] == seen
        refusal.heal()


@on("asyncio", "uvloop")
async def test_a_reader_that_does_not_read_stops_the_writer(world: TlsWorld) -> None:
    client, server = await upgraded(world)
    taken = await server.send_until_stuck()
    assert taken < 50_000_000
    assert len(await client.read(taken - 100_000)) == taken - 100_000


@on()
async def test_throttled_bytes_are_all_there(world: TlsWorld) -> None:
    client, server = await upgraded(world)
    world.proxy.inject(Throttle(200_000))
    data = random.Random(2).randbytes(50_000)
    await server.send(data)
    assert await client.read(len(data)) == data


# -- the faults of the handshake -----------------------------------------------------------------


@on()
async def test_a_defective_certificate_is_one_that_clients_refuse(world: TlsWorld) -> None:
    said = {
        "expired": "certificate has expired",
        "wrong_host": "IP address mismatch, certificate is not valid for '127.0.0.1'",
        "untrusted": "unable to get local issuer certificate",
    }
    for number, (kind, message) in enumerate(said.items(), 1):
        fault = world.proxy.inject(TlsCertificate(kind))  # type: ignore[arg-type]
        found = await world.dial_badly()
        assert message in found
        failed = await world.events.wait("tls_failed", number)
        assert "alert" in failed["why"]
        assert failed["connection"] == number
        assert fault.fired
        fault.heal()
    assert await world.dial_badly() == "accepted"


@on()
async def test_who_accepts_a_defective_certificate_is_served(world: TlsWorld) -> None:
    world.proxy.inject(TlsCertificate("untrusted"))
    careless = trusting()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    client = await world.dial_tls(careless)
    await client.send(UPGRADE)
    assert await (await world.accept()).read(len(UPGRADE)) == UPGRADE
    assert world.events.of("upgrade_requested")


@on()
async def test_a_handshake_that_hangs_stays_dead_after_the_heal(world: TlsWorld) -> None:
    hang = world.proxy.inject(TlsHang())
    client = TlsPeer(await world.dial())
    shaking = asyncio.ensure_future(client.shake_hands())
    await world.events.wait("fault_fired")
    hang.heal()
    await asyncio.sleep(0.2)
    assert not shaking.done()
    shaking.cancel()
    client.reset()
    await world.events.wait("closed")
    assert await world.dial_badly() == "accepted"


@on()
async def test_a_handshake_is_cut_in_its_middle(world: TlsWorld) -> None:
    for how in ("rst", "fin"):
        cut = world.proxy.inject(TlsCut(how))
        assert await world.dial_badly() == how
        assert cut.fired
        cut.heal()
    await world.events.wait("closed", 2)


@on()
async def test_the_exchange_hears_nothing_of_a_handshake_that_failed(world: TlsWorld) -> None:
    world.proxy.inject(TlsCertificate("expired"))
    await world.dial_badly()
    server = await world.accept()
    assert (await server.rest())[0] == b""
    server.close()
    await world.events.wait("closed")


@on()
async def test_a_client_that_speaks_no_tls_is_turned_away(world: TlsWorld) -> None:
    client = await world.dial()
    await client.send(UPGRADE)
    await client.rest()
    assert (await world.events.wait("tls_failed"))["why"] == "http request"


@on()
async def test_a_client_that_leaves_in_the_handshake_is_noticed(world: TlsWorld) -> None:
    client = await world.dial()
    await client.send(b"\x16\x03\x01")
    client.finish()
    assert (await world.events.wait("tls_failed"))["why"] == "the client left"


@on()
async def test_a_connection_can_be_ended_while_the_handshake_waits(world: TlsWorld) -> None:
    client = TlsPeer(await world.dial())
    await world.events.wait("dialled")
    world.proxy.inject(Fin())
    with pytest.raises((ConnectionAbortedError, ConnectionResetError)):
        await client.shake_hands()


@on()
async def test_a_broken_record_ends_the_connection(world: TlsWorld) -> None:
    client, server = await upgraded(world)
    await client.below.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert (await server.rest())[1] == "rst"


@on()
async def test_stop_ends_connections_in_and_after_the_handshake(world: TlsWorld) -> None:
    await upgraded(world)
    world.proxy.inject(TlsHang())
    hung = await world.dial()
    await hung.send(b"\x16\x03\x01")
    await asyncio.wait_for(world.proxy.stop(), 3)


def test_tls_faults_need_tls() -> None:
    async def main() -> None:
        proxy = Proxy(("127.0.0.1", 9), observe=lambda *_, **__: None, rng=random.Random(0))
        await proxy.start()
        with pytest.raises(ValueError, match="tls_hang needs TLS"):
            proxy.inject(TlsHang())
        with pytest.raises(ValueError, match="tunnel_refused needs an HTTP proxy"):
            proxy.inject(TunnelRefused())
        await proxy.stop()

    asyncio.run(main())


# -- tunnels -------------------------------------------------------------------------------------

CONNECT = b"CONNECT ws.venue.example:443 HTTP/1.1\r\nHost: ws.venue.example:443\r\n\r\n"
OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@on(tunnel=True)
async def test_a_tunnel_leads_any_host_here_under_its_own_name(world: TlsWorld) -> None:
    below = await world.dial()
    await below.send(CONNECT)
    assert await below.read(len(OPENED)) == OPENED
    client = await TlsPeer(below).shake_hands("ws.venue.example")
    await client.send(UPGRADE)
    server = await world.accept()
    assert await server.read(len(UPGRADE)) == UPGRADE
    wanted = world.events.of("tunnel_requested")[0]
    assert (wanted["host"], wanted["port"]) == ("ws.venue.example", 443)
    world.proxy.inject(Rst())
    assert (await client.rest())[1] == "rst"


@on(tunnel=True)
async def test_a_client_without_sni_gets_a_certificate_for_the_host_of_its_tunnel(
    world: TlsWorld,
) -> None:
    below = await world.dial()
    await below.send(CONNECT.replace(b"ws.venue.example", b"192.0.2.7"))
    assert await below.read(len(OPENED)) == OPENED
    await TlsPeer(below).shake_hands("192.0.2.7")


@on(tunnel=True)
async def test_in_a_tunnel_plain_bytes_pass_too(world: TlsWorld) -> None:
    below = await world.dial()
    await below.send(CONNECT + UPGRADE)
    assert await below.read(len(OPENED)) == OPENED
    server = await world.accept()
    assert await server.read(len(UPGRADE)) == UPGRADE
    await server.send(SWITCH)
    assert await below.read(len(SWITCH)) == SWITCH
    server.finish()
    assert await below.rest() == (b"", "fin")


@on(tunnel=True)
async def test_a_tunnel_can_be_refused(world: TlsWorld) -> None:
    refusal = world.proxy.inject(TunnelRefused(504))
    below = await world.dial()
    await below.send(CONNECT)
    answer, how = await below.rest()
    assert answer.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert how == "fin"
    assert refusal.fired


@on(tunnel=True)
async def test_what_is_no_connect_is_told_so(world: TlsWorld) -> None:
    below = await world.dial()
    await below.send(b"GET http://venue.example/ HTTP/1.1\r\nHost: venue.example\r\n\r\n")
    answer, _ = await below.rest()
    assert answer.startswith(b"HTTP/1.1 501 Not Implemented\r\n")
    assert b"use CONNECT" in answer


def test_a_tunnel_needs_certificates() -> None:
    with pytest.raises(ValueError, match="give the proxy `tls`"):
        Proxy(("127.0.0.1", 9), observe=print, rng=random.Random(0), tunnel=True)


def test_certificates_are_made_once() -> None:
    assert authority().context("a.example") is authority().context("a.example")
