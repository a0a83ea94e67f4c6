"""The thin wire against `websockets`: what one makes of a client's bytes, so does the other."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from squall.exchange import http
from squall.exchange.wires import SMALLEST_DEFLATED, FaithfulWire, ThinWire, Wire
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


# --- permessage-deflate (RFC 7692) ----------------------------------------------------------------

NAME = "permessage-deflate"
LONG = b"x" * 100 + bytes(range(65, 91))
RSV1 = 4


def answered(offer: str, *, grants: bool = True) -> tuple[FaithfulWire, str]:
    """A wire that was asked for these extensions, and what its answer says of them."""
    wire = FaithfulWire(max_size=LIMIT, permessage_deflate=grants)
    line = f"Sec-WebSocket-Extensions: {offer}\r\n".encode() if offer else b""
    wire.receive_data(HEAD.replace(b"Upgrade: websocket", line + b"Upgrade: websocket"))
    (request,) = wire.events_received()
    assert wire.upgrade(request)  # type: ignore[arg-type]
    head = b"".join(wire.data_to_send()).decode()
    _, _, said = head.partition("Sec-WebSocket-Extensions: ")
    return wire, said.partition("\r\n")[0]


def flushed(*parts: bytes) -> list[bytes]:
    """A message in compressed fragments, each of which can be inflated when it comes."""
    packer = zlib.compressobj(wbits=-15)
    *first, last = [packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in parts]
    return [*first, last[:-4]]


def deflated(data: bytes) -> bytes:
    """A compressed message that stands for itself."""
    return flushed(data)[0]


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("", ""),
        ("x-other", ""),
        (NAME, NAME),
        # Sections 7.1.1.1 and 7.1.1.2: what is asked of either side is promised.
        (f"{NAME}; server_no_context_takeover", f"{NAME}; server_no_context_takeover"),
        (f"{NAME}; client_no_context_takeover", f"{NAME}; client_no_context_takeover"),
        # Section 7.1.2.1: no more bits than were asked for.
        (f"{NAME}; server_max_window_bits=10", f"{NAME}; server_max_window_bits=10"),
        # Section 7.1.2.2: a client that could be told need not be.
        (f"{NAME}; client_max_window_bits", NAME),
        (f"{NAME}; client_max_window_bits=9", f"{NAME}; client_max_window_bits=9"),
        # zlib cannot compress with 8 bits; the next offer may do.
        (f"{NAME}; server_max_window_bits=8", ""),
        (f"{NAME}; server_max_window_bits=8, {NAME}", NAME),
        # Section 7.1: an offer that cannot be understood is declined.
        (f"{NAME}; server_max_window_bits=16", ""),
        (f"{NAME}; server_max_window_bits", ""),
        (f"{NAME}; novelty", ""),
        (f"{NAME}; client_no_context_takeover; client_no_context_takeover", ""),
        # Of several, the first that can be granted, and that once.
        (
            f"x-other, {NAME}; server_max_window_bits=12, {NAME}",
            f"{NAME}; server_max_window_bits=12",
        ),
    ],
)
def test_an_offer_is_granted_as_rfc_7692_has_it(offer: str, answer: str) -> None:
    wire, said = answered(offer)
    assert said == wire.granted == answer
    assert answered(offer, grants=False)[1] == ""


def test_who_grants_nothing_offers_nothing_in_its_answer() -> None:
    asked = http.head(
        HEAD.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: %b\r\n\r\n" % NAME.encode())
    )
    assert asked is not None
    wire = ThinWire(max_size=LIMIT)
    assert wire.upgrade(asked)
    assert b"Extensions" not in b"".join(wire.data_to_send())
    assert wire.granted == ""
    assert wire.text(LONG) == faithful().text(LONG) == frame(TEXT, LONG)


@pytest.mark.parametrize("offer", [NAME, f"{NAME}; server_no_context_takeover"])
def test_texts_are_compressed_unless_they_are_short(offer: str) -> None:
    wire, _ = answered(offer)
    takes_over = "server_no" not in offer
    client = PerMessageDeflate(not takes_over, False, 15, 15)
    short = b"x" * (SMALLEST_DEFLATED - 1)
    sizes = []
    for payload in (LONG, short, LONG, b"y" * SMALLEST_DEFLATED, LONG):
        sent = wire.text(payload)
        compressed = bool(sent[0] & 0x40)
        assert compressed is (payload is not short)
        sizes.append(len(sent))
        heard = client.decode(Frame(Opcode.TEXT, sent[2:], rsv1=compressed))
        assert bytes(heard.data) == payload
    # The second time it is in the dictionary, if there is one.
    assert (sizes[2] < sizes[0]) is takes_over


def test_a_window_is_no_larger_than_was_asked_for() -> None:
    wire, _ = answered(f"{NAME}; server_max_window_bits=9; server_no_context_takeover")
    far = bytes(random.Random(3).randbytes(600))
    sent = wire.text(far + far)
    # 600 bytes back is out of a window of 512: nothing can be saved.
    assert len(sent) > 1200
    assert len(answered(NAME)[0].text(far + far)) < 700


COMPRESSED = {
    "a text": [masked(TEXT, deflated(LONG), rsv=RSV1)],
    "a text that is not compressed": [masked(TEXT, LONG)],
    "fragments, and a ping between them": [
        masked(TEXT, deflated(LONG)[:5], fin=False, rsv=RSV1),
        masked(PING, b"p"),
        masked(CONT, deflated(LONG)[5:]),
    ],
    "one of each": [masked(TEXT, deflated(LONG), rsv=RSV1), masked(TEXT, LONG)],
}


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_what_comes_compressed_is_inflated(name: str, size: int) -> None:
    data = b"".join(COMPRESSED[name])
    wire, _ = answered(f"{NAME}; client_no_context_takeover")
    heard = b""
    for at in range(0, len(data), size):
        wire.receive_data(data[at : at + size])
        frames = wire.frames_received()
        heard += b"".join(bytes(each.data) for each in frames if each.opcode != PING)
    assert heard == LONG * (2 if name == "one of each" else 1)
    assert wire.is_open


def test_a_client_may_build_upon_what_it_said_before() -> None:
    wire, _ = answered(NAME)
    client = PerMessageDeflate(False, False, 15, 15)
    sizes = []
    for _ in range(3):
        sent = client.encode(Frame(Opcode.TEXT, LONG))
        sizes.append(len(sent.data))
        wire.receive_data(masked(TEXT, bytes(sent.data), rsv=RSV1))
        (heard,) = wire.frames_received()
        assert bytes(heard.data) == LONG
    assert sizes[1] < sizes[0]


PROTOCOL_ERROR, TOO_BIG = 1002, 1009
WRONG = {
    "a bomb": ([masked(TEXT, deflated(b" " * 50_000_000)[:900], rsv=RSV1)], TOO_BIG),
    "one byte too many": ([masked(TEXT, deflated(b" " * (LIMIT + 1)), rsv=RSV1)], TOO_BIG),
    "a bomb in fragments": (
        [
            masked(TEXT, flushed(b" " * 600, b" " * 600)[0], fin=False, rsv=RSV1),
            masked(CONT, flushed(b" " * 600, b" " * 600)[1]),
        ],
        TOO_BIG,
    ),
    "a bomb behind as much as fits": (
        [
            masked(TEXT, flushed(b" " * LIMIT, b" ")[0], fin=False, rsv=RSV1),
            masked(CONT, flushed(b" " * LIMIT, b" " * 50_000_000)[1][:900]),
        ],
        TOO_BIG,
    ),
    "too long before it is inflated": ([masked(TEXT, b"x" * (LIMIT + 1), rsv=RSV1)], TOO_BIG),
    "nothing that inflates": ([masked(TEXT, b"\xff\xff\xff\xff", rsv=RSV1)], PROTOCOL_ERROR),
    "a compressed ping": ([masked(PING, b"p", rsv=RSV1)], PROTOCOL_ERROR),
    "a compressed continuation": (
        [
            masked(TEXT, deflated(LONG)[:5], fin=False, rsv=RSV1),
            masked(CONT, deflated(LONG)[5:], rsv=RSV1),
        ],
        PROTOCOL_ERROR,
    ),
    "another reserved bit": ([masked(TEXT, LONG, rsv=2)], PROTOCOL_ERROR),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_inflated_within_the_limit_ends_the_connection(name: str) -> None:
    frames, code = WRONG[name]
    wire, _ = answered(f"{NAME}; client_no_context_takeover")
    wire.receive_data(b"".join(frames))
    assert sum(len(each.data) for each in wire.frames_received()) <= LIMIT
    assert wire.close_sent is not None
    assert wire.close_sent.code == code
    assert wire.close_expected()


def test_the_longest_message_may_come_compressed() -> None:
    wire, _ = answered(NAME)
    wire.receive_data(masked(TEXT, deflated(b" " * LIMIT), rsv=RSV1))
    (heard,) = wire.frames_received()
    assert len(heard.data) == LIMIT
    assert wire.is_open


@pytest.mark.parametrize("kind", ["thin", "faithful", "declined"])
def test_a_compressed_frame_that_was_not_agreed_on_is_a_protocol_error(kind: str) -> None:
    wires: dict[str, Wire] = {
        "thin": thin(),
        "faithful": faithful(),
        "declined": answered(f"{NAME}; novelty")[0],
    }
    wire = wires[kind]
    wire.receive_data(masked(TEXT, deflated(LONG), rsv=RSV1))
    assert wire.frames_received() == []
    assert wire.close_sent is not None
    assert wire.close_sent.code == PROTOCOL_ERROR
