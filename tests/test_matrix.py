"""The sensitivity matrix: each bug is named by its check, and the good adapter is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from gallery import GALLERY, Specimen
from gallery.matrix import GOOD, clock, failing, lacking, run, scenarios, undisturbed
from gallery.scenarios import QUIET
from squall.run import Result
from squall.scenario import Scenario
from squall.verdict import Outcome
from squall.virtual_clock import loop_factory


def possible(scenario: Scenario) -> pytest.MarkDecorator:
    why = lacking(scenario)
    return pytest.mark.skipif(why is not None, reason=why or "")


CATCHES = [
    pytest.param(
        specimen,
        scenarios()[scenario],
        check,
        id=f"{name}-in-{scenario}",
        marks=possible(scenarios()[scenario]),
    )
    for name, specimen in GALLERY.items()
    for scenario, check in specimen.caught.items()
    if clock(specimen, scenarios()[scenario]) == "virtual"
]
HARMLESS = [
    pytest.param(scenario, id=name, marks=possible(scenario))
    for name, scenario in scenarios().items()
    if clock(GOOD, scenario) == "virtual"
]
IN_PROCESS = [
    pytest.param(specimen, id=name) for name, specimen in GALLERY.items() if not specimen.process
]


def verdicts(result: Result) -> str:
    """What to show of a run that came out wrong."""
    lines = (f"{j.verdict.outcome:8} {j.check.name}: {j.verdict.why}" for j in result.judged)
    return "\n".join([result.error or "", *lines, result.last_words])


@pytest.mark.parametrize(("specimen", "scenario", "check"), CATCHES)
def test_the_scenario_catches_the_bug_and_the_check_names_it(
    specimen: Specimen, scenario: Scenario, check: str
) -> None:
    result = run(specimen, scenario)
    assert result.outcome is Outcome.FAIL, verdicts(result)
    assert check in failing(result), verdicts(result)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scenario", HARMLESS)
def test_the_good_adapter_passes(scenario: Scenario, seed: int) -> None:
    result = run(GOOD, scenario, seed=seed)
    assert result.outcome is Outcome.PASS, verdicts(result)


@pytest.mark.parametrize("specimen", [pytest.param(GOOD, id="good"), *IN_PROCESS])
def test_where_nothing_happens_nothing_is_known(specimen: Specimen) -> None:
    result = run(specimen, QUIET)
    # How it ends can be seen in every run.
    ends_badly = "clean_stop" in specimen.caught.values()
    assert result.outcome is (Outcome.FAIL if ends_badly else Outcome.UNKNOWN), verdicts(result)
    assert failing(result).keys() <= {"clean_stop"}, verdicts(result)


# What only a process can show: all of them side by side on the real clock.
PROCESSES: Mapping[str, tuple[str, str | None]] = {
    "good": ("short-cycles", None),
    "does-not-stop": ("stop-when-steady", "clean_stop"),
    "loses-an-exception": ("reset", "stays_alive"),
    "dies-of-reset": ("reset", "stays_alive"),
    "dies-of-html": ("http-error-502", "stays_alive"),
    **{
        name: next(iter(specimen.caught.items()))
        for name, specimen in GALLERY.items()
        if specimen.process
    },
}


async def all_at_once() -> list[Result]:
    runs = (
        undisturbed(GALLERY.get(name, GOOD), scenarios()[scenario], "real")
        for name, (scenario, _) in PROCESSES.items()
    )
    return await asyncio.gather(*runs)


def test_processes_are_judged_by_what_the_operating_system_shows() -> None:
    with asyncio.Runner(loop_factory=loop_factory("real")) as runner:
        results = runner.run(all_at_once())
    for (name, (_, check)), result in zip(PROCESSES.items(), results, strict=True):
        wanted = set() if check is None else {check}
        assert wanted <= failing(result).keys(), f"{name}\n{verdicts(result)}"
        expected = Outcome.PASS if check is None else Outcome.FAIL
        assert result.outcome is expected, f"{name}\n{verdicts(result)}"
