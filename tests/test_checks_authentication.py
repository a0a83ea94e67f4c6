"""First authenticated, with fresh material, and refused only so often."""

from squall.checks.authentication import (
    AuthBeforePrivate,
    FreshCredentials,
    GivesUpOnBadCredentials,
)
from story import ORDERS, TRADES, Story, fails, is_unknown, is_unsupported, passes, steady_story


def private_story() -> Story:
    return steady_story(channels=(TRADES,), private=(ORDERS,))


# -- auth_before_private ---------------------------------------------------------------------


def test_private_after_the_answer_passes() -> None:
    assert passes(private_story().judge(AuthBeforePrivate()))


def test_a_private_subscribe_before_the_answer_fails() -> None:
    # nautechsystems/nautilus_trader#2097: auth and resubscribe are sent together
    story = private_story()
    story.connect(3, 2)
    story.see(3.0, "exchange.auth_requested", 2, grant_type="client_signature", material="x")
    story.subscribe(3.1, 2, ORDERS, authenticated=False)
    story.see(3.5, "exchange.auth_succeeded", 2, token="t")
    assert fails(story.judge(AuthBeforePrivate()), "connection 2 at 3.100 s")


def test_an_order_before_the_answer_fails() -> None:
    story = private_story()
    story.connect(3, 2)
    story.see(3.1, "exchange.request", 2, method="private/buy", private=True, authenticated=False)
    assert fails(story.judge(AuthBeforePrivate()), "private/buy")


def test_a_token_sent_along_is_as_good() -> None:
    story = private_story()
    story.connect(3, 2)
    story.see(3.1, "exchange.request", 2, method="private/buy", private=True, authenticated=True)
    assert passes(story.judge(AuthBeforePrivate()))


def test_a_public_run_has_no_order_of_authentication() -> None:
    assert is_unsupported(steady_story().judge(AuthBeforePrivate()), "public")


def test_a_private_run_without_private_requests_is_unknown() -> None:
    story = Story(private=(ORDERS,))
    story.connect(0.5, 1)
    story.log_in(0.6, 1)
    story.steady()
    assert is_unknown(story.judge(AuthBeforePrivate()), "nothing private")


# -- fresh_credentials -----------------------------------------------------------------------


def test_a_fresh_signature_each_time_passes() -> None:
    story = private_story()
    story.cut(3, 1)
    story.connect(4, 2)
    story.log_in(4, 2)
    assert passes(story.judge(FreshCredentials()))


def test_a_replayed_signature_fails() -> None:
    # okxapi/python-okx#16: the stored login is replayed
    story = Story(private=(ORDERS,))
    for number in (1, 2):
        story.connect(number, number)
        story.log_in(number, number, material="same")
    story.steady(1.5)
    verdict = story.judge(FreshCredentials())
    assert fails(verdict, "the signature of connection 1 was used again on connection 2")


def test_key_and_secret_are_the_same_each_time_by_nature() -> None:
    story = Story(private=(ORDERS,))
    for number in (1, 2):
        story.connect(number, number)
        story.log_in(number, number, grant_type="client_credentials", material="same")
    story.steady(1.5)
    assert passes(story.judge(FreshCredentials()))


def test_a_refresh_token_is_used_once() -> None:
    story = private_story()
    refresh = {"grant_type": "refresh_token", "material": "r1"}
    story.log_in(3, 1, **refresh)
    story.cut(10, 1)
    story.connect(11, 2)
    story.log_in(11, 2, **refresh)
    assert fails(story.judge(FreshCredentials()), "refresh token")


def test_a_refresh_token_whose_answer_was_lost_may_be_tried_again() -> None:
    story = private_story()
    refresh = {"grant_type": "refresh_token", "material": "r1"}
    story.log_in(3, 1, **refresh)
    story.cut(3.01, 1)
    story.connect(4, 2)
    story.log_in(4, 2, **refresh)
    assert passes(story.judge(FreshCredentials()))


def test_what_was_refused_as_stale_fails() -> None:
    # bmoscon/cryptofeed#1023: the token is fetched once and for ever
    story = private_story()
    story.connect(4, 2)
    story.see(4, "exchange.auth_requested", 2, grant_type="refresh_token", material="old")
    story.see(4, "exchange.auth_failed", 2, code=13009, injected=False)
    assert fails(story.judge(FreshCredentials()), "refused with 13009", "stale")


