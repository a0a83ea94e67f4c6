import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squall_reference.jsonrpc import Answer, Error, Notification, decode, encode


def test_a_request_has_an_id_and_named_parameters() -> None:
    assert json.loads(encode(7, "public/test", {"a": 1})) == {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "public/test",
        "params": {"a": 1},
    }


def test_an_answer_holds_a_result() -> None:
    assert decode('{"jsonrpc":"2.0","id":3,"result":"ok","usIn":1}') == Answer(3, "ok")


def test_a_result_of_null_is_an_answer_too() -> None:
    assert decode('{"id":3,"result":null}') == Answer(3, None)


def test_an_error_holds_code_message_and_data() -> None:
    message = '{"id":3,"error":{"code":13004,"message":"invalid_credentials","data":{"wait":2}}}'
    answer = decode(message)
    assert answer == Answer(3, error=Error(13004, "invalid_credentials", {"wait": 2}))
    assert str(Error(13004, "invalid_credentials")) == "13004 invalid_credentials"


def test_a_long_error_message_is_cut() -> None:
    assert len(str(Error(1, "x" * 10_000))) < 300


def test_a_notification_has_a_method_and_no_id() -> None:
    message = '{"method":"heartbeat","params":{"type":"test_request"}}'
    assert decode(message) == Notification("heartbeat", {"type": "test_request"})


@pytest.mark.parametrize(
    "message",
    [
        "",
        "ping",
        "[]",
        "17",
        "null",
        '{"id":1}',
        '{"id":[],"result":1}',
        '{"id":1,"error":"no"}',
        b"\xff\xfe\x00",
        "[" * 100_000,
    ],
)
def test_what_is_no_json_rpc_is_told_apart(message: Any) -> None:
    assert decode(message) is None


@given(st.text() | st.binary())
def test_nothing_that_arrives_raises(message: Any) -> None:
    decode(message)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(["id", "method", "params", "result", "error", "code"]), x
            )
        ),
    )
)
def test_no_json_that_arrives_raises(value: Any) -> None:
    decode(json.dumps(value))
