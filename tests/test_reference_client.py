from random import Random

from hypothesis import given
from hypothesis import strategies as st

from squall_reference.actions import (
    Abort,
    Action,
    Close,
    Dial,
    Down,
    Finished,
    GiveUp,
    Loss,
    Ping,
    Received,
    Send,
    Up,
)
from squall_reference.client import Client
from squall_reference.settings import Settings

RESET = Loss("reset")


def client(**settings: object) -> Client:
    made, _ = Settings.from_mapping(settings)
    return Client(made, Random(1))


def up(**settings: object) -> Client:
    made = client(**settings)
    made.start(0.0)
    assert made.connected(0.0) == [Up()]
    return made


def run(made: Client, until: float, *, pongs: bool = True) -> list[tuple[float, Action]]:
    """Everything that time alone makes the client do."""
    found: list[tuple[float, Action]] = []
    while made.deadline is not None and made.deadline <= until:
        now = made.deadline
        for action in made.tick(now):
            found.append((now, action))
            if isinstance(action, Ping) and pongs:
                made.pong(now)
    return found


def test_it_dials_within_the_connect_timeout() -> None:
    assert client(connect_timeout=7).start(0.0) == [Dial(7)]


def test_messages_are_passed_on() -> None:
    assert up().received("hello", 1.0) == [Received("hello")]


def test_nothing_is_sent_or_queued_while_the_line_is_not_up() -> None:
    # Queued messages are flushed on reconnect: https://github.com/Marfusios/websocket-client/issues/141
    made = client()
    assert made.send("early") == []
    made.start(0.0)
    assert made.send("early") == []
    assert made.connected(1.0) == [Up()]
    assert made.send("now") == [Send("now")]


def test_pings_go_out_at_their_interval() -> None:
    made = up(ping_interval=5, silence_timeout=None)
    assert run(made, 20.0) == [(5.0, Ping()), (10.0, Ping()), (15.0, Ping()), (20.0, Ping())]


def test_a_ping_without_pong_means_that_the_line_is_dead() -> None:
    made = up(ping_interval=5, pong_timeout=4, silence_timeout=None)
    assert run(made, 60.0, pongs=False) == [
        (5.0, Ping()),
        (9.0, Down(Loss("no pong within 4 s"))),
        (9.0, Abort()),
    ]


def test_data_that_flows_in_does_not_stand_for_a_pong() -> None:
    # The guide's own fault drops outgoing packets only; what comes in is no sign of life then.
    made = up(ping_interval=5, pong_timeout=5)
    made.tick(5.0)
    for now in range(5, 10):
        made.received("data", float(now))
    assert made.tick(10.0) == [Down(Loss("no pong within 5 s")), Abort()]


def test_a_ping_is_not_repeated_while_its_pong_is_awaited() -> None:
    made = up(ping_interval=1, pong_timeout=5, silence_timeout=None)
    pings = [action for _, action in run(made, 60.0, pongs=False) if isinstance(action, Ping)]
    assert len(pings) == 1


def test_silence_right_after_the_upgrade_is_noticed() -> None:
    # A deadline that begins with the first message never begins: gorilla/websocket#473.
    made = up(ping_interval=None, silence_timeout=15)
    assert run(made, 60.0)[0] == (15.0, Down(Loss("silence for 15 s")))


def test_any_message_puts_the_silence_off() -> None:
    made = up(ping_interval=None, silence_timeout=15, reconnect_on_error=False)
    made.received("data", 10.0)
    assert made.deadline == 25.0


def test_missing_heartbeats_are_noticed_though_data_flows() -> None:
    made = up(ping_interval=None)
    made.expect_heartbeats(10.0, 0.0)
    made.heartbeat(10.0)
    for now in range(10, 30):
        made.received("data", float(now))
    assert made.tick(30.0) == [Down(Loss("no heartbeat for two intervals of 10 s")), Abort()]


def test_a_dead_line_is_aborted_and_never_closed_politely() -> None:
    # Waiting for a dead peer's Close frame: https://github.com/stomp-js/stompjs/issues/226
    actions = [action for _, action in run(up(), 600.0, pongs=False)]
    assert Abort() in actions
    assert Close() not in actions


def test_after_a_sleep_the_line_is_judged_only_when_unread_messages_can_be_read() -> None:
    made = up(ping_interval=5, pong_timeout=5)
    made.tick(5.0)
    assert made.tick(95.0) == []
    made.received("from the socket's buffer", 95.0)
    made.pong(95.0)
    assert made.deadline is not None
    assert made.deadline > 95.0


