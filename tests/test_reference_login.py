import hashlib
import hmac
from random import Random

import pytest

from squall_reference.jsonrpc import Error
from squall_reference.login import Credentials, Login
from squall_reference.settings import Settings

KEYS = Credentials("key-1", "secret-1")
TOKEN = {"access_token": "A", "refresh_token": "R", "expires_in": 900}
REJECTED = Error(13004, "invalid_credentials")


def login(epoch: float = 0.0, **settings: object) -> Login:
    made, _ = Settings.from_mapping(settings)
    return Login(KEYS, made, Random(1), epoch)


def connected(**settings: object) -> Login:
    made = login(0.0, **settings)
    made.connected(0.0)
    return made


def logged_in(**settings: object) -> Login:
    made = connected(**settings)
    made.ask(0.0)
    assert made.granted(TOKEN, 1.0)
    return made


def test_a_new_connection_asks_for_a_token_at_once_and_once() -> None:
    made = connected()
    assert made.ask(0.0) is not None
    assert made.ask(0.0) is None


def test_nothing_is_asked_without_a_connection() -> None:
    assert login().ask(1e9) is None


def test_the_signature_covers_timestamp_and_nonce() -> None:
    asked = login(epoch=1_700_000_000.0)
    asked.connected(2.5)
    grant, params = asked.ask(2.5) or ("", {})
    assert grant == "client_signature"
    assert params["timestamp"] == 1_700_000_002_500
    signed = f"{params['timestamp']}\n{params['nonce']}\n".encode()
    assert params["signature"] == hmac.new(b"secret-1", signed, hashlib.sha256).hexdigest()
    assert "secret-1" not in str(params)


def test_a_signature_is_never_used_twice() -> None:
    # A stored login is replayed and refused: https://github.com/okxapi/python-okx/issues/16
    made = login()
    seen = set()
    for _ in range(10):
        made.connected(5.0)
        _, params = made.ask(5.0) or ("", {})
        seen.add((params["nonce"], params["signature"]))
    assert len({nonce for nonce, _ in seen}) == len({signed for _, signed in seen}) == 10


def test_client_credentials_are_sent_where_that_is_set() -> None:
    assert connected(auth_grant="client_credentials").ask(0.0) == (
        "client_credentials",
        {"grant_type": "client_credentials", "client_id": "key-1", "client_secret": "secret-1"},
    )


def test_a_token_is_refreshed_at_eighty_percent_of_its_life() -> None:
    made = logged_in()
    assert made.authenticated
    assert made.deadline == 1.0 + 720.0
    assert made.ask(720.0) is None
    refresh = {"grant_type": "refresh_token", "refresh_token": "R"}
    assert made.ask(721.0) == ("refresh_token", refresh)


def test_a_refresh_leaves_the_connection_authenticated() -> None:
    made = logged_in()
    made.ask(721.0)
    assert made.authenticated
    made.granted({**TOKEN, "refresh_token": "R2"}, 722.0)
    _, params = made.ask(722.0 + 720.0) or ("", {})
    assert params["refresh_token"] == "R2"


def test_a_refused_refresh_falls_back_to_full_authentication_at_once() -> None:
    # Two clients under one session name: https://github.com/nautechsystems/nautilus_trader/pull/3402
    made = logged_in()
    made.ask(721.0)
    assert made.refused("refresh_token", Error(-32602, "Invalid params"), 722.0) is None
    grant, _ = made.ask(722.0) or ("", {})
    assert grant == "client_signature"


def test_a_refused_refresh_is_no_rejection_of_the_credentials() -> None:
    made = logged_in(auth_attempts=1)
    made.ask(721.0)
    assert made.refused("refresh_token", Error(13009, "unauthorized"), 722.0) is None


def test_an_unanswered_refresh_is_tried_in_full() -> None:
    made = logged_in()
    made.ask(721.0)
    assert made.unanswered("refresh_token", 726.0)
    grant, _ = made.ask(726.0) or ("", {})
    assert grant == "client_signature"


def test_an_unanswered_authentication_calls_for_a_new_connection() -> None:
    made = connected()
    made.ask(0.0)
    assert not made.unanswered("client_signature", 5.0)


@pytest.mark.parametrize("code", [13004, 13009, 13668])
def test_three_rejections_in_a_row_are_the_end(code: int) -> None:
    made, now = connected(), 0.0
    answers = []
    for _ in range(3):
        made.ask(now)
        answers.append(made.refused("client_signature", Error(code, "no"), now))
        now = made.deadline or now
    assert answers == [None, None, f"credentials rejected 3 times in a row: {code} no"]
    assert now < 60.0


def test_rejections_are_counted_across_connections() -> None:
    # https://github.com/tiagosiebler/okx-api/issues/83 reconnected for ever.
    made = connected()
    made.refused("client_signature", REJECTED, 0.0)
    made.disconnected()
    made.connected(5.0)
    made.refused("client_signature", REJECTED, 5.0)
    made.connected(9.0)
    assert made.refused("client_signature", REJECTED, 9.0) is not None


def test_a_success_forgets_rejections() -> None:
    made = connected()
    for _ in range(5):
        assert made.refused("client_signature", REJECTED, 0.0) is None
        assert made.refused("client_signature", REJECTED, 0.0) is None
        made.granted(TOKEN, 0.0)


@pytest.mark.parametrize("code", [11051, 10028, 13028, 11094])
def test_maintenance_is_no_rejection(code: int) -> None:
    made, now, waits = connected(), 0.0, []
    for _ in range(50):
        made.ask(now)
        assert made.refused("client_signature", Error(code, "later"), now) is None
        assert made.deadline is not None
        waits.append(made.deadline - now)
        now = made.deadline
    assert max(waits) > 10.0


@pytest.mark.parametrize("code", [12003, 12998])
def test_a_limit_on_logins_is_waited_out_and_not_counted(code: int) -> None:
    made = connected(auth_attempts=1)
    made.ask(0.0)
    assert made.refused("client_signature", Error(code, "limit", {"wait": 7}), 0.0) is None
    assert made.deadline is not None
    assert 7.0 <= made.deadline <= 9.0


def test_a_limit_that_does_not_say_how_long_is_ten_seconds() -> None:
    made = connected()
    made.refused("client_signature", Error(12003, "login_over_limit"), 0.0)
    assert made.deadline is not None
    assert made.deadline >= 10.0


def test_the_token_dies_with_its_connection() -> None:
    made = logged_in()
    made.disconnected()
    assert not made.authenticated
    assert made.deadline is None
    made.connected(5.0)
    grant, _ = made.ask(5.0) or ("", {})
    assert grant == "client_signature"


def test_an_expired_token_is_replaced_at_once() -> None:
    made = logged_in()
    made.expired(50.0)
    assert not made.authenticated
    grant, _ = made.ask(50.0) or ("", {})
    assert grant == "client_signature"


def test_while_an_answer_is_awaited_an_expired_token_asks_for_no_other() -> None:
    made = logged_in()
    made.ask(721.0)
    made.expired(721.0)
    assert made.ask(722.0) is None


@pytest.mark.parametrize("result", ["ok", None, []])
def test_an_answer_without_a_token_is_none(result: object) -> None:
    made = connected()
    assert not made.granted(result, 0.0)
    assert not made.authenticated


def test_a_token_without_an_end_is_not_refreshed() -> None:
    made = connected()
    assert made.granted({"access_token": "A"}, 0.0)
    assert made.deadline is None


def test_the_secret_does_not_show() -> None:
    assert "secret-1" not in repr(KEYS)
