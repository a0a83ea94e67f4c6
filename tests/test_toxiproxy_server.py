"""The control port: Toxiproxy's routes to the byte, our own beside them, and no way to break it."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time

import pytest

from proxy_witness import SWITCH, UPGRADE
from squall_proxy.toxiproxy.http import BODY_LIMIT
from toxiproxy_witness import FUZZED_CALLS, Bench, Caller, Reply, served

WISH = {"name": "p", "upstream": "localhost:1", "listen": "localhost:0"}


def error(reply: Reply) -> tuple[int, str]:
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.text == f'{{"error":{json.dumps(reply.json["error"])},"status":{reply.status}}}\n'
    return reply.status, reply.json["error"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


# -- proxies -------------------------------------------------------------------------------------


@served
async def test_a_proxy_is_made_shown_listed_and_deleted(b: Bench) -> None:
    assert (await b.call("GET", "/proxies")).text == "{}"
    made = await b.call("POST", "/proxies", {"name": "p", "upstream": "u:1", "enabled": False})
    text = '{"name":"p","listen":"","upstream":"u:1","enabled":false,"Logger":{},"toxics":[]}'
    assert (made.status, made.text) == (201, text)
    assert made.headers["content-type"] == "application/json"
    assert len(made.headers["x-toxiproxy-request-id"]) == 20
    assert (await b.call("GET", "/proxies/p")).text == text
    assert (await b.call("GET", "/proxies")).text == f'{{"p":{text}}}'
    gone = await b.call("DELETE", "/proxies/p")
    assert (gone.status, gone.body, gone.headers.get("content-length")) == (204, b"", None)
    assert error(await b.call("GET", "/proxies/p")) == (404, "proxy not found")
    assert error(await b.call("DELETE", "/proxies/p")) == (404, "proxy not found")


@served
async def test_what_is_missing_is_said_in_order(b: Bench) -> None:
    for body, message in (
        (b"", "bad request body: EOF"),
        (b"garbage", "bad request body: invalid character 'g' looking for beginning of value"),
        ({"upstream": "u:1"}, "missing required field: name"),
        ({"name": ""}, "missing required field: name"),
        ({"name": "p"}, "missing required field: upstream"),
    ):
        assert error(await b.call("POST", "/proxies", body)) == (400, message)


@served
async def test_names_and_ports_are_taken_once(b: Bench) -> None:
    listen = await b.proxy()
    assert error(await b.call("POST", "/proxies", WISH)) == (409, "proxy already exists")
    second = {"name": "q", "upstream": "u:1", "listen": listen}
    taken = f"listen tcp {listen}: bind: address already in use"
    assert error(await b.call("POST", "/proxies", second)) == (500, taken)
    assert error(await b.call("GET", "/proxies/q")) == (404, "proxy not found")


@served
async def test_an_update_of_the_same_address_keeps_connections_and_another_ends_them(
    b: Bench,
) -> None:
    listen = await b.proxy()
    client, server = await b.connect(listen)
    same = await b.call("POST", "/proxies/p", {"listen": listen.replace("127.0.0.1", "localhost")})
    assert same.json["listen"] == listen
    await client.send(b"still here")
    assert await server.read(10) == b"still here"
    moved = await b.call("PATCH", "/proxies/p", {"upstream": "127.0.0.1:1"})
    assert (moved.status, moved.json["listen"]) == (200, listen)
    assert await client.rest() == (b"", "fin")


@served
async def test_a_proxy_that_is_down_refuses_and_comes_back_with_its_toxics(b: Bench) -> None:
    listen = await b.proxy()
    await b.toxic("latency", attributes={"latency": 10})
    client, _ = await b.connect(listen)
    down = await b.call("POST", "/proxies/p", {"enabled": False})
    assert (down.json["enabled"], down.json["listen"]) == (False, listen)
    assert await client.rest() == (b"", "fin")
    with pytest.raises(ConnectionRefusedError):
        await b.connect(listen)
    up = await b.call("POST", "/proxies/p", {"enabled": True})
    assert (up.json["enabled"], up.json["listen"]) == (True, listen)
    assert [toxic["name"] for toxic in up.json["toxics"]] == ["latency_downstream"]
    await b.connect(listen)


@served
async def test_a_rebind_that_fails_leaves_the_proxy_down_at_the_new_address(b: Bench) -> None:
    taken, _ = await b.proxy(), await b.proxy("q")
    assert (await b.call("POST", "/proxies/q", {"listen": taken})).status == 500
    left = (await b.call("GET", "/proxies/q")).json
    assert (left["enabled"], left["listen"]) == (False, taken)
    wrong = await b.call("POST", "/proxies/p", {"listen": "local373"})
    assert error(wrong) == (500, "address local373: missing port in address")
    assert (await b.call("GET", "/proxies/p")).json["enabled"] is True


@served
async def test_a_dead_upstream_disturbs_nobody(b: Bench) -> None:
    listen = await b.proxy()
    for upstream in (f"127.0.0.1:{free_port()}", "no-such-host.invalid:1", "nonsense"):
        await b.call("POST", "/proxies", {**WISH, "name": "dead", "upstream": upstream})
        host, _, port = (await b.call("GET", "/proxies/dead")).json["listen"].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(1)
        writer.close()
        await b.connect(listen)
        assert (await b.call("DELETE", "/proxies/dead")).status == 204


# -- populate and reset --------------------------------------------------------------------------


@served
async def test_populate_keeps_what_is_as_wished_and_replaces_what_is_not(b: Bench) -> None:
    listen = await b.proxy()
    upstream = f"127.0.0.1:{b.upstream.getsockname()[1]}"
    kept = {"name": "p", "upstream": upstream, "listen": listen, "enabled": False}
    await b.toxic("latency")
    client, server = await b.connect(listen)
    again = await b.call("POST", "/populate", [kept, {**WISH, "name": "q"}])
    assert again.status == 201
    first, second = again.json["proxies"]
    assert (first["enabled"], len(first["toxics"]), second["name"]) == (True, 1, "q")
    await client.send(b"x")
    assert await server.read(1) == b"x"
    other = {"name": "p", "upstream": "u:1", "listen": listen}
    replaced = await b.call("POST", "/populate", [other])
    assert replaced.json["proxies"][0]["toxics"] == []
    assert await client.rest() == (b"", "fin")


@served
async def test_populate_checks_all_before_it_makes_any_and_keeps_what_it_has_made(
    b: Bench,
) -> None:
    missing = await b.call("POST", "/populate", [WISH, {"name": ""}])
    assert missing.status == 400
    assert missing.headers["content-type"] == "application/json"
    assert missing.text == (
        '{"error":"missing required field: name at proxy 2","status":400,"proxies":null}'
    )
    assert (await b.call("GET", "/proxies")).text == "{}"
    broken = await b.call("POST", "/populate", [WISH, {**WISH, "name": "q", "listen": "local"}])
    assert (broken.status, broken.json["error"]) == (
        500,
        "listen tcp: address local: missing port in address",
    )
    assert [each["name"] for each in broken.json["proxies"]] == ["p"]
    assert list((await b.call("GET", "/proxies")).json) == ["p"]
    assert (await b.call("POST", "/populate", b"[]")).text == '{"proxies":null}'


@served
async def test_reset_takes_all_up_and_removes_all_toxics(b: Bench) -> None:
    await b.proxy(enabled=False)
    await b.toxic("latency")
    assert (await b.call("POST", "/reset")).status == 204
    left = (await b.call("GET", "/proxies/p")).json
    assert (left["enabled"], left["toxics"]) == (True, [])


# -- toxics --------------------------------------------------------------------------------------


@served
async def test_a_toxic_is_made_changed_listed_and_removed(b: Bench) -> None:
    await b.proxy()
    made = await b.call(
        "POST", "/proxies/p/toxics", {"type": "latency", "attributes": {"LATENCY": 100}}
    )
    text = (
        '{"attributes":{"latency":100,"jitter":0},"name":"latency_downstream",'
        '"type":"latency","stream":"downstream","toxicity":1}'
    )
    assert (made.status, made.text) == (200, text)
    await b.toxic("noop", stream="UpStream", toxicity=0.1)
    listed = (await b.call("GET", "/proxies/p/toxics")).json
    assert [each["name"] for each in listed] == ["noop_UpStream", "latency_downstream"]
    assert listed[0] == {
        "attributes": {},
        "name": "noop_UpStream",
        "type": "noop",
        "stream": "UpStream",
        "toxicity": 0.1,
    }
    path = "/proxies/p/toxics/latency_downstream"
    change = {"attributes": {"jitter": 5}, "name": "x", "stream": "upstream"}
    assert (await b.call("PATCH", path, change)).text == text.replace('"jitter":0', '"jitter":5')
    assert (await b.call("POST", path, {"toxicity": 0.5})).json["toxicity"] == 0.5
    assert (await b.call("GET", path)).json["attributes"] == {"latency": 100, "jitter": 5}
    assert (await b.call("DELETE", path)).status == 204
    assert error(await b.call("DELETE", path)) == (404, "toxic not found")
    assert error(await b.call("GET", path)) == (404, "toxic not found")
    assert error(await b.call("PATCH", path, {})) == (404, "toxic not found")


@served
async def test_a_wrong_toxic_changes_nothing(b: Bench) -> None:
    await b.proxy()
    await b.toxic("latency", name="taken", attributes={"latency": 7})
    stream = "stream was invalid, can be either upstream or downstream"
    for body, expected in (
        ({"type": "latency", "stream": ""}, (400, stream)),
        ({"type": "nope", "stream": "sideways"}, (400, stream)),
        ({"type": "nope"}, (400, "invalid toxic type")),
        ({}, (400, "invalid toxic type")),
        ({"type": "noop", "name": "taken", "stream": "upstream"}, (409, "toxic already exists")),
        (
            {"type": "slicer"},
            (400, "invalid attributes: slicer: average_size is 0; it must be above 0"),
        ),
        (
            {"type": "bandwidth", "attributes": {"rate": -1}},
            (400, "invalid attributes: bandwidth: rate is -1; it must be 0 or more"),
        ),
    ):
        assert error(await b.call("POST", "/proxies/p/toxics", body)) == expected
    partly = {"attributes": {"jitter": 9, "latency": "x"}}
    assert (await b.call("POST", "/proxies/p/toxics/taken", partly)).status == 400
    toxics = (await b.call("GET", "/proxies/p/toxics")).json
    assert [each["attributes"] for each in toxics] == [{"latency": 7, "jitter": 0}]
    assert error(await b.call("GET", "/proxies/q/toxics")) == (404, "proxy not found")


# -- the rest of the contract --------------------------------------------------------------------


@served
async def test_the_version_is_toxiproxys_to_the_byte(b: Bench) -> None:
    reply = await b.call("GET", "/version")
    assert reply.body == b'{"version": "2.12.0"}\n'
    assert reply.headers["content-type"] == "application/json;charset=utf-8"


@served
async def test_unknown_paths_and_methods_are_answered_as_by_toxiproxy(b: Bench) -> None:
    for path in ("/", "/proxies/", "/proxies/a%2Fb", "/nope"):
        reply = await b.call("GET", path, User_Agent="Mozilla/5.0")
        assert (reply.status, reply.body) == (404, b"404 page not found\n")
        assert "x-toxiproxy-request-id" not in reply.headers
    for method, path in (("PUT", "/proxies"), ("HEAD", "/version"), ("GET", "/reset")):
        reply = await b.call(method, path)
        assert (reply.status, reply.body) == (405, b"")


@served
async def test_browsers_are_refused_by_their_name_and_by_their_origin(b: Bench) -> None:
    named = await b.call("GET", "/proxies", User_Agent="Mozilla/5.0 (X11)")
    assert (named.status, named.body) == (403, b"User agent not allowed\n")
    assert (await b.call("GET", "/metrics", User_Agent="Mozilla/5.0")).status == 403
    assert (await b.call("GET", "/proxies", User_Agent="Mozilla")).status == 200
    page = await b.call("POST", "/proxies", WISH, Origin="http://evil.example")
    assert (page.status, page.body) == (403, b"Origin not allowed\n")
    assert (await b.call("GET", "/proxies")).text == "{}"


@served
async def test_metrics_count_bytes_of_live_connections(b: Bench) -> None:
    listen = await b.proxy('q"')
    client, server = await b.connect(listen)
    await client.send(b"12345")
    assert await server.read(5) == b"12345"
    await server.send(b"abc")
    assert await client.read(3) == b"abc"
    metrics = await b.call("GET", "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    labels = f'listener="{listen}",proxy="q\\"",upstream="127.0.0.1:{b.upstream.getsockname()[1]}"'
    lines = metrics.text.splitlines()
    for name in ("received", "sent"):
        counter = f"toxiproxy_proxy_{name}_bytes_total"
        assert f"# TYPE {counter} counter" in lines
        assert f'{counter}{{direction="upstream",{labels}}} 5' in lines
        assert f'{counter}{{direction="downstream",{labels}}} 3' in lines


# -- our own routes ------------------------------------------------------------------------------


@served
async def test_any_fault_can_be_put_in_force_and_removed(b: Bench) -> None:
    listen = await b.proxy()
    client, server = await b.connect(listen)
    hold = {"do": "blackhole", "direction": "client_to_server"}
    held = await b.call("POST", "/squall/faults", hold)
    assert (held.status, held.json["do"], held.json["active"]) == (201, "blackhole", True)
    await client.send(b"late")
    assert await server.hears_nothing()
    listed = (await b.call("GET", "/squall/faults")).json
    assert [(each["id"], each["fired"]) for each in listed] == [(held.json["id"], True)]
    assert (await b.call("DELETE", f"/squall/faults/{held.json['id']}")).status == 204
    assert await server.read(4) == b"late"
    assert error(await b.call("DELETE", "/squall/faults/77")) == (404, "fault not found")
    cut = await b.call("POST", "/squall/faults", {"proxy": "p", "do": "rst", "target": "newest"})
    assert (cut.status, cut.json["fired"]) == (201, True)
    assert await client.rest() == (b"", "rst")
    assert (await b.call("DELETE", "/squall/faults")).status == 204


@served
async def test_faults_of_messages_need_a_proxy_that_reads_websocket(b: Bench) -> None:
    await b.proxy()
    plain = await b.call("POST", "/squall/faults", {"do": "close"})
    assert error(plain) == (400, "close needs WebSocket; listener 'p' is plain TCP")
    listen = await b.proxy("w", websocket=True)
    assert (await b.call("GET", "/proxies/w")).json["websocket"] is True
    client, server = await b.connect(listen)
    await client.send(UPGRADE)
    await server.read(len(UPGRADE))
    await server.send(SWITCH)
    await client.read(len(SWITCH))
    closing = {"proxy": "w", "do": "close", "code": 1012}
    assert (await b.call("POST", "/squall/faults", closing)).json["fired"] is True
    assert await client.read(4) == b"\x88\x02\x03\xf4"


@served
async def test_a_wrong_fault_is_said_in_the_words_of_a_scenario(b: Bench) -> None:
    none = await b.call("POST", "/squall/faults", {"do": "rst"})
    assert error(none) == (400, "missing required field: proxy: there is none yet")
    await b.proxy()
    for body, message in (
        ({"do": "rts"}, "unknown fault 'rts'. Did you mean 'rst'?"),
        ({}, 'name the fault, as a scenario does: {"do": "rst"}'),
        ({"do": "latency", "delay": 200}, "delay: durations carry a unit: 200s or 200ms"),
        ({"do": "rst", "target": "latest"}, None),
        ({"do": "rst", "proxy": 5}, 'proxy is a name, such as "redis"'),
        (b"[]", 'bad request body: an object is wanted, such as {"do": "rst"}'),
    ):
        status, said = error(await b.call("POST", "/squall/faults", body))
        assert status == 400
        assert message in (None, said)
    assert error(await b.call("POST", "/squall/faults", {"do": "rst", "proxy": "q"}))[0] == 404
    await b.call("POST", "/proxies/p", {"enabled": False})
    down = await b.call("POST", "/squall/faults", {"do": "rst"})
    assert error(down) == (409, "proxy p is disabled")


@served
async def test_connections_are_listed_with_what_they_have_carried(b: Bench) -> None:
    listen = await b.proxy()
    client, server = await b.connect(listen)
    await client.send(b"123")
    await server.read(3)
    (one,) = (await b.call("GET", "/squall/connections")).json
    host, port = client.sock.getsockname()
    assert (one["proxy"], one["connection"], one["peer"]) == ("p", 1, f"{host}:{port}")
    assert one["bytes"] == {"from_client": 3, "to_server": 3, "from_server": 0, "to_client": 0}
    assert one["faults"] == []


@served
async def test_the_history_can_be_read_to_its_end_and_from_a_time_on(b: Bench) -> None:
    await b.proxy()
    await b.call("POST", "/squall/faults", {"do": "fin"})
    lines = (await b.call("GET", "/events?follow=false")).text.splitlines()
    events = [json.loads(line) for line in lines]
    assert [each["kind"] for each in events] == ["listening", "fault_started", "fault_ended"]
    assert all(each["source"] == "proxy" for each in events)
    since = events[0]["at"]
    later = (await b.call("GET", f"/events?follow=false&since={since}")).text.splitlines()
    assert later == [line for line in lines if json.loads(line)["at"] > since]
    assert error(await b.call("GET", "/events?since=now"))[0] == 400


@served
async def test_the_history_can_be_followed(b: Bench) -> None:
    reader, writer = await asyncio.open_connection(*b.server.address)
    writer.write(b"GET /events HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    listen = await b.proxy()
    await b.connect(listen)
    seen = b""
    while b'"dialled"' not in seen:
        seen += await reader.read(4096)
    assert b'"listening"' in seen
    writer.close()


# -- HTTP ----------------------------------------------------------------------------------------


@served
async def test_bodies_are_bounded_however_they_are_sent(b: Bench) -> None:
    big = BODY_LIMIT + 1
    for head in (
        f"POST /proxies HTTP/1.1\r\nContent-Length: {big}\r\n\r\n",
        f"POST /proxies HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{big:x}\r\n",
    ):
        reply = await Caller(b.server.address).send(head.encode())
        assert (reply.status, reply.headers["connection"]) == (413, "close")
    long = f"GET /{'x' * 20_000} HTTP/1.1\r\n\r\n"
    assert (await Caller(b.server.address).send(long.encode())).status == 431


@served
async def test_bodies_may_come_in_chunks_and_may_wait_for_a_100(b: Bench) -> None:
    body = json.dumps(WISH).encode()
    chunked = b"%x\r\n%b\r\n%x;x=y\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (
        *(len(body[:9]), body[:9]),
        *(len(body[9:]), body[9:]),
    )
    head = b"POST /proxies HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await b.caller.send(head + chunked)).status == 201
    patient = b"POST /reset HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    caller = Caller(b.server.address)
    assert (await caller.send(patient)).status == 100
    assert (await caller.send(b"{}")).status == 204
    caller.close()


@served
async def test_what_is_no_http_is_refused_and_the_connection_ends(b: Bench) -> None:
    for data in (
        b"\x16\x03\x01\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nbroken\r\n\r\n",
        b"GET / HTTP/1.1\r\n : x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ):
        reply = await Caller(b.server.address).send(data)
        assert (reply.status, reply.headers["connection"]) == (400, "close")


@served
async def test_requests_of_one_connection_are_answered_in_order(b: Bench) -> None:
    reader, writer = await asyncio.open_connection(*b.server.address)
    get = b"GET %s HTTP/1.%d\r\n\r\n"
    writer.write(get % (b"/version", 1) + get % (b"/nope", 1) + get % (b"/version", 0))
    answer = await reader.read(-1)
    statuses = [line.split()[1] for line in answer.splitlines() if line.startswith(b"HTTP/1.1")]
    assert statuses == [b"200", b"404", b"200"]
    writer.close()


@served
async def test_calls_are_answered_while_others_dawdle(b: Bench) -> None:
    streams = [await asyncio.open_connection(*b.server.address) for _ in range(50)]
    for _, writer in streams:
        writer.write(b"POST /proxies HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
    assert (await b.call("GET", "/version")).status == 200
    for _, writer in streams:
        writer.close()


@served
async def test_stop_closes_everything_soon(b: Bench) -> None:
    listens = [await b.proxy(f"p{number}") for number in range(5)]
    clients = [(await b.connect(listen))[0] for listen in listens]
    began = time.monotonic()
    await b.server.stop()
    assert time.monotonic() - began < 4
    for client in clients:
        assert await client.rest() == (b"", "fin")


# -- fuzz ----------------------------------------------------------------------------------------


def fuzzed(rng: random.Random) -> tuple[str, str, bytes]:
    """A call that is nearly right, or not at all."""
    names = ("a", "b", "é", "%00", "p")
    toxics = ("latency_downstream", "t", "slicer_upstream")
    path = rng.choice(
        (
            "/proxies",
            "/proxies",
            "/populate",
            "/reset",
            "/version",
            "/metrics",
            "/squall/faults",
            "/squall/connections",
            "/events?follow=false&since=" + rng.choice(("0", "nan", "1e9", "x")),
            "/proxies/" + rng.choice(names),
            f"/proxies/{rng.choice(names)}/toxics",
            f"/proxies/{rng.choice(names)}/toxics/{rng.choice(toxics)}",
            f"/squall/faults/{rng.randrange(9)}",
            "/" + "".join(rng.choices("/%.?&=abc0", k=rng.randrange(12))),
        )
    )
    kind = rng.choice(
        ("latency", "slicer", "bandwidth", "timeout", "reset_peer", "limit_data", "slow_close")
    )
    numbers: tuple[object, ...] = (0, 1, -1, 2**63 - 1, -(2**63), 5, 1e400, "x", None, [[]])
    number = rng.choice(numbers)
    settings = ("latency", "jitter", "rate", "average_size", "size_variation", "delay", "bytes")
    thing = rng.choice(
        (
            {
                "name": rng.choice(("a", "b", "é")),
                "upstream": "127.0.0.1:1",
                "listen": "127.0.0.1:0",
            },
            {"name": "p", "upstream": number, "listen": number, "enabled": rng.random() < 0.5},
            {"type": kind, "attributes": dict.fromkeys(settings, number), "toxicity": number},
            {"attributes": {rng.choice(settings): number}},
            {"do": rng.choice(("rst", "latency", "blackhole", "http", kind)), "delay": number},
            {"do": rng.choice(("flap", "refuse", "truncate")), "target": number, "proxy": "a"},
            number,
        )
    )
    body = bytearray(json.dumps([thing] if path == "/populate" else thing).encode())
    while body and rng.random() < 0.3:
        body[rng.randrange(len(body))] = rng.randrange(256)
    methods = ("GET", "POST", "POST", "POST", "PATCH", "DELETE", "PUT")
    return rng.choice(methods), path, bytes(body)


@served
async def test_fuzzed_calls_neither_crash_it_nor_get_stuck(b: Bench) -> None:
    rng = random.Random(FUZZED_CALLS)
    for number in range(FUZZED_CALLS):
        method, path, body = fuzzed(rng)
        if number % 97 == 0:
            await b.call("DELETE", "/proxies/a")
        reply = await asyncio.wait_for(b.call(method, path, body), 10)
        assert reply.status in (200, 201, 204, 400, 404, 405, 409, 500), (method, path, body)
        assert "internal" not in reply.text, (method, path, body)
    listen = await b.proxy("after all")
    await b.connect(listen)


@served
async def test_fuzzed_bytes_neither_crash_it_nor_get_stuck(b: Bench) -> None:
    rng = random.Random(5)
    good = b'POST /proxies HTTP/1.1\r\nContent-Length: 20\r\nX: y\r\n\r\n{"name": "a", "x":1}'
    for _ in range(FUZZED_CALLS // 10):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        reader, writer = await asyncio.open_connection(*b.server.address)
        writer.write(data)
        writer.write_eof()
        await asyncio.wait_for(reader.read(-1), 10)
        writer.close()
    assert (await b.call("GET", "/version")).status == 200