def test_after_a_sleep_a_dead_line_is_still_noticed() -> None:
    made = up(ping_interval=5, pong_timeout=5)
    made.tick(5.0)
    made.tick(95.0)
    assert made.deadline == 96.0
    assert made.tick(96.0)[-1] == Abort()


def test_a_closing_handshake_has_a_time_limit() -> None:
    made = up(close_timeout=2)
    assert made.close("enough", 1.0) == [Down(Loss("enough")), Close()]
    assert made.deadline == 3.0
    assert made.tick(3.0) == [Abort()]


def test_what_arrives_while_closing_is_not_passed_on() -> None:
    made = up()
    made.close("enough", 1.0)
    assert made.received("late", 1.5) == []
    assert made.send("late") == []


def test_the_loss_is_told_once() -> None:
    made = up()
    made.drop("dead")
    assert not any(isinstance(action, Down) for action in made.disconnected(RESET, 2.0))


def test_a_stand_alone_client_dials_again_and_restores_nothing() -> None:
    made = up(first_delay_max=1)
    made.send("subscribe")
    assert made.disconnected(RESET, 50.0) == [Down(RESET)]
    assert [action for _, action in run(made, 60.0)] == [Dial(10.0)]
    assert made.connected(60.0) == [Up()]


def test_the_next_dial_waits_until_the_socket_is_gone() -> None:
    made = up()
    made.drop("dead")
    assert made.deadline is None
    made.disconnected(RESET, 2.0)
    assert made.deadline is not None


def test_with_reconnect_off_a_client_is_finished_after_one_connection() -> None:
    made = up(reconnect_on_error=False)
    assert made.disconnected(RESET, 5.0) == [Down(RESET), Finished(1)]
    assert made.deadline is None


def test_a_client_alone_gives_up_after_max_attempts() -> None:
    made = client(max_attempts=1)
    made.start(0.0)
    assert made.disconnected(RESET, 1.0) == [
        Down(RESET),
        GiveUp("1 attempts in a row failed, the last: reset"),
        Finished(1),
    ]


def test_a_line_that_has_lasted_forgets_earlier_failures() -> None:
    made = client(first_delay_max=0, max_attempts=2, stable_after=10)
    made.start(0.0)
    for start in (0.0, 100.0, 200.0):
        made.connected(start)
        run(made, start + 11.0)
        assert made.disconnected(RESET, start + 20.0) == [Down(RESET)]
        assert run(made, start + 20.0)[0][1] == Dial(10.0)


def test_stop_closes_the_line_and_finishes_when_the_socket_is_gone() -> None:
    made = up()
    assert made.stop(1.0) == [Down(Loss("stopped")), Close()]
    assert made.stop(1.0) == []
    assert made.disconnected(Loss("closed"), 1.1) == [Finished(0)]


def test_stop_during_a_dial_aborts_it() -> None:
    made = client()
    made.start(0.0)
    assert made.stop(1.0) == [Abort()]
    assert made.disconnected(Loss("aborted"), 1.0)[-1] == Finished(0)


def test_a_dial_that_succeeds_just_after_stop_is_aborted() -> None:
    # https://github.com/pladaria/reconnecting-websocket/issues/87
    made = client()
    made.start(0.0)
    made.stop(1.0)
    assert made.connected(1.0) == [Abort()]
    assert made.disconnected(Loss("aborted"), 1.0)[-1] == Finished(0)


def test_stop_before_the_next_dial_prevents_it() -> None:
    made = up()
    made.disconnected(RESET, 1.0)
    assert made.stop(1.1) == [Finished(0)]
    assert made.deadline is None


@given(st.lists(st.sampled_from(["connected", "lost", "data", "pong", "wait", "close", "drop"])))
def test_there_is_never_more_than_one_line(steps: list[str]) -> None:
    made, now, lines, dialling = client(), 0.0, 0, False
    actions = made.start(now)
    for step in [*steps, "wait"]:
        for action in actions:
            if isinstance(action, Dial):
                assert lines == 0
                lines, dialling = 1, True
            if isinstance(action, Send | Ping | Close):
                assert lines == 1
                assert not dialling
        actions = []
        if step == "wait" and made.deadline is not None:
            now = max(now, made.deadline)
            actions = made.tick(now)
            assert made.deadline is None or made.deadline > now
        elif step == "connected" and dialling:
            dialling = False
            actions = made.connected(now)
        elif step == "lost" and lines:
            lines, dialling = 0, False
            actions = made.disconnected(RESET, now)
        elif step == "data" and lines and not dialling:
            actions = made.received("data", now)
        elif step == "pong" and lines and not dialling:
            actions = made.pong(now)
        elif step == "close":
            actions = made.close("enough", now)
        elif step == "drop":
            actions = made.drop("enough")
