"""What each fault promises, as raw sockets see it.

A probe returns what it saw, by name; what it should have seen stands beside it. Times are only
ever compared with a lower bound.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from conformance.line import AnyPeer, Stage
from frames_witness import built as frame
from frames_witness import masked
from proxy_witness import SWITCH, UPGRADE, Peer
from squall_proxy import FAULTS, Fault

Seen = Mapping[str, str]
See = Callable[[Stage, Fault | None], Awaitable[Seen]]

_QUIET = 0.25
_PATIENCE = 3.0


@dataclass(frozen=True)
class Probe:
    """A fault (none: what peers do), how it is looked at, and what must be seen."""

    what: str
    fault: Fault | None
    see: See
    promised: Seen


async def end_of(peer: AnyPeer) -> str:
    """How the connection ends for it: fin, rst, or nothing."""
    try:
        return (await asyncio.wait_for(peer.rest(), _PATIENCE))[1]
    except TimeoutError:
        return "nothing"


async def heard_by(peer: AnyPeer) -> tuple[bytes, str]:
    """What it hears until the end, and how that comes."""
    heard = b""
    while True:
        try:
            heard += await asyncio.wait_for(peer.read(1), 0.7)
        except TimeoutError:
            return heard, "nothing"
        except ConnectionResetError:
            return heard, "rst"
        except AssertionError:
            return heard, "fin"


# -- ends ------------------------------------------------------------------------------------


async def _ends(stage: Stage, fault: Fault | None) -> Seen:
    """An idle connection is hit."""
    client, server = await stage.upgraded()
    assert fault is not None
    stage.inject(fault)
    there, here = await asyncio.gather(end_of(server), end_of(client))
    return {"client": here, "server": there}


async def _vanishes(stage: Stage, fault: Fault | None) -> Seen:
    """An idle connection is gone, and the adapter is not told."""
    client, server = await stage.upgraded()
    await asyncio.sleep(0.2)  # a late ACK would find nobody, and be answered with a RST
    assert fault is not None
    stage.inject(fault)
    there, here = await asyncio.gather(end_of(server), end_of(client))
    return {"client": here, "server": there}


async def _ends_talking(stage: Stage, fault: Fault | None) -> Seen:
    """A connection is hit while the server sends."""
    client, server = await stage.upgraded()
    assert fault is not None
    stage.inject(fault)
    await server.send(frame(bytes(98)))
    heard, here = await heard_by(client)
    return {"client": here, "server": await end_of(server), "bytes": str(len(heard))}


def _peer_ends(who: str, how: str) -> See:
    async def see(stage: Stage, fault: Fault | None) -> Seen:
        client, server = await stage.upgraded()
        by, other = (client, server) if who == "client" else (server, client)
        if how == "fin":
            by.finish()
        else:
            by.reset()
        return {"other side": await end_of(other)}

    return see


def _unanswered(how: str) -> See:
    async def see(stage: Stage, fault: Fault | None) -> Seen:
        client, server = await stage.requested()
        if how == "fin":
            server.finish()
        else:
            server.reset()
        heard, seen = await heard_by(client)
        return {"client": heard[:12].decode() or seen}

    return see


async def _half_closed(stage: Stage, fault: Fault | None) -> Seen:
    """The server ends its half; the client goes on."""
    client, server = await stage.upgraded()
    server.finish()
    seen = await end_of(client)
    await client.send(masked(b"late"))
    try:
        heard = await asyncio.wait_for(server.read(10), _PATIENCE)
    except (AssertionError, ConnectionResetError, TimeoutError):
        heard = b""
    return {"client": seen, "heard after it": "yes" if heard else "no"}


async def _half_close(stage: Stage, fault: Fault | None) -> Seen:
    client, server = await stage.upgraded()
    assert fault is not None
    stage.inject(fault)
    seen = await end_of(client)
    await client.send(masked(b"late"))
    try:
        heard = await asyncio.wait_for(server.read(10), _PATIENCE)
    except (AssertionError, ConnectionResetError, TimeoutError):
        heard = b""
    return {"client": seen, "server hears on": "yes" if heard else "no"}


# -- streams ---------------------------------------------------------------------------------


def _slow(least: float) -> See:
    async def see(stage: Stage, fault: Fault | None) -> Seen:
        """Bytes come late, and all of them in order."""
        client, server = await stage.upgraded()
        assert fault is not None
        stage.inject(fault)
        data = b"".join(frame(b"%04d" % number) for number in range(10))
        begun = time.monotonic()
        await server.send(data)
        heard = await asyncio.wait_for(client.read(len(data)), 20)
        late = time.monotonic() - begun >= least
        return {"slow": "yes" if late else "no", "bytes": "all" if heard == data else "others"}

    return see


async def _silent(stage: Stage, fault: Fault | None) -> Seen:
    """Nothing passes, not even the end; healed, everything does."""
    client, server = await stage.upgraded()
    assert fault is not None
    injection = stage.inject(fault)
    await server.send(frame(b"held"))
    server.finish()
    hushed = await client.hears_nothing(_QUIET)
    injection.heal()
    heard, how = await heard_by(client)
    return {
        "in force": "silence" if hushed else "something",
        "healed": "all bytes" if heard == frame(b"held") else f"{len(heard)} bytes",
        "end": how,
    }


async def _silent_and_new(stage: Stage, fault: Fault | None) -> Seen:
    """New connections hang."""
    assert fault is not None
    stage.inject(fault)
    trying = asyncio.ensure_future(_come(stage))
    await asyncio.wait([trying], timeout=0.6)
    hung = not trying.done()
    trying.cancel()
    await asyncio.gather(trying, return_exceptions=True)
    return {"dial": "hangs" if hung else "is answered"}


async def _come(stage: Stage) -> str:
    return await _try(stage, await stage.dial())


async def _try(stage: Stage, below: Peer) -> str:
    """What a client sees that dials: `upgraded`, or how far it got."""
    try:
        client = await stage.enter(below)
        await client.send(UPGRADE)
        server = asyncio.ensure_future(_answer(stage))
        try:
            head = await client.read(12)
            return head.decode()
        finally:
            server.cancel()
    except ssl.SSLCertVerificationError as error:
        return "wrong host" if "mismatch" in error.verify_message else error.verify_message
    except ConnectionResetError:
        return "rst"
    except ConnectionRefusedError as error:
        return f"CONNECT {error}"
    except (ConnectionAbortedError, AssertionError):
        return "fin"


async def _answer(stage: Stage) -> None:
    server = await stage.accept()
    await server.read(len(b"GET "))
    await server.send(SWITCH)


async def _closed_slowly(stage: Stage, fault: Fault | None) -> Seen:
    client, server = await stage.upgraded()
    assert fault is not None
    stage.inject(fault)
    server.finish()
    held = await client.hears_nothing(0.2)
    return {"end": "late" if held else "at once", "then": await end_of(client)}


# -- new connections -------------------------------------------------------------------------


async def _dial(stage: Stage, fault: Fault | None) -> Seen:
    """What a client that dials sees."""
    assert fault is not None
    stage.inject(fault)
    try:
        below = await stage.dial()
    except ConnectionRefusedError:
        return {"dial": "refused"}
    try:
        return {"dial": await asyncio.wait_for(_try(stage, below), _PATIENCE)}
    except TimeoutError:
        return {"dial": "nothing"}


async def _flaps(stage: Stage, fault: Fault | None) -> Seen:
    """A connection comes up and is ended."""
    assert fault is not None
    stage.inject(fault)
    client, server = await stage.requested()
    await server.send(SWITCH)
    await until_head(client)
    heard, how = await heard_by(client)
    return {"client": how, "server": await end_of(server), "frames": heard[2:4].hex()}


async def until_head(client: AnyPeer) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await client.read(1)
    return head


async def _tampered(stage: Stage, fault: Fault | None) -> Seen:
    """The answer to the upgrade is not what the server sent."""
    assert fault is not None
    stage.inject(fault)
    client, server = await stage.requested()
    await server.send(SWITCH)
    head = await asyncio.wait_for(until_head(client), 30)
    return {"answer": "as it was" if head == SWITCH else "changed", "status": head[9:12].decode()}


async def _upgraded_slowly(stage: Stage, fault: Fault | None) -> Seen:
    assert fault is not None
    stage.inject(fault)
    client, server = await stage.requested()
    begun = time.monotonic()
    await server.send(SWITCH)
    head = await asyncio.wait_for(client.read(1), 30)
    first = time.monotonic()
    head += await asyncio.wait_for(until_head(client), 30)
    last = time.monotonic()
    return {
        "slow": "yes" if last - begun >= 0.4 else "no",
        "in pieces": "yes" if last - first >= 0.3 else "no",
        "answer": "as it was" if head == SWITCH else "changed",
    }


# -- frames ----------------------------------------------------------------------------------


def _says(*texts: str) -> list[bytes]:
    return [frame(text.encode()) for text in texts]


def _frames(*, heal: bool = False) -> See:
    """Three messages of the server, the fault in force: what the client hears of them."""

    async def see(stage: Stage, fault: Fault | None) -> Seen:
        client, server = await stage.upgraded()
        assert fault is not None
        injection = stage.inject(fault)
        for data in _says('{"n":1}', '{"n":2}', '{"n":3}'):
            await server.send(data)
        if heal:
            await asyncio.sleep(0.1)
            injection.heal()
        heard, how = await heard_by(client)
        return {"heard": heard.hex(" "), "end": how}

    return see


async def _corrupted(stage: Stage, fault: Fault | None) -> Seen:
    """Of three messages the second is damaged, in a frame of the same length."""
    client, server = await stage.upgraded()
    assert fault is not None
    stage.inject(fault)
    for data in (ONE, TWO, THREE):
        await server.send(data)
    heard = await client.read(len(ONE + TWO + THREE))
    second = heard[len(ONE) : len(ONE + TWO)]
    return {
        "second": "damaged" if second != TWO and second[:2] == TWO[:2] else second.hex(),
        "others": "as sent" if heard == ONE + second + THREE else heard.hex(),
    }


async def _close(stage: Stage, fault: Fault | None) -> Seen:
    """The client gets a Close frame, answers it, and sees the end."""
    client, server = await stage.upgraded()
    assert fault is not None
    stage.inject(fault)
    head = await client.read(4)
    await client.send(masked(head[2:4], 8))
    here, there = await asyncio.gather(heard_by(client), end_of(server))
    return {"code": str(int.from_bytes(head[2:4], "big")), "client": here[1], "server": there}


def _hex(*data: bytes) -> str:
    return b"".join(data).hex(" ")


ONE, TWO, THREE = _says('{"n":1}', '{"n":2}', '{"n":3}')
SECOND = {"where": {"n": 2}}


def _probe(name: str, settings: Mapping[str, object], see: See, **promised: str) -> Probe:
    fault = FAULTS[name](**settings)
    said = ", ".join(f"{key}={value}" for key, value in settings.items())
    seen = {key.replace("_", " "): value for key, value in promised.items()}
    return Probe(f"`{name}`" + (f" {said}" if said else ""), fault, see, seen)


def _peers(what: str, see: See, **promised: str) -> Probe:
    return Probe(what, None, see, {k.replace("_", " "): v for k, v in promised.items()})


PROBES: Sequence[Probe] = (
    _peers("the exchange ends by FIN", _peer_ends("server", "fin"), other_side="fin"),
    _peers("the exchange ends by RST", _peer_ends("server", "rst"), other_side="rst"),
    _peers("the adapter ends by FIN", _peer_ends("client", "fin"), other_side="fin"),
    _peers("the adapter ends by RST", _peer_ends("client", "rst"), other_side="rst"),
    _peers("FIN instead of an answer", _unanswered("fin"), client="fin"),
    _peers("RST instead of an answer", _unanswered("rst"), client="rst"),
    _peers("half a close", _half_closed, client="fin", heard_after_it="yes"),
    _probe("latency", {"delay": 0.3}, _slow(0.3), slow="yes", bytes="all"),
    _probe("throttle", {"rate": 200.0}, _slow(0.25), slow="yes", bytes="all"),
    _probe("trickle", {"interval": 0.01}, _slow(0.4), slow="yes", bytes="all"),
    _probe("slicer", {"average_size": 8, "delay": 0.05}, _slow(0.2), slow="yes", bytes="all"),
    _probe("blackhole", {}, _silent, in_force="silence", healed="all bytes", end="fin"),
    _probe("stall", {}, _silent, in_force="silence", healed="all bytes", end="fin"),
    _probe("blackhole", {}, _silent_and_new, dial="hangs"),
    _probe("handshake_blackhole", {"phase": "tcp"}, _silent_and_new, dial="hangs"),
    _probe("handshake_blackhole", {"phase": "upgrade"}, _silent_and_new, dial="hangs"),
    _probe("slow_close", {"delay": 0.5}, _closed_slowly, end="late", then="fin"),
    _probe("timeout", {"silence": 0.3}, _ends, client="fin", server="fin"),
    _probe("reset_peer", {"delay": 0.0}, _ends, client="rst", server="rst"),
    _probe("limit_data", {"bytes": 50}, _ends_talking, client="fin", server="fin", bytes="50"),
    _probe("cut", {"lifetime": 0.3, "how": "rst"}, _ends, client="rst", server="rst"),
    _probe(
        "cut", {"bytes": 50, "how": "rst"}, _ends_talking, client="rst", server="rst", bytes="50"
    ),
    _probe("rst", {}, _ends, client="rst", server="rst"),
    _probe("fin", {}, _ends, client="fin", server="fin"),
    _probe("half_close", {"side": "client"}, _half_close, client="fin", server_hears_on="yes"),
    _probe("truncate", {}, _ends_talking, client="fin", server="fin", bytes="50"),
    _probe("close", {"code": 1012}, _close, code="1012", client="fin", server="fin"),
    _probe("vanish", {}, _vanishes, client="nothing", server="rst"),
    _probe("accept_queue_full", {}, _silent_and_new, dial="hangs"),
    _probe("refuse", {"how": "refused"}, _dial, dial="refused"),
    _probe("refuse", {"how": "reset"}, _dial, dial="rst"),
    _probe("refuse", {"how": "closed"}, _dial, dial="fin"),
    _probe(
        "flap",
        {"how": "close", "code": 1001},
        _flaps,
        client="nothing",
        server="fin",
        frames="03e9",
    ),
    _probe("flap", {"how": "rst"}, _flaps, client="rst", server="rst", frames=""),
    _probe("http", {"status": 429}, _dial, dial="HTTP/1.1 429"),
    _probe("tamper_upgrade", {}, _tampered, answer="changed", status="101"),
    _probe(
        "slow_upgrade",
        {"interval": 0.005},
        _upgraded_slowly,
        slow="yes",
        in_pieces="yes",
        answer="as it was",
    ),
    _probe("drop_message", SECOND, _frames(), heard=_hex(ONE, THREE), end="nothing"),
    _probe(
        "delay_message",
        {**SECOND, "delay": 0.3},
        _frames(),
        heard=_hex(ONE, THREE, TWO),
        end="nothing",
    ),
    _probe("hold_message", SECOND, _frames(heal=True), heard=_hex(ONE, THREE, TWO), end="nothing"),
    _probe("duplicate_message", SECOND, _frames(), heard=_hex(ONE, TWO, TWO, THREE), end="nothing"),
    _probe("reorder_message", SECOND, _frames(), heard=_hex(ONE, THREE, TWO), end="nothing"),
    _probe("corrupt_message", SECOND, _corrupted, second="damaged", others="as sent"),
    _probe(
        "truncate_message",
        {**SECOND, "keep": 3},
        _frames(),
        heard=_hex(ONE, *_says('{"n'), THREE),
        end="nothing",
    ),
    _probe(
        "replace_message",
        {**SECOND, "payload": "no"},
        _frames(),
        heard=_hex(ONE, *_says("no"), THREE),
        end="nothing",
    ),
    _probe(
        "edit_message",
        {**SECOND, "put": {"n": 9}},
        _frames(),
        heard=_hex(ONE, *_says('{"n":9}'), THREE),
        end="nothing",
    ),
    _probe(
        "inject_message",
        {**SECOND, "payload": "new", "place": "before"},
        _frames(),
        heard=_hex(ONE, *_says("new"), TWO, THREE),
        end="nothing",
    ),
    _probe(
        "fragment_message",
        {**SECOND, "size": 4},
        _frames(),
        heard=_hex(ONE, b'\x01\x04{"n"', b"\x80\x03:2}", THREE),
        end="nothing",
    ),
    _probe(
        "malform_message",
        {**SECOND, "kind": "wrong_rsv"},
        _frames(),
        heard=_hex(ONE, b"\x91" + TWO[1:], THREE),
        end="nothing",
    ),
    _probe(
        "cut_message",
        {**SECOND, "place": "within"},
        _frames(),
        heard=_hex(ONE, TWO[: len(TWO) // 2]),
        end="fin",
    ),
    _probe(
        "hanging_close",
        {"code": 1011},
        _frames(),
        heard=_hex(frame(b"\x03\xf3", 8)),
        end="nothing",
    ),
    _probe("tls_certificate", {"kind": "expired"}, _dial, dial="certificate has expired"),
    _probe("tls_certificate", {"kind": "wrong_host"}, _dial, dial="wrong host"),
    _probe(
        "tls_certificate",
        {"kind": "untrusted"},
        _dial,
        dial="unable to get local issuer certificate",
    ),
    _probe("tls_hang", {}, _silent_and_new, dial="hangs"),
    _probe("tls_cut", {"how": "rst"}, _dial, dial="rst"),
    _probe("tls_cut", {"how": "fin"}, _dial, dial="fin"),
    _probe("tunnel_refused", {"status": 502}, _dial, dial="CONNECT 502"),
)
