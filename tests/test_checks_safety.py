"""What must never happen: a crash, a needless error, a secret in the log."""

from squall.checks.safety import KeepsSecrets, NoErrors, StaysAlive
from story import ORDERS, Story, fails, is_unknown, is_unsupported, passes, steady_story

# -- stays_alive -----------------------------------------------------------------------------


def test_an_adapter_that_lives_until_it_is_stopped_passes() -> None:
    story = steady_story()
    story.stop(5, 1)
    assert passes(story.judge(StaysAlive()))


def test_an_exit_unasked_fails() -> None:
    # pladaria/reconnecting-websocket#183: an unhandled error while connecting ends the process
    story = steady_story()
    story.see(3, "adapter.exited", status=1, expected=False)
    assert fails(story.judge(StaysAlive()), "exited with status 1 at 3.000 s")


def test_an_error_that_nobody_handled_fails() -> None:
    story = steady_story()
    story.see(3, "adapter.crash_reported", line="Task exception was never retrieved")
    assert fails(story.judge(StaysAlive()), "Task exception was never retrieved")


def test_giving_up_is_right_where_it_is_expected() -> None:
    story = steady_story(expect={"gives_up_on_bad_credentials": {}})
    story.see(3, "exchange.auth_failed", 1, code=13004, injected=True)
    story.see(4, "adapter.crash_reported", line="Unhandled exception: bad credentials")
    story.see(4, "adapter.exited", status=1, expected=False)
    assert passes(story.judge(StaysAlive()))


def test_giving_up_before_any_refusal_is_a_crash() -> None:
    story = steady_story(expect={"gives_up_on_bad_credentials": {}})
    story.see(4, "adapter.exited", status=1, expected=False)
    assert fails(story.judge(StaysAlive()))


def test_a_crash_is_judged_though_it_was_never_steady() -> None:
    story = Story()
    story.see(1, "adapter.exited", status=-11, expected=False)
    assert fails(story.judge(StaysAlive()), "-11")


def test_an_adapter_that_was_never_seen_may_be_dead() -> None:
    story = Story()
    story.events = [event for event in story.events if event.kind != "started"]
    assert is_unknown(story.judge(StaysAlive()), "never seen alive")


# -- keeps_secrets ---------------------------------------------------------------------------


def test_a_private_run_without_a_secret_in_the_log_passes() -> None:
    assert passes(steady_story(private=(ORDERS,)).judge(KeepsSecrets()))


def test_a_printed_token_fails() -> None:
    story = Story(private=(ORDERS,))
    story.see(2, "adapter.secret_printed", what="access token", stream="stderr")
    assert fails(story.judge(KeepsSecrets()), "access token", "stderr")


def test_a_public_run_has_no_secrets() -> None:
    assert is_unsupported(Story().judge(KeepsSecrets()), "public")


def test_an_adapter_that_never_started_kept_nothing() -> None:
    story = Story(private=(ORDERS,))
    story.events = [event for event in story.events if event.kind != "started"]
    assert is_unknown(story.judge(KeepsSecrets()))


# -- no_errors -------------------------------------------------------------------------------


def error(story: Story, at: float, method: str = "public/subscribe", **detail: object) -> None:
    said = {"code": 11029, "message": "invalid_arguments", "method": method, "injected": False}
    story.see(at, "exchange.error", 1, **(said | detail))


def test_no_error_passes() -> None:
    assert passes(steady_story().judge(NoErrors()))


def test_an_error_that_nobody_provoked_fails() -> None:
    # btschwertfeger/python-kraken-sdk#148: the resubscribe carries a malformed symbol
    story = steady_story()
    error(story, 3)
    assert fails(story.judge(NoErrors()), "public/subscribe with 11029 invalid_arguments at 3.000")


def test_an_injected_error_is_the_runs_own() -> None:
    story = steady_story()
    error(story, 3, injected=True)
    assert passes(story.judge(NoErrors()))


def test_an_error_for_what_the_run_commanded_is_the_runs_own() -> None:
    story = steady_story()
    story.order(2, 1, "a")
    error(story, 3, method="private/buy")
    assert passes(story.judge(NoErrors()))


def test_maintenance_explains_errors() -> None:
    story = steady_story()
    story.fault(2, "maintenance", 1, until=10, source="exchange")
    error(story, 3)
    assert passes(story.judge(NoErrors()))
    error(story, 30)
    assert fails(story.judge(NoErrors()), "30.000 s")


def test_a_stalled_channel_explains_no_error() -> None:
    story = steady_story()
    story.fault(2, "stall_channel", 1, until=10, source="exchange")
    error(story, 3)
    assert fails(story.judge(NoErrors()))


def test_a_token_that_the_run_expired_explains_refusals_until_it_is_renewed() -> None:
    story = steady_story(private=(ORDERS,))
    story.fault(2, "expire_token", 1, until=2, source="exchange")
    error(story, 3, method="private/get_positions", code=13009)
    assert passes(story.judge(NoErrors()))
    story.log_in(4, 1)
    error(story, 5, method="private/get_positions", code=13009)
    assert fails(story.judge(NoErrors()), "5.000 s")


def test_what_happens_after_the_watch_is_not_judged() -> None:
    story = steady_story()
    story.see(5, "scenario.stopping")
    error(story, 6)
    assert passes(story.judge(NoErrors()))


def test_an_exchange_that_saw_nobody_saw_no_error() -> None:
    story = Story()
    story.steady()
    assert is_unknown(story.judge(NoErrors()), "never saw the adapter")
