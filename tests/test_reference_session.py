"""The adapter's state machine, in virtual time and without I/O."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from squall_reference.actions import (
    Abort,
    Action,
    Actions,
    Close,
    Deliver,
    Dial,
    Finished,
    Log,
    Loss,
    OpenOrders,
    Ping,
    Reply,
    Send,
    StateChanged,
)
from squall_reference.login import Credentials
from squall_reference.session import Session
from squall_reference.settings import Settings

BOOK, TRADES = "book.BTC-PERPETUAL.100ms", "trades.BTC-PERPETUAL.100ms"
ORDERS = "user.orders.any.any.raw"
KEYS = Credentials("key-1", "secret-1")
TOKEN = {"access_token": "A", "refresh_token": "R", "expires_in": 900}
RESET = Loss("reset")

Answering = Callable[[dict[str, Any]], Any]


class Rig:
    """A session with a shell and an exchange that can be told what to do, on one clock."""

    def __init__(
        self, *channels: str, credentials: Credentials | None = KEYS, **settings: object
    ) -> None:
        made, _ = Settings.from_mapping({"subscribe_pause": 0, **settings})
        self.session = Session(
            channels or (BOOK, ORDERS), rng=Random(1), credentials=credentials, settings=made
        )
        self.now = 0.0
        self.told: list[Action] = []
        self.asked: list[dict[str, Any]] = []
        self.pongs = True

    def do(self, actions: Actions) -> Actions:
        """Carry out and remember."""
        self.told += actions
        for action in actions:
            if isinstance(action, Send):
                self.asked.append(json.loads(action.text))
            if isinstance(action, Ping) and self.pongs:
                self.session.pong(self.now)
        return actions

    def wait(self, seconds: float, *, exchange: bool = False) -> None:
        """Let time pass, tick by tick, with an exchange that answers or one that does not."""
        end = self.now + seconds
        while (due := self.session.deadline) is not None and due <= end:
            self.now = max(self.now, due)
            self.do(self.session.tick(self.now))
            if exchange:
                self.answer_all()
        self.now = end

    def connect(self) -> None:
        """Dial, if that is not done yet, and answer the upgrade."""
        if self.session.state == "idle":
            self.do(self.session.start(self.now))
        while self.session.state != "connecting":
            due = self.session.deadline
            assert due is not None
            self.wait(due - self.now)
        self.do(self.session.connected(self.now))

    def up(self) -> "Rig":
        """Connect, and answer everything: live."""
        self.connect()
        self.answer_all()
        assert self.session.state == "live"
        return self

    def lose(self, loss: Loss = RESET) -> Actions:
        return self.do(self.session.disconnected(loss, self.now))

    def say(self, **message: Any) -> Actions:
        return self.do(self.session.received(json.dumps(message), self.now))

    def data(self, channel: str, data: Any) -> Actions:
        return self.say(method="subscription", params={"channel": channel, "data": data})

    def take(self, method: str) -> dict[str, Any]:
        """The oldest unanswered request with this method."""
        found = next(r for r in self.asked if r["method"] == method)
        self.asked.remove(found)
        return found

    def answer(self, method: str, result: Any = "ok") -> Actions:
        return self.say(id=self.take(method)["id"], result=result)

    def refuse(self, method: str, code: int, **data: Any) -> Actions:
        error = {"code": code, "message": "no", "data": data}
        return self.say(id=self.take(method)["id"], error=error)

    def answer_all(self) -> None:
        while self.asked:
            request = self.asked[0]
            self.answer(request["method"], self.result_of(request))

    @staticmethod
    def result_of(request: dict[str, Any]) -> Any:
        match request["method"]:
            case "public/auth":
                return TOKEN
            case "private/get_open_orders":
                return []
            case "public/subscribe" | "private/subscribe":
                return request["params"]["channels"]
            case _:
                return "ok"

    def methods(self) -> list[str]:
        return [request["method"] for request in self.asked]

    def states(self) -> list[str]:
        return [action.state for action in self.told if isinstance(action, StateChanged)]

    def of(self, *kinds: type) -> list[Any]:
        return [action for action in self.told if isinstance(action, kinds)]

    def logs(self) -> str:
        return "\n".join(action.message for action in self.of(Log))


# From the dial to live.


def test_authentication_comes_first_and_subscriptions_after() -> None:
    rig = Rig()
    rig.connect()
    assert rig.methods() == ["public/set_heartbeat", "public/auth"]
    rig.wait(2.0)
    assert rig.methods() == ["public/set_heartbeat", "public/auth"]
    rig.answer("public/auth", TOKEN)
    assert rig.methods()[1:] == ["private/get_open_orders", "public/subscribe"]


def test_nothing_private_is_sent_before_the_auth_ack() -> None:
    # https://github.com/nautechsystems/nautilus_trader/pull/2097
    rig = Rig(ORDERS, cancel_on_disconnect=True)
    rig.connect()
    rig.wait(4.9)
    assert not any(method.startswith("private/") for method in rig.methods())


def test_states_are_told_in_their_order() -> None:
    assert Rig().up().states() == ["connecting", "connected", "authenticated", "live"]


def test_it_is_live_only_when_every_channel_is_confirmed() -> None:
    rig = Rig()
    rig.connect()
    rig.answer("public/auth", TOKEN)
    rig.answer("public/subscribe", [BOOK])
    assert rig.session.state == "authenticated"
    rig.answer("private/subscribe", [ORDERS])
    assert rig.session.state == "live"


def test_without_credentials_there_is_no_authentication() -> None:
    rig = Rig(BOOK, credentials=None).up()
    assert rig.states() == ["connecting", "connected", "live"]


def test_without_channels_it_is_live_after_authentication() -> None:
    rig = Rig("x", credentials=None)
    rig.session.unsubscribe(["x"], 0.0)
    rig.connect()
    assert rig.session.state == "live"


def test_a_private_channel_without_credentials_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=f"{ORDERS}: needs credentials"):
        Rig(ORDERS, credentials=None)


def test_a_loss_in_any_phase_starts_over_with_authentication() -> None:
    for answered in range(5):
        rig = Rig(stable_after=0, first_delay_max=0)
        rig.connect()
        for _ in range(answered):
            if rig.asked:
                rig.answer(rig.asked[0]["method"], rig.result_of(rig.asked[0]))
        rig.lose()
        rig.asked.clear()
        rig.up()


def test_orders_are_queried_after_each_login() -> None:
    rig = Rig()
    rig.connect()
    rig.answer("public/auth", TOKEN)
    orders = [{"order_id": "1"}]
    assert rig.answer("private/get_open_orders", orders) == [OpenOrders(orders)]
    rig.lose()
    rig.asked.clear()
    rig.connect()
    rig.answer("public/auth", TOKEN)
    assert "private/get_open_orders" in rig.methods()


def test_orders_are_not_queried_where_nobody_listens_to_them() -> None:
    rig = Rig(BOOK)
    rig.connect()
    rig.answer("public/auth", TOKEN)
    assert "private/get_open_orders" not in rig.methods()


# Loss and return.


def test_the_state_tells_of_a_loss_and_of_its_reason() -> None:
    rig = Rig().up()
    assert rig.lose()[-1] == StateChanged("disconnected", "reset")


def test_the_first_dial_after_a_stable_connection_comes_within_a_second() -> None:
    rig = Rig().up()
    rig.wait(15.0, exchange=True)
    rig.lose()
    assert rig.session.deadline is not None
    assert 0 < rig.session.deadline - rig.now <= 1.0


@pytest.mark.parametrize("uptime", [0.0, 2.0, 9.0])
def test_accept_then_close_is_dialled_at_most_ten_times_a_minute(uptime: float) -> None:
    rig, dials = Rig(BOOK, credentials=None), []
    while rig.now < 600.0:
        rig.connect()
        dials.append(rig.now)
        rig.answer_all()
        rig.wait(uptime)
        rig.lose(Loss("closed by the exchange: 1000"))
    assert len(dials) > 15
    assert all(late - early > 60 for early, late in zip(dials, dials[10:], strict=False))


def test_an_outage_of_half_an_hour_is_survived() -> None:
    rig = Rig()
    rig.do(rig.session.start(0.0))
    while rig.now < 1800.0:
        rig.lose(Loss("refused"))
        rig.wait((rig.session.deadline or 0.0) - rig.now)
    healed = rig.now
    rig.up()
    assert rig.now - healed <= 30.0


def test_an_open_circuit_is_told() -> None:
    rig = Rig()
    rig.do(rig.session.start(0.0))
    for _ in range(5):
        rig.lose(Loss("refused"))
        rig.wait((rig.session.deadline or 0.0) - rig.now)
    opened = next(a for a in rig.of(StateChanged) if a.state == "circuit_open")
    assert opened.reason.startswith("5 failures in a row; a trial in 2")


def test_while_the_circuit_is_open_nobody_dials() -> None:
    rig = Rig(breaker_failures=1, breaker_open=60)
    rig.do(rig.session.start(0.0))
    rig.lose(Loss("refused"))
    rig.wait(59.9)
    assert len(rig.of(Dial)) == 1
    rig.wait(15.2)
    assert len(rig.of(Dial)) == 2


def test_after_max_attempts_it_gives_up_with_a_terminal_state() -> None:
    rig = Rig(max_attempts=3)
    rig.do(rig.session.start(0.0))
    for _ in range(3):
        rig.lose(Loss("refused"))
        rig.wait(30.0)
    assert rig.told[-2:] == [
        StateChanged("gave_up", "3 attempts in a row failed, the last: refused"),
        Finished(1),
    ]
    assert rig.session.deadline is None


def test_reconnect_on_error_does_not_make_the_adapters_client_dial_too() -> None:
    # The guide's first issue: two layers that both reconnect.
    for setting in (True, False):
        rig = Rig(reconnect_on_error=setting).up()
        rig.lose()
        rig.wait(60.0)
        assert len(rig.of(Dial)) == 2


def test_the_next_dial_waits_for_the_old_socket_to_be_gone() -> None:
    rig = Rig().up()
    rig.pongs = False
    rig.wait(60.0)
    assert rig.told[-1] == Abort()
    assert rig.session.state == "disconnected"
    assert len(rig.of(Dial)) == 1
    rig.lose(Loss("whatever the shell saw"))
    rig.wait(1.0)
    assert len(rig.of(Dial)) == 2


def test_a_dead_line_is_told_at_once() -> None:
    rig = Rig().up()
    rig.pongs = False
    rig.wait(11.0)
    lost = [action for action in rig.of(StateChanged) if action.state == "disconnected"]
    assert lost == [StateChanged("disconnected", "no pong within 5 s")]


def test_retry_after_is_honoured() -> None:
    rig = Rig()
    rig.do(rig.session.start(0.0))
    rig.lose(Loss("refused", 503, 25.0))
    rig.wait(24.9)
    assert len(rig.of(Dial)) == 1
    rig.wait(1.2)
    assert len(rig.of(Dial)) == 2


def test_after_too_many_requests_it_stays_away_until_the_pool_is_full() -> None:
    rig = Rig(first_delay_max=0, stable_after=0).up()
    rig.wait(1.0)
    rig.do(rig.session.request(1, "public/test", {}, rig.now))
    rig.refuse("public/test", 10028)
    rig.lose(Loss("closed"))
    rig.wait(4.9)
    assert len(rig.of(Dial)) == 1
    rig.wait(0.2)
    assert len(rig.of(Dial)) == 2


def test_to_disconnect_is_to_stay_closed() -> None:
    rig = Rig().up()
    rig.do(rig.session.request(1, "private/buy", {}, rig.now))
    reply, state, close = rig.do(rig.session.disconnect(rig.now))
    assert isinstance(reply, Reply)
    assert reply.indefinite
    assert (state, close) == (StateChanged("disconnected", "as asked"), Close())
    assert rig.lose(Loss("closed")) == []
    assert rig.session.deadline is None
    assert rig.session.stop(rig.now) == [StateChanged("stopped"), Finished(0)]


def test_to_disconnect_during_a_dial_aborts_it() -> None:
    rig = Rig()
    rig.do(rig.session.start(0.0))
    assert rig.session.disconnect(0.0) == [Abort()]
    assert rig.lose(Loss("aborted")) == [StateChanged("disconnected", "as asked")]
    assert rig.session.deadline is None


def test_to_disconnect_between_two_dials_prevents_the_next() -> None:
    rig = Rig().up()
    rig.lose()
    assert rig.session.disconnect(rig.now) == [StateChanged("disconnected", "as asked")]
    assert rig.session.deadline is None


def test_to_stop_while_disconnecting_waits_for_the_socket() -> None:
    rig = Rig().up()
    rig.do(rig.session.disconnect(rig.now))
    assert rig.session.stop(rig.now) == []
    assert rig.lose(Loss("closed")) == [StateChanged("stopped"), Finished(0)]
    assert rig.session.disconnect(rig.now) == []


# Heartbeats.


def test_a_heartbeat_is_asked_for_before_authentication() -> None:
    # The guide's library asks only after it: a connection that hangs there has no watch.
    rig = Rig(heartbeat_interval=10)
    rig.connect()
    assert rig.take("public/set_heartbeat")["params"] == {"interval": 10}


def test_a_test_request_is_answered_at_once_and_with_an_id() -> None:
    rig = Rig().up()
    for _ in range(5):
        rig.say(method="heartbeat", params={"type": "test_request"})
    answers = [request for request in rig.asked if request["method"] == "public/test"]
    assert len({answer["id"] for answer in answers}) == 5


def test_a_test_request_during_the_restore_is_answered() -> None:
    rig = Rig()
    rig.connect()
    rig.say(method="heartbeat", params={"type": "test_request"})
    assert "public/test" in rig.methods()


def test_two_missing_heartbeats_end_the_connection() -> None:
    rig = Rig(heartbeat_interval=10, silence_timeout=None).up()
    rig.wait(19.0)
    assert rig.session.state == "live"
    rig.wait(2.0)
    assert "no heartbeat for two intervals of 10 s" in str(rig.told)


def test_an_unanswered_set_heartbeat_is_repeated() -> None:
    rig = Rig()
    rig.connect()
    rig.take("public/set_heartbeat")
    rig.answer_all()
    rig.wait(5.0)
    assert "public/set_heartbeat" in rig.methods()


def test_a_refused_set_heartbeat_is_repeated_later() -> None:
    rig = Rig()
    rig.connect()
    rig.refuse("public/set_heartbeat", 11051)
    assert "public/set_heartbeat" not in rig.methods()
    rig.answer_all()
    rig.wait(5.0)
    assert "public/set_heartbeat" in rig.methods()


def test_without_an_interval_no_heartbeat_is_asked_for() -> None:
    rig = Rig(heartbeat_interval=None)
    rig.connect()
    assert rig.methods() == ["public/auth"]


# Authentication.


def test_a_refresh_leaves_state_and_subscriptions_alone() -> None:
    rig = Rig(heartbeat_interval=None).up()
    before = rig.states()
    rig.told.clear()
    rig.wait(730.0, exchange=True)
    sent = [json.loads(action.text) for action in rig.of(Send)]
    assert [request["params"]["grant_type"] for request in sent] == ["refresh_token"]
    assert before + rig.states() == before


def test_wrong_credentials_are_tried_three_times_within_a_minute_and_then_given_up() -> None:
    # https://github.com/tiagosiebler/okx-api/issues/83
    rig, attempts = Rig(), []
    rig.connect()
    while rig.session.state != "gave_up":
        while "public/auth" not in rig.methods():
            rig.wait(0.1)
        attempts.append(rig.now)
        rig.refuse("public/auth", 13004)
    assert len(attempts) == 3
    assert attempts[-1] < 60.0
    assert rig.told[-1] == Close()
    assert rig.lose(Loss("closed")) == [Finished(1)]
    assert rig.session.deadline is None


def test_maintenance_is_not_taken_for_wrong_credentials() -> None:
    rig = Rig(silence_timeout=None, heartbeat_interval=None)
    rig.connect()
    for _ in range(20):
        rig.refuse("public/auth", 11051)
        while "public/auth" not in rig.methods():
            rig.wait(1.0)
    rig.answer_all()
    assert rig.session.state == "live"


def test_an_unanswered_authentication_ends_the_connection_and_not_the_adapter() -> None:
    rig = Rig().up()
    rig.lose()
    rig.asked.clear()
    rig.connect()
    rig.wait(5.0)
    assert StateChanged("disconnected", "authentication: no answer within 5 s") in rig.told
    rig.lose(Loss("aborted"))
    rig.asked.clear()
    rig.up()


def test_an_answer_without_token_ends_the_connection() -> None:
    rig = Rig()
    rig.connect()
    assert rig.answer("public/auth", "ok")[-1] == Abort()


def test_a_token_that_the_exchange_no_longer_takes_is_replaced() -> None:
    rig = Rig().up()
    rig.do(rig.session.request(1, "private/buy", {}, rig.now))
    rig.refuse("private/buy", 13009)
    assert rig.session.state == "connected"
    assert rig.take("public/auth")["params"]["grant_type"] == "client_signature"


def test_while_the_token_is_replaced_private_requests_fail_and_public_ones_do_not() -> None:
    rig = Rig().up()
    rig.do(rig.session.request(1, "private/buy", {}, rig.now))
    rig.refuse("private/buy", 13009)
    rig.do(rig.session.request(2, "private/buy", {}, rig.now))
    rig.do(rig.session.request(3, "public/get_time", {}, rig.now))
    assert rig.of(Reply)[-1] == Reply(
        2, ok=False, error="not sent: the connection is not authenticated"
    )
    assert rig.methods() == ["public/auth", "public/get_time"]


def test_after_the_new_token_it_is_live_again_without_subscribing_again() -> None:
    rig = Rig(BOOK).up()
    rig.do(rig.session.request(1, "private/buy", {}, rig.now))
    rig.refuse("private/buy", 13009)
    rig.answer("public/auth", TOKEN)
    assert rig.states()[-3:] == ["connected", "authenticated", "live"]
    assert rig.methods() == []


def test_a_private_subscribe_refused_for_its_token_asks_for_another() -> None:
    rig = Rig(ORDERS)
    rig.connect()
    rig.answer("public/auth", TOKEN)
    rig.refuse("private/subscribe", 13009)
    assert "public/auth" in rig.methods()
    rig.answer("public/auth", TOKEN)
    rig.wait(2.0, exchange=True)
    assert rig.session.state == "live"


# Subscriptions.


def test_a_short_list_is_noticed_reported_and_mended() -> None:
    rig = Rig(BOOK, TRADES)
    rig.connect()
    rig.answer("public/auth", TOKEN)
    rig.answer("public/subscribe", [BOOK])
    assert f"the exchange left out {TRADES}" in rig.logs()
    assert rig.session.health(rig.now).missing == (TRADES,)
    rig.wait(1.5)
    assert rig.take("public/subscribe")["params"] == {"channels": [TRADES]}


def test_a_lost_ack_is_asked_for_again_without_a_new_connection() -> None:
    # https://github.com/JKorf/Binance.Net/issues/948 reconnected in a loop.
    rig = Rig(BOOK)
    rig.connect()
    rig.answer("public/set_heartbeat")
    rig.answer("public/auth", TOKEN)
    rig.take("public/subscribe")
    rig.wait(7.0)
    assert len(rig.of(Dial)) == 1
    rig.answer_all()
    assert rig.session.state == "live"


def test_an_answer_that_is_no_list_is_a_short_one() -> None:
    rig = Rig(BOOK)
    rig.connect()
    rig.answer("public/auth", TOKEN)
    rig.answer("public/subscribe", {"channels": [BOOK]})
    assert rig.session.health(rig.now).missing == (BOOK,)


def test_a_refused_subscribe_is_asked_for_again() -> None:
    rig = Rig(BOOK)
    rig.connect()
    rig.answer("public/auth", TOKEN)
    rig.refuse("public/subscribe", 10040)
    assert "public/subscribe of 1 channels: 10040 no; asking again" in rig.logs()
    rig.wait(2.0, exchange=True)
    assert rig.session.state == "live"


def test_changes_during_an_outage_are_in_force_afterwards() -> None:
    rig = Rig(BOOK).up()
    rig.lose()
    assert rig.session.subscribe([TRADES], rig.now) == []
    assert rig.session.unsubscribe([BOOK], rig.now) == []
    rig.connect()
    rig.answer("public/auth", TOKEN)
    assert rig.take("public/subscribe")["params"] == {"channels": [TRADES]}


def test_changes_while_live_take_effect_at_once() -> None:
    rig = Rig(BOOK).up()
    rig.do(rig.session.subscribe([TRADES], rig.now))
    assert rig.take("public/subscribe")["params"] == {"channels": [TRADES]}


def test_data_that_arrives_before_its_ack_is_delivered() -> None:
    # pybit fails with a KeyError when data beats the ack.
    rig = Rig("ticker.BTC-PERPETUAL.100ms")
    rig.connect()
    rig.answer("public/auth", TOKEN)
    assert rig.data("ticker.BTC-PERPETUAL.100ms", {"a": 1}) == [
        Deliver("ticker.BTC-PERPETUAL.100ms", {"a": 1}, None, gap=False)
    ]
    rig.answer_all()
    assert rig.session.state == "live"


def test_data_that_nobody_wants_is_not_delivered() -> None:
    assert Rig(BOOK).up().data(TRADES, []) == []


def test_a_gap_is_flagged_and_only_its_channel_is_subscribed_anew() -> None:
    rig = Rig(BOOK, TRADES).up()
    rig.data(BOOK, {"type": "snapshot", "change_id": 1})
    rig.data(BOOK, {"type": "change", "change_id": 5, "prev_change_id": 4})
    assert rig.of(Deliver)[-1].gap
    assert rig.session.health(rig.now).doubtful == (BOOK,)
    assert rig.asked[0]["params"] == {"channels": [BOOK]}
    rig.answer("public/unsubscribe", [BOOK])
    assert rig.take("public/subscribe")["params"] == {"channels": [BOOK]}


def test_a_snapshot_that_never_comes_is_asked_for_again() -> None:
    rig = Rig(BOOK, heartbeat_interval=None).up()
    rig.data(BOOK, {"type": "snapshot", "change_id": 1})
    rig.data(BOOK, {"type": "change", "change_id": 5, "prev_change_id": 4})
    rig.answer_all()
    rig.told.clear()
    rig.wait(15.0, exchange=True)
    assert sum("public/unsubscribe" in action.text for action in rig.of(Send)) == 1


def test_a_stale_channel_is_reported_and_the_connection_stays() -> None:
    rig = Rig(BOOK, TRADES, heartbeat_interval=None).up()
    for seq in range(40):
        rig.wait(0.5)
        rig.data(TRADES, [{"trade_seq": seq}])
    assert f"stale: {BOOK}: no data for 10 s" in rig.logs()
    assert rig.session.health(rig.now).doubtful == (BOOK,)
    assert not rig.session.health(rig.now).ok
    assert rig.session.state == "live"
    rig.data(BOOK, {"type": "snapshot", "change_id": 1})
    assert f"fresh again: {BOOK}" in rig.logs()
    assert rig.session.health(rig.now).ok


# Requests of the user.


def test_a_request_is_answered_with_its_result() -> None:
    rig = Rig().up()
    rig.do(rig.session.request("mine", "private/buy", {"amount": 10}, rig.now))
    assert rig.asked[0]["params"] == {"amount": 10}
    assert rig.answer("private/buy", {"order": 1}) == [Reply("mine", ok=True, result={"order": 1})]


def test_an_error_answer_is_definite() -> None:
    rig = Rig().up()
    rig.do(rig.session.request(1, "private/buy", {}, rig.now))
    assert rig.refuse("private/buy", 10009) == [Reply(1, ok=False, error="10009 no")]


def test_an_exchange_that_timed_out_itself_leaves_the_outcome_open() -> None:
    rig = Rig().up()
    rig.do(rig.session.request(1, "private/buy", {}, rig.now))
    assert rig.refuse("private/buy", 13888)[0].indefinite  # type: ignore[union-attr]


def test_before_it_is_live_a_request_fails_at_once_and_is_not_sent() -> None:
    rig = Rig()
    rig.connect()
    rig.asked.clear()
    reply = rig.session.request(1, "private/buy", {}, rig.now)
    assert reply == [Reply(1, ok=False, error="not sent: the adapter is connected")]
    rig.wait(4.0)
    assert rig.methods() == []


def test_requests_of_an_outage_fail_at_once_and_are_never_sent() -> None:
    # https://github.com/Marfusios/websocket-client/issues/141 flushed them on reconnect.
    rig = Rig().up()
    rig.lose()
    for tag in range(10):
        reply = rig.session.request(tag, "private/buy", {}, rig.now)
        assert reply == [Reply(tag, ok=False, error="not sent: the adapter is disconnected")]
    rig.asked.clear()
    rig.up()
    assert not any("private/buy" in action.text for action in rig.of(Send))


def test_requests_in_flight_fail_at_once_on_a_loss_and_their_outcome_is_open() -> None:
    rig = Rig().up()
    for tag in range(20):
        rig.do(rig.session.request(tag, "private/buy", {}, rig.now))
    replies = [action for action in rig.lose() if isinstance(action, Reply)]
    error = "the connection was lost: reset"
    assert replies == [Reply(tag, ok=False, error=error, indefinite=True) for tag in range(20)]


def test_a_late_answer_of_an_old_connection_answers_nothing() -> None:
    rig = Rig().up()
    rig.do(rig.session.request(1, "private/buy", {}, rig.now))
    old = rig.take("private/buy")["id"]
    rig.lose()
    rig.asked.clear()
    rig.up()
    rig.do(rig.session.request(2, "private/buy", {}, rig.now))
    assert rig.asked[0]["id"] != old
    assert rig.say(id=old, result={}) == []


def test_ids_are_never_used_twice() -> None:
    rig = Rig(first_delay_max=0)
    for _ in range(5):
        rig.up()
        rig.lose()
    ids = [json.loads(action.text)["id"] for action in rig.of(Send)]
    assert len(set(ids)) == len(ids)


def test_a_request_without_answer_times_out_with_its_outcome_open() -> None:
    rig = Rig(request_timeout=30, silence_timeout=None, heartbeat_interval=None).up()
    rig.do(rig.session.request(1, "private/buy", {}, rig.now))
    rig.wait(29.9)
    assert rig.of(Reply) == []
    rig.wait(0.2)
    assert rig.of(Reply) == [Reply(1, ok=False, error="no answer within 30 s", indefinite=True)]


def test_while_closing_a_request_is_not_sent() -> None:
    rig = Rig().up()
    rig.do(rig.session.stop(rig.now))
    reply = rig.session.request(1, "private/buy", {}, rig.now)
    assert reply[0] == Reply(1, ok=False, error="not sent: the adapter is stopping")


def test_with_cancel_on_disconnect_orders_wait_for_its_ack() -> None:
    rig = Rig(cancel_on_disconnect=True)
    rig.connect()
    rig.answer("public/auth", TOKEN)
    protect = rig.take("private/enable_cancel_on_disconnect")
    assert protect["params"] == {"scope": "connection"}
    rig.answer_all()
    refused = rig.session.request(1, "private/buy", {}, rig.now)
    assert refused == [Reply(1, ok=False, error="not sent: the connection is not authenticated")]
    rig.say(id=protect["id"], result="ok")
    rig.do(rig.session.request(2, "private/buy", {}, rig.now))
    assert rig.methods() == ["private/buy"]


# What arrives.


@pytest.mark.parametrize(
    "message",
    [
        "no json",
        "[]",
        b"\x00\x01",
        '{"method":"subscription","params":{}}',
        '{"method":"subscription"}',
        '{"method":"something_new","params":{"a":1}}',
        '{"id":null,"error":{"code":-32700,"message":"Parse error"}}',
        '{"id":99999,"error":{"code":10028,"message":"too_many_requests"}}',
    ],
)
def test_what_it_does_not_know_is_logged_and_ignored(message: str | bytes) -> None:
    rig = Rig().up()
    actions = rig.session.received(message, rig.now)
    assert [type(action) for action in actions] == [Log]
    assert rig.session.state == "live"


def test_logs_show_no_secret_and_no_token() -> None:
    rig = Rig(ORDERS)
    rig.connect()
    rig.refuse("public/auth", 13004)
    rig.wait(5.0, exchange=True)
    rig.say(id=1, access_token="A-token")
    rig.lose()
    shown = str([action for action in rig.told if not isinstance(action, Send)])
    assert "secret-1" not in shown
    assert "A-token" not in shown


# The end.


def test_stop_closes_and_finishes_when_the_socket_is_gone() -> None:
    rig = Rig().up()
    assert rig.do(rig.session.stop(rig.now)) == [Close()]
    assert rig.lose(Loss("closed")) == [StateChanged("stopped"), Finished(0)]
    assert rig.session.deadline is None


def test_stop_does_not_wait_for_a_peer_that_never_closes() -> None:
    rig = Rig(close_timeout=2).up()
    rig.do(rig.session.stop(rig.now))
    rig.wait(2.0)
    assert rig.told[-1] == Abort()


def test_stop_between_two_dials_ends_at_once() -> None:
    rig = Rig().up()
    rig.lose()
    assert rig.session.stop(rig.now) == [StateChanged("stopped"), Finished(0)]
    assert rig.session.deadline is None


def test_stop_during_a_dial_aborts_it() -> None:
    rig = Rig()
    rig.do(rig.session.start(0.0))
    assert rig.session.stop(0.0) == [Abort()]
    assert rig.lose(Loss("aborted")) == [StateChanged("stopped"), Finished(0)]


def test_to_stop_twice_is_to_stop_once() -> None:
    rig = Rig().up()
    rig.do(rig.session.stop(rig.now))
    assert rig.session.stop(rig.now) == []


def test_requests_in_flight_end_with_the_stop() -> None:
    rig = Rig().up()
    rig.do(rig.session.request(1, "private/buy", {}, rig.now))
    assert rig.do(rig.session.stop(rig.now))[0].indefinite  # type: ignore[union-attr]


# Health.


def test_health_is_good_only_when_live_complete_and_fresh() -> None:
    rig = Rig(BOOK)
    assert rig.session.health(0.0).state == "idle"
    rig.connect()
    assert not rig.session.health(rig.now).ok
    rig.answer_all()
    rig.now += 1.5
    health = rig.session.health(rig.now)
    assert (health.ok, health.age) == (True, 1.5)
    rig.lose()
    health = rig.session.health(rig.now)
    assert (health.ok, health.state, health.age) == (False, "disconnected", None)
