from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, formatdate

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Close
from websockets.http11 import Response

from squall_reference.actions import Loss
from squall_reference.endpoint import LOGGER, loss_of, retry_after

NOW = 1_767_225_600.0


def refusal(status: int, **headers: str) -> InvalidStatus:
    found = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return InvalidStatus(Response(status, "no", found, b""))


def wall() -> float:
    return NOW


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("10", 10.0),
        (" 120 ", 120.0),
        (formatdate(NOW + 30, usegmt=True), 30.0),
        (formatdate(NOW - 30, usegmt=True), 0.0),
        (format_datetime(datetime.fromtimestamp(NOW, UTC) + timedelta(hours=1)), 3600.0),
        (datetime.fromtimestamp(NOW + 5, UTC).strftime("%a, %d %b %Y %H:%M:%S"), 5.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u0661", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, wall) == seconds


def test_a_refused_upgrade_tells_its_status_and_how_long_to_wait() -> None:
    expected = Loss("the upgrade was refused with HTTP 503", 503, 10.0)
    assert loss_of(refusal(503, Retry_After="10")) == expected
    assert loss_of(refusal(404)).retry_after is None


def test_a_redirect_that_was_not_followed_is_a_refusal() -> None:
    error = ValueError("cannot follow redirect with a preexisting socket")
    error.__cause__ = refusal(301)
    assert loss_of(error).status == 301


def test_a_close_tells_its_code_and_reason() -> None:
    close = Close(1008, "Too many requests")
    error = ConnectionClosedError(close, close, True)
    assert loss_of(error) == Loss("closed by the exchange: 1008 Too many requests")


def test_an_end_without_close_frame_is_told_as_such() -> None:
    error = ConnectionClosedError(None, None)
    assert loss_of(error) == Loss("the connection ended without a Close frame")


def test_an_error_without_words_is_named() -> None:
    assert loss_of(TimeoutError()) == Loss("TimeoutError")


def test_frames_are_never_logged_since_they_carry_secrets() -> None:
    assert not LOGGER.isEnabledFor(10)
