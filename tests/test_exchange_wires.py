"""The thin wire against `websockets`: what one makes of a client's bytes, so does the other."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode

from squall.exchange import http
from squall.exchange.wires import FaithfulWire, ThinWire, Wire
from squall_proxy.frames import close_payload, frame

LIMIT = 1000
KEY = b"\x01\x02\x03\x04"
HEAD = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
# RFC 6455, section 1.3 has this key and this answer to it.
ACCEPT = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def faithful() -> FaithfulWire:
    wire = FaithfulWire(max_size=LIMIT)
    wire.receive_data(HEAD)
    (request,) = wire.events_received()
    assert wire.upgrade(request)  # type: ignore[arg-type]
    assert ACCEPT in b"".join(wire.data_to_send())
    return wire


def thin() -> ThinWire:
    wire = ThinWire(max_size=LIMIT)
    asked = http.head(HEAD)
    assert asked is not None
    assert wire.upgrade(asked)
    assert ACCEPT in b"".join(wire.data_to_send())
    return wire


def said(wire: Wire, pieces: Sequence[bytes]) -> object:
    """What a wire makes of a client's bytes: frames in, frames out, how it ends."""
    frames, writes = [], []
    for piece in pieces:
        wire.receive_data(piece)
        frames += [(each.opcode, bytes(each.data), each.fin) for each in wire.frames_received()]
        writes += wire.data_to_send()
    # The reason of a Close frame is prose, and each has its own; its code is compared.
    sent = [b"\x88" + each[2:4] if each[:1] == b"\x88" else each for each in writes]
    rcvd = wire.close_rcvd and (wire.close_rcvd.code, wire.close_rcvd.reason)
    code = wire.close_sent and wire.close_sent.code
    return frames, sent, rcvd, code, wire.is_open, wire.close_expected()


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    return frame(opcode, payload, fin=fin, key=KEY, rsv=rsv)


TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG

CONVERSATIONS = {
    "a text": [masked(TEXT, b"hello")],
    "an empty text": [masked(TEXT)],
    "a mask of zeros": [frame(TEXT, b"hello", key=bytes(4))],
    "a long text": [masked(TEXT, b"x" * 300)],
    "two at once": [masked(TEXT, b"1"), masked(BINARY, b"2")],
    "fragments, and a ping between them": [
        masked(TEXT, b"a", fin=False),
        masked(PING, b"p"),
        masked(CONT, b"b", fin=False),
        masked(CONT, b"c"),
        masked(TEXT, b"next"),
    ],
    "ping and pong": [masked(PING, b"payload"), masked(PONG, b"other"), masked(PING)],
    "a goodbye": [masked(CLOSE, close_payload(4001, "bye")), masked(TEXT, b"too late")],
    "a goodbye without a word": [masked(CLOSE)],
    "the longest that fits": [masked(TEXT, b"x" * LIMIT)],
    "too long": [masked(TEXT, b"x" * (LIMIT + 1))],
    "too long by what it says": [masked(TEXT, b"x" * 70_000)[:100]],
    "too long in all": [masked(TEXT, b"x" * 600, fin=False), masked(CONT, b"x" * 600)],
    "no mask": [frame(TEXT, b"hello")],
    "a reserved bit": [masked(TEXT, b"hello", rsv=4)],
    "a reserved opcode": [masked(0x3, b"hello")],
    "a reserved control opcode": [masked(0xB)],
    "a ping in parts": [masked(PING, b"p", fin=False)],
    "a ping too long": [masked(PING, b"x" * 126)],
    "a continuation of nothing": [masked(CONT, b"a")],
    "a text within a text": [masked(TEXT, b"a", fin=False), masked(TEXT, b"b")],
    "a goodbye of one byte": [masked(CLOSE, b"x")],
    "a goodbye with a code that is none": [masked(CLOSE, close_payload(1005))],
}


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_both_wires_make_the_same_of_it(name: str, size: int) -> None:
    data = b"".join(CONVERSATIONS[name])
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert said(thin(), pieces) == said(faithful(), pieces)


FRAMES = st.builds(
    frame,
    st.sampled_from([0, 1, 2, 8, 9, 10, 3]),
    st.binary(max_size=140),
    fin=st.sampled_from([True, True, True, False]),
    key=st.sampled_from([KEY, KEY, KEY, bytes(4), None]),
    rsv=st.sampled_from([0, 0, 0, 0, 1]),
)


@settings(deadline=None)
@given(st.lists(FRAMES, max_size=6), st.integers(0, 2**32))
def test_both_wires_make_the_same_of_anything(frames: list[bytes], seed: int) -> None:
    data, rng, pieces = b"".join(frames), random.Random(seed), []
    while data:
        size = rng.randint(1, len(data))
        pieces.append(data[:size])
        data = data[size:]
    assert said(thin(), pieces) == said(faithful(), pieces)


def test_both_wires_say_goodbye_alike() -> None:
    for wire in (thin(), faithful()):
        wire.send_close(1001, "maintenance")
        assert wire.data_to_send() == [b"\x88\x0d\x03\xe9maintenance"]
        assert not wire.is_open
        assert wire.close_expected()
        # What was on its way is still heard; the answer to our goodbye ends it.
        pieces = [masked(TEXT, b"late"), masked(CLOSE, close_payload(1001))]
        wire.receive_data(b"".join(pieces))
        assert [each.opcode for each in wire.frames_received()][-1] == CLOSE
        assert wire.data_to_send() == [b""]


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"Version: 13", b"Version: 8", b"426"),
        (b"Upgrade: websocket", b"Upgrade: h2c", b"426"),
        (b"keep-alive, Upgrade", b"keep-alive", b"400"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhl", b"400"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"?", b"400"),
        (b"GET", b"POST", b"400"),
    ],
)
def test_what_is_no_handshake_is_refused(old: bytes, new: bytes, status: bytes) -> None:
    asked = http.head(HEAD.replace(old, new))
    assert asked is not None
    wire = ThinWire(max_size=LIMIT)
    assert not wire.upgrade(asked)
    answer, end = wire.data_to_send()
    assert answer.split()[1] == status
    assert end == b""
    assert not wire.is_open
    assert wire.close_expected()
