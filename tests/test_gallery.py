"""The gallery itself: that its specimens are what they claim to be."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from gallery import GALLERY, Adapter, Specimen
from gallery.matrix import README, TESTS, scenarios, summary
from gallery.specimen import Counting
from squall.checks import CHECKS

everyone = pytest.mark.parametrize("specimen", GALLERY.values(), ids=GALLERY.keys())


@everyone
def test_each_says_what_it_does_wrong_and_where_that_was_seen(specimen: Specimen) -> None:
    assert specimen.about.startswith("It")
    assert specimen.about.endswith(".")
    assert specimen.bug.startswith("https://github.com/")


@everyone
def test_each_is_caught_by_a_check_in_a_scenario(specimen: Specimen) -> None:
    assert specimen.caught
    assert specimen.caught.keys() <= scenarios().keys()
    assert set(specimen.caught.values()) <= CHECKS.keys()


@everyone
def test_each_differs_from_the_good_adapter_by_a_few_lines(specimen: Specimen) -> None:
    family = specimen.adapter.__mro__
    own = [each for each in family[: family.index(Adapter)] if each is not Counting]
    assert sum(len(inspect.getsource(each).splitlines()) for each in own) <= 25


def test_an_unknown_name_is_answered_with_those_that_are_known() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "gallery", "perfect"], cwd=TESTS, capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert "no adapter is called 'perfect'" in ran.stderr
    assert "never-reconnects" in ran.stderr


def test_the_readme_has_the_table_of_the_gallery() -> None:
    readme = README.read_text(encoding="utf-8")
    assert summary() in readme, "run `python -m gallery.matrix --write ../docs/matrix.md`"
