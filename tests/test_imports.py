"""The arrows: what may import what. An awkward import means that the code wants to live elsewhere.

squall            ──▶ squall_proxy
squall.load       ──▶ squall_reference    (the adapters of a fleet, on Locust's side alone)
squall_proxy      ──▶ nothing of ours
squall_reference  ──▶ nothing of ours

cli, pytest_plugin ──▶ suite ──▶ run ──▶ checks, testbed, driver ──▶ exchange, history
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "squall": ROOT / "harness" / "squall",
    "squall_proxy": ROOT / "proxy" / "squall_proxy",
    "squall_reference": ROOT / "reference_adapter" / "squall_reference",
}
# What a part of the harness may not know of. A part is a module, or a package with all in it.
FORBIDDEN = {
    "errors": {"*"},
    "history": {"*", "!errors"},
    "verdict": {"*", "!history"},
    "service": {"*", "!history"},
    "checks": {"*", "!errors", "!history", "!service", "!verdict"},
    "exchange": {"*", "!errors"},
    "driver": {"*", "!errors"},
    "pages": {"*"},
    "prometheus": {"*"},
    "witness": {"*"},
    "virtual_clock": {"*"},
    "run": {"suite", "cli", "pytest_plugin", "report", "results", "junit"},
    "suite": {"cli", "pytest_plugin"},
    "report": {"cli", "pytest_plugin"},
}


# What runs in Locust's processes. Importing locust patches the whole process.
LOCUST_SIDE = {"locustfile", "master", "panel", "shape", "users", "worker"}
GEVENT_SIDE = LOCUST_SIDE | {"engine"}
ADAPTERS = LOCUST_SIDE | {"adapters"}


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            if "." in module:
                yield module
            else:  # `from squall import witness` names the module behind the word `import`
                yield from (f"{module}.{alias.name}" for alias in node.names)


def modules(package: str) -> list[Path]:
    return sorted(PACKAGES[package].rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_between_the_packages_there_is_one_arrow(package: str) -> None:
    for path in modules(package):
        allowed = {"squall": {"squall", "squall_proxy"}}.get(package, {package})
        if path.parent.name == "load" and path.stem in ADAPTERS:
            allowed = {*allowed, "squall_reference"}
        for name in imports_of(path):
            top = name.partition(".")[0]
            assert top not in PACKAGES or top in allowed, f"{path} imports {name}"


@pytest.mark.parametrize("part", FORBIDDEN)
def test_the_parts_of_the_harness_keep_their_arrows(part: str) -> None:
    rules = FORBIDDEN[part]
    allowed = {rule[1:] for rule in rules if rule.startswith("!")} | {part}
    folder = PACKAGES["squall"]
    paths = [folder / f"{part}.py"] if (folder / f"{part}.py").exists() else []
    paths += sorted((folder / part).rglob("*.py"))
    assert paths, f"there is no part {part}"
    for path in paths:
        for name in imports_of(path):
            top, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if top != "squall" or not other or other.startswith("__"):
                continue
            wrong = other in rules or ("*" in rules and other not in allowed)
            assert not wrong, f"{path} imports {name}"


def on_the_side(path: Path, side: set[str]) -> bool:
    return path.parent == PACKAGES["squall"] / "load" and path.stem in side


def test_locust_is_imported_by_its_own_side_of_a_storm_alone() -> None:
    patching = {"locust": LOCUST_SIDE, "gevent": GEVENT_SIDE, "flask": LOCUST_SIDE}
    for package in PACKAGES:
        for path in modules(package):
            for name in imports_of(path):
                side = patching.get(name.split(".")[0])
                assert side is None or on_the_side(path, side), f"{path} imports {name}"


def test_nothing_of_squall_imports_locusts_side_of_a_storm() -> None:
    for path in modules("squall"):
        for name in imports_of(path):
            if name.startswith("squall.load.") and name.split(".")[2] in ADAPTERS | GEVENT_SIDE:
                assert on_the_side(path, ADAPTERS | GEVENT_SIDE), f"{path} imports {name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_imported_on_its_own(package: str) -> None:
    root = PACKAGES[package].parent
    extra = str(PACKAGES["squall_proxy"].parent) if package == "squall" else ""
    code = f"import sys; sys.path[:0] = [{str(root)!r}, {extra!r}]; import {package}"
    subprocess.run([sys.executable, "-c", code], check=True)