def test_a_refusal_that_the_run_caused_is_not_stale() -> None:
    story = private_story()
    story.fault(3, "expire_token", 1, until=3, source="exchange")
    story.see(4, "exchange.auth_requested", 1, grant_type="refresh_token", material="dead")
    story.see(4, "exchange.auth_failed", 1, code=13009, injected=False)
    story.log_in(5, 1)
    assert passes(story.judge(FreshCredentials()))


def test_using_an_expired_token_fails() -> None:
    # f0cii/deribit-api#5: no token refresh
    story = private_story()
    story.see(60, "exchange.token_expired", 1, token="t0.5")
    story.see(61, "exchange.request", 1, method="private/get_positions", private=True)
    assert fails(story.judge(FreshCredentials()), "expired at 60.000 s", "private/get_positions")


def test_a_token_that_was_renewed_in_time_may_expire() -> None:
    story = private_story()
    story.log_in(48, 1)
    story.see(60, "exchange.token_expired", 1, token="t0.5")
    story.see(61, "exchange.request", 1, method="private/get_positions", private=True)
    assert passes(story.judge(FreshCredentials()))


def test_one_authentication_proves_no_freshness() -> None:
    assert is_unknown(private_story().judge(FreshCredentials()), "at most once")


# -- gives_up_on_bad_credentials -------------------------------------------------------------


def refused_story(*tries: float) -> Story:
    """Credentials are refused from 2 s on; the adapter tries them at these times."""
    story = private_story()
    story.fault(2, "reject_auth", 1, source="exchange")
    story.cut(2, 1)
    for number, at in enumerate(tries, 2):
        story.connect(at, number)
        story.see(at, "exchange.auth_requested", number, grant_type="client_signature")
        story.see(at, "exchange.auth_failed", number, code=13004, injected=True)
        story.leave(at, number)
    return story


def test_an_exit_with_a_status_after_a_few_tries_passes() -> None:
    story = refused_story(3, 5, 9)
    story.see(9.5, "adapter.exited", status=1, expected=False)
    story.see(9.5, "scenario.aborted", why="it ended")
    assert passes(story.judge(GivesUpOnBadCredentials()))


def test_saying_that_it_gave_up_passes() -> None:
    story = refused_story(3)
    story.say(3.1, "gave_up")
    story.see(80, "scenario.stopping")
    assert passes(story.judge(GivesUpOnBadCredentials()))


def test_trying_refused_credentials_for_ever_fails() -> None:
    # tiagosiebler/okx-api#83: reconnects for ever
    story = refused_story(3, 5, 7, 9, 11, 13)
    assert fails(story.judge(GivesUpOnBadCredentials()), "4 authentications from 3.000 to 9.000 s")


def test_falling_silent_without_a_word_fails() -> None:
    story = refused_story(3)
    story.see(80, "scenario.stopping")
    assert fails(story.judge(GivesUpOnBadCredentials()), "neither exited nor said")


def test_exiting_as_if_all_were_well_fails() -> None:
    story = refused_story(3)
    story.see(4, "adapter.exited", status=0, expected=False)
    assert fails(story.judge(GivesUpOnBadCredentials()), "status 0")


def test_dialling_after_giving_up_fails() -> None:
    story = refused_story(3)
    story.say(3.1, "gave_up")
    story.dial(30, 9)
    story.see(80, "scenario.stopping")
    assert fails(story.judge(GivesUpOnBadCredentials()), "yet dialled at 30.000 s")


def test_a_run_too_short_to_give_up_in_proves_nothing() -> None:
    story = refused_story(3)
    story.see(10, "scenario.stopping")
    story.stop(10)
    assert is_unknown(story.judge(GivesUpOnBadCredentials()), "run was over")


def test_without_a_refusal_there_is_nothing_to_give_up() -> None:
    assert is_unknown(private_story().judge(GivesUpOnBadCredentials()), "no credentials")


def test_an_adapter_that_was_never_steady_can_still_give_up() -> None:
    story = Story(private=(ORDERS,))
    story.fault(0, "reject_auth", 1, source="exchange")
    story.connect(0.5, 1)
    story.see(0.6, "exchange.auth_requested", 1, grant_type="client_signature")
    story.see(0.6, "exchange.auth_failed", 1, code=13004, injected=True)
    story.see(1, "adapter.exited", status=2, expected=False)
    assert passes(story.judge(GivesUpOnBadCredentials()))
