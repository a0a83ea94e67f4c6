"""The gallery itself: that its specimens are what they claim to be."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Mapping

import pytest

from gallery import GALLERY, Adapter, Specimen
from gallery.matrix import GOOD, PAGE, README, TESTS, on_page, scenarios, summary
from gallery.specimen import Counting
from squall.checks import CHECKS
from squall.scenario import Scenario

ALWAYS = {name for name, check in CHECKS.items() if check.always}
STALE = "run `python -m gallery.matrix --write ../docs/matrix.md`"

OnPage = Mapping[tuple[str, str], str]

everyone = pytest.mark.parametrize("specimen", GALLERY.values(), ids=GALLERY.keys())


@pytest.fixture(scope="module")
def said() -> OnPage:
    """What the page says of each scenario with each adapter."""
    return on_page(PAGE.read_text(encoding="utf-8"))


@everyone
def test_each_says_what_it_does_wrong_and_where_that_was_seen(specimen: Specimen) -> None:
    assert specimen.about.startswith("It")
    assert specimen.about.endswith(".")
    assert specimen.bug.startswith("https://github.com/")


@everyone
def test_each_is_caught_by_a_check_in_a_scenario(specimen: Specimen) -> None:
    assert specimen.caught
    assert specimen.caught.keys() <= scenarios().keys()
    for scenario, check in specimen.caught.items():
        assert check in scenarios()[scenario].expect.keys() | ALWAYS


@pytest.mark.parametrize("scenario", scenarios().values(), ids=scenarios().keys())
def test_every_scenario_catches_a_specimen_by_a_check_that_it_names(scenario: Scenario) -> None:
    by = {each.caught[scenario.name] for each in GALLERY.values() if scenario.name in each.caught}
    assert by & (scenario.expect.keys() | ALWAYS), "it needs an adapter in tests/gallery that fails"


@everyone
def test_the_page_shows_each_as_caught(specimen: Specimen, said: OnPage) -> None:
    for scenario, name in specimen.caught.items():
        check = CHECKS[name]
        assert (check.id or name) in said.get((scenario, specimen.name), "").split(), STALE


def test_the_page_shows_that_the_good_adapter_passes_every_scenario(said: OnPage) -> None:
    passed = {scenario for scenario in scenarios() if said.get((scenario, GOOD.name)) == "·"}
    assert passed == scenarios().keys(), STALE


def body(adapter: type[Adapter]) -> list[str]:
    """The lines of its class, without what the gallery says of it."""
    _, _, rest = inspect.getsource(adapter).partition("class ")
    return rest.splitlines()


@everyone
def test_each_differs_from_the_good_adapter_by_a_few_lines(specimen: Specimen) -> None:
    family = specimen.adapter.__mro__
    own = [each for each in family[: family.index(Adapter)] if each is not Counting]
    assert sum(len(body(each)) for each in own) <= 25


def test_an_unknown_name_is_answered_with_those_that_are_known() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "gallery", "perfect"], cwd=TESTS, capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert "no adapter is called 'perfect'" in ran.stderr
    assert "never-reconnects" in ran.stderr


def test_the_readme_has_the_table_of_the_gallery() -> None:
    readme = README.read_text(encoding="utf-8")
    assert summary() in readme, STALE
