"""What the process holds, over many reconnects and at its end."""

import pytest

from squall.checks.resources import CleanStop, NoGrowth
from story import Story, fails, is_unknown, is_unsupported, passes, reset_story, steady_story

# -- no_growth -------------------------------------------------------------------------------


def sampled(count: int, **growing: float) -> Story:
    """So many reconnects with a sample after each; these counts grow by so much each time."""
    story = steady_story()
    base = {"fds": 10, "threads": 1, "children": 0, "rss_bytes": 50_000_000}

    def held(cycle: int) -> dict[str, int]:
        return {name: round(base[name] + cycle * each) for name, each in growing.items()}

    story.sample(1, "steady")
    for cycle in range(1, count + 1):
        story.cut(cycle * 5.0, cycle)
        story.serve(cycle * 5.0 + 0.1, cycle + 1)
        story.sample(cycle * 5.0 + 1, "cycle", **held(cycle))
    story.sample(count * 5.0 + 4, "settled", **held(count))
    return story


def test_a_process_that_holds_no_more_than_before_passes() -> None:
    assert passes(sampled(20).judge(NoGrowth()))


@pytest.mark.parametrize(
    ("what", "words"),
    [("fds", "open files"), ("threads", "threads"), ("children", "child processes")],
)
def test_one_more_with_every_reconnect_fails(what: str, words: str) -> None:
    # slazarov/python-bittrex-websocket#61: a thread leaks with each reconnect
    assert fails(sampled(20, **{what: 1}).judge(NoGrowth()), f"{words} grew from", "20 reconnects")


def test_sockets_that_linger_fail_whatever_their_state() -> None:
    story = sampled(20)
    story.sample(110, "settled", sockets={"ESTABLISHED": 1, "CLOSE_WAIT": 20})
    assert fails(story.judge(NoGrowth()), "sockets grew from 1 to 21")


def test_what_the_kernel_keeps_after_a_close_is_nobodys() -> None:
    story = sampled(20)
    story.sample(110, "settled", sockets={"ESTABLISHED": 1, "TIME_WAIT": 40})
    assert passes(story.judge(NoGrowth()))


def test_what_is_loaded_once_at_the_first_reconnect_is_no_leak() -> None:
    story = sampled(20)
    for event in [e for e in story.events if e.get("moment") in ("cycle", "settled")]:
        story.events.remove(event)
        story.sample(event.at, event["moment"], fds=17)
    assert passes(story.judge(NoGrowth()))


def test_memory_that_keeps_growing_fails() -> None:
    # ccxt/ccxt#28440: 1.3 GB an hour
    verdict = sampled(100, rss_bytes=1_800_000).judge(NoGrowth())
    assert fails(verdict, "memory grew by 180 MB", "in the second half")


def test_memory_that_grows_while_warming_up_is_none() -> None:
    story = sampled(20)
    for event in [e for e in story.events if e.get("moment") in ("cycle", "settled")]:
        story.events.remove(event)
        story.sample(event.at, event["moment"], rss_bytes=120_000_000)
    assert passes(story.judge(NoGrowth()))


def test_growth_over_one_reconnect_tells_nothing() -> None:
    assert is_unknown(sampled(1, fds=8).judge(NoGrowth()), "too few to tell")


def test_a_machine_without_samples_tells_nothing() -> None:
    assert is_unknown(reset_story().judge(NoGrowth()), "not measured")


def test_an_adapter_within_the_harness_has_no_process() -> None:
    story = steady_story(adapter={"supports": ["public"], "in_process": True})
    assert is_unsupported(story.judge(NoGrowth()), "process")


# -- clean_stop ------------------------------------------------------------------------------


def test_closing_everything_and_ending_passes() -> None:
    story = steady_story()
    story.stop(10, 1, takes=0.2)
    verdict = story.judge(CleanStop())
    assert passes(verdict)
    assert "0.20 s" in verdict.why


def test_a_connection_that_stays_open_fails() -> None:
    # ccxt/ccxt#10786: session and connector are not closed
    story = steady_story()
    story.stop(10)
    story.see(16, "proxy.closed", 1, by="proxy", how="rst")
    assert fails(story.judge(CleanStop()), "still held connection 1 5 s later")


def test_a_dial_after_the_stop_fails() -> None:
    # pladaria/reconnecting-websocket#87: a retry survives close()
    story = steady_story()
    story.stop(10, 1)
    story.dial(14, 2)
    story.leave(14.1, 2)
    assert fails(story.judge(CleanStop()), "dialled again at 14.000 s")


def test_a_dial_that_was_under_way_may_still_come() -> None:
    story = steady_story()
    story.stop(10, 1, takes=0.5)
    story.dial(10.05, 2)
    story.leave(10.4, 2)
    assert passes(story.judge(CleanStop()))


def test_a_dial_that_a_fault_ended_is_not_held() -> None:
    story = steady_story()
    story.leave(9, 1)
    story.dial(10, 2)
    story.stop(10)
    story.see(10.01, "proxy.closed", 2, by="proxy", how="rst")
    assert passes(story.judge(CleanStop()))


def test_an_adapter_that_must_be_killed_fails() -> None:
    story = steady_story()
    story.see(10, "adapter.stop_requested", how="stdin")
    story.see(12, "adapter.stop_requested", how="sigterm")
    story.see(17, "adapter.stop_requested", how="sigkill")
    story.see(17.1, "adapter.exited", status=-9, expected=True)
    story.leave(17.1, 1)
    assert fails(story.judge(CleanStop()), "was killed at 17.000 s")


def test_an_adapter_that_ended_before_leaves_nothing_to_ask() -> None:
    story = steady_story()
    story.see(3, "adapter.exited", status=1, expected=False)
    assert is_unknown(story.judge(CleanStop()), "had exited at 3.000 s")


def test_giving_up_leaves_nothing_open_either() -> None:
    story = steady_story(expect={"gives_up_on_bad_credentials": {}})
    story.leave(2.9, 1)
    story.see(3, "adapter.exited", status=1, expected=False)
    assert passes(story.judge(CleanStop()))


def test_a_stop_in_a_held_up_harness_is_not_judged() -> None:
    story = steady_story()
    story.stop(10)
    story.stall(13, 3)
    story.see(16, "proxy.closed", 1, by="proxy", how="rst")
    assert is_unknown(story.judge(CleanStop()), "held up")


def test_a_run_without_a_stop_tells_nothing_of_stopping() -> None:
    assert is_unknown(steady_story().judge(CleanStop()), "never asked to stop")
