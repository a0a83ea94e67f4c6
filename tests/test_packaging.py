from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from squall import __version__
from squall.catalogue import shipped

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_version_is_said_once_more_and_the_same(project: dict[str, Any]) -> None:
    assert project["project"]["version"] == __version__


def test_every_entry_point_leads_somewhere(project: dict[str, Any]) -> None:
    scripts = project["project"]["scripts"]
    plugins = project["project"]["entry-points"]["pytest11"]
    for target in (*scripts.values(), *plugins.values()):
        module, _, name = target.partition(":")
        found = importlib.import_module(module)
        assert not name or callable(getattr(found, name))


def test_every_package_is_typed_and_in_the_wheel(project: dict[str, Any]) -> None:
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    roots = ("harness", "proxy", "reference_adapter")
    packages = sorted(path.parent for root in roots for path in ROOT.glob(f"{root}/*/__init__.py"))
    assert sorted(ROOT / package for package in wheel["packages"]) == packages
    assert all((package / "py.typed").exists() for package in packages)
    assert wheel["force-include"] == {"scenarios": "squall/scenarios"}


def test_the_catalogue_is_found_in_a_checkout() -> None:
    assert {path.parent for path in shipped().values()} == {ROOT / "scenarios"}


def test_the_catalogue_is_found_in_an_installed_package(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, squall.catalogue as catalogue\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "catalogue.__file__ = str(here / 'catalogue.py')\n"
        "print(catalogue.shipped() == {'mine': here / 'scenarios' / 'mine.yaml'})"
    )
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "mine.yaml").touch()
    words = [sys.executable, "-c", code, str(tmp_path.resolve())]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "True\n"
