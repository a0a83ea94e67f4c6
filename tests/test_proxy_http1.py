"""Heads are found among original bytes, and bodies are stepped over."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_witness import SWITCH, UPGRADE
from squall_proxy.http1 import (
    CHUNKED,
    HEAD_LIMIT,
    UNTIL_CLOSE,
    HeadReader,
    Request,
    answer,
    parse_request,
    parse_response,
    with_field,
)

CHUNKS = b"4;ext=1\r\nGET \r\n10\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n"
STREAM = (
    b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /"
    b"GET /b?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"
    b"PUT /c HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS + UPGRADE
)


def read(data: bytes, size: int) -> tuple[bytes, list[Request]]:
    reader: HeadReader[Request] = HeadReader(parse_request)
    passed, heads = b"", []
    for start in range(0, len(data), size):
        for piece, head in reader.feed(data[start : start + size]):
            passed += piece
            if head is not None:
                heads.append(head)
    return passed, heads


@settings(derandomize=True, deadline=None)
@given(st.integers(1, len(STREAM)))
def test_heads_are_found_however_the_stream_is_cut(size: int) -> None:
    passed, heads = read(STREAM, size)
    assert passed == STREAM
    assert [(head.method, head.path, head.upgrade) for head in heads] == [
        ("POST", "/a", False),
        ("GET", "/b?x=1", False),
        ("PUT", "/c", False),
        ("GET", "/ws/api/v2", True),
    ]


def test_a_head_comes_whole_with_its_last_byte() -> None:
    reader: HeadReader[Request] = HeadReader(parse_request)
    assert list(reader.feed(UPGRADE[:-1])) == []
    ((piece, head),) = reader.feed(UPGRADE[-1:])
    assert piece == UPGRADE
    assert head is not None


def test_half_a_head_is_given_back_at_the_end() -> None:
    reader: HeadReader[Request] = HeadReader(parse_request)
    assert list(reader.feed(UPGRADE[:30])) == []
    assert reader.flush() == UPGRADE[:30]
    assert reader.flush() == b""


@pytest.mark.parametrize(
    "data",
    [b"\x16", b"220 mail\r\n", b"HELLO\n", b"GET it\r\n", b"E\0", b"a" * 33, b"a" * 20_000],
)
def test_nobody_waits_for_the_head_of_what_has_none(data: bytes) -> None:
    reader: HeadReader[Request] = HeadReader(parse_request)
    passed = b"".join(piece for byte in data for piece, _ in reader.feed(bytes((byte,))))
    assert passed == data


def test_fields_are_replaced_removed_and_added() -> None:
    head = b"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\na: 3\r\n\r\n"
    assert with_field(head, "A", "9") == b"GET / HTTP/1.1\r\nA: 9\r\nB: 2\r\n\r\n"
    assert with_field(head, "a", "") == b"GET / HTTP/1.1\r\nB: 2\r\n\r\n"
    assert with_field(head, "C", "x") == head[:-2] + b"C: x\r\n\r\n"
    assert with_field(head, "C", "") == head


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00",
        b"hello world\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"A" * (HEAD_LIMIT + 1),
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
    ],
)
def test_what_is_no_http_passes(data: bytes) -> None:
    reader: HeadReader[Request] = HeadReader(parse_request)
    assert b"".join(piece for piece, _ in reader.feed(data)) == data
    assert reader.opaque
    assert list(reader.feed(UPGRADE)) == [(UPGRADE, None)]
    reader.resume()
    ((_, head),) = reader.feed(UPGRADE)
    assert head is not None


def test_an_answers_body_depends_on_the_question() -> None:
    sized = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"
    for text, method, body in (
        (sized, "GET", 12),
        (sized, "HEAD", 0),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n", "GET", 0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", CHUNKED),
        (b"HTTP/1.0 200\r\n\r\n", "GET", UNTIL_CLOSE),
        (SWITCH, "GET", 0),
    ):
        response = parse_response(text, method)
        assert response is not None
        assert response.body == body


@pytest.mark.parametrize(
    ("field", "seconds"),
    [(b"7", 7.0), (b"Wed, 21 Oct 2026 07:28:00 GMT", None), (b"-1", None), (b"", None)],
)
def test_retry_after_is_told_in_seconds(field: bytes, seconds: float | None) -> None:
    response = parse_response(b"HTTP/1.1 503 No\r\nretry-after: " + field + b"\r\n\r\n", "GET")
    assert response is not None
    assert response.retry_after == seconds


def test_only_101_upgrades_and_other_1xx_are_interim() -> None:
    early = parse_response(b"HTTP/1.1 103 Early Hints\r\n\r\n", "GET")
    switch = parse_response(SWITCH, "GET")
    assert early is not None
    assert switch is not None
    assert (early.interim, early.upgraded) == (True, False)
    assert (switch.interim, switch.upgraded) == (False, True)


def test_an_answer_says_how_long_it_is_unless_told_otherwise() -> None:
    assert answer(403, {"Content-Type": "text/html"}, "né", None) == (
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\nConnection: close\r\n"
        b"Content-Type: text/html\r\n\r\nn\xc3\xa9"
    )
    assert answer(599, {"connection": "keep-alive"}, "", "Odd") == (
        b"HTTP/1.1 599 Odd\r\nContent-Length: 0\r\nconnection: keep-alive\r\n\r\n"
    )
