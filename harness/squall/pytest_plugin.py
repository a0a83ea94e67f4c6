"""The pytest plugin: scenario files are tests, and tests can run scenarios.

    pytest --squall-adapter=my-adapter.yaml scenarios/          files, without a line of Python

    @pytest.mark.squall("half-open", seed=7)                    the same in Python
    def test_survives_a_dead_line(squall_run):
        result = squall_run()
        assert not result.history.of("limit_exceeded")

A failure shows the text report; what cannot be told fails too, in its own words; what the adapter
does not support is skipped, and what its manifest announces is an expected failure.

Every pytest on a machine with Squall loads this module, so it imports nothing of Squall until a
scenario is to be run.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from squall.manifest import Manifest
    from squall.results import Case
    from squall.run import Result
    from squall.scenario import Scenario

MARK = (
    "squall(scenario, *, adapter=None, seed=None, profile=None, clock=None): what the fixture "
    "squall_run runs; what is left out is taken from the --squall options"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options are those of `squall run`."""
    group = parser.getgroup("squall", "chaos tests of WebSocket adapters")
    group.addoption(
        "--squall-adapter",
        metavar="MANIFEST",
        help="the adapter under test; with it, scenario files (*.yaml) are collected as tests",
    )
    group.addoption("--squall-profile", metavar="NAME", default="default", help="thresholds")
    group.addoption(
        "--squall-clock", choices=("real", "virtual"), default="real", help="default: real"
    )
    group.addoption("--squall-seed", metavar="N", type=int, help="seed of all chance")
    group.addoption(
        "--squall-out", metavar="DIR", help="where histories are kept (default: pytest's cache)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", MARK)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ScenarioFile | None:
    """Scenario files, where an adapter is named or the file is."""
    if file_path.suffix not in (".yaml", ".yml"):
        return None
    asked = parent.config.getoption("squall_adapter") or parent.session.isinitpath(file_path)
    if not asked or not _is_scenario(file_path):
        return None
    return ScenarioFile.from_parent(parent, path=file_path)


def _is_scenario(path: Path) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    return all(re.search(rf"^{key}\s*:", text, re.MULTILINE) for key in ("steps", "expect"))


class ScenarioFile(pytest.File):
    """A file that holds a scenario, or several variants of one."""

    def collect(self) -> Iterable[ScenarioItem]:
        """The scenario, or its variants; a mistake in the file is an error of the collection."""
        from squall.errors import ScenarioError
        from squall.scenario import Scenario

        try:
            scenarios = Scenario.load_all(self.path)
        except ScenarioError as error:
            raise self.CollectError(str(error)) from None
        for scenario in scenarios:
            yield ScenarioItem.from_parent(self, name=scenario.name, scenario=scenario)


class ScenarioItem(pytest.Item):
    """A scenario as a test."""

    def __init__(self, *, scenario: Scenario, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._scenario = scenario

    def runtest(self) -> None:
        """Run it; returns where it passes."""
        _run(self.config, self._scenario, _folder(self.config, self.nodeid), check=True)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any) -> Any:
        """What the user can mend is a message and no traceback."""
        from squall.errors import SquallError

        if isinstance(excinfo.value, SquallError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, *args)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it is, for the headings of a report."""
        return self.path, 0, self.name


class SquallRun:
    """What the fixture `squall_run` is: call it, and it runs a scenario."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._config: pytest.Config = request.config
        self._node: pytest.Item = request.node
        self._calls = 0

    def __call__(
        self, scenario: Scenario | Path | str | None = None, *, check: bool = True, **choice: Any
    ) -> Result:
        """Run a scenario: a name of the catalogue, a file, a value, or what the mark says.

        `choice` is `adapter` (a manifest or its path), `seed`, `profile` and `clock`. A result
        that is no pass ends the test, unless `check` is false.
        """
        mark = self._node.get_closest_marker("squall")
        if mark is not None:
            scenario = scenario or (mark.args[0] if mark.args else None)
            choice = {**mark.kwargs, **choice}
        if scenario is None:
            raise pytest.UsageError(
                "squall_run: name a scenario, squall_run('half-open'), or mark the test with "
                "@pytest.mark.squall('half-open')"
            )
        self._calls += 1
        number = f"-{self._calls}" if self._calls > 1 else ""
        folder = _folder(self._config, self._node.nodeid + number)
        return _run(self._config, scenario, folder, check=check, **choice)


@pytest.fixture
def squall_run(request: pytest.FixtureRequest) -> SquallRun:
    """Run a scenario against the adapter: `squall_run("half-open")` returns its `Result`."""
    return SquallRun(request)


def _folder(config: pytest.Config, test: str) -> Path:
    """The folder of a test's run; no two tests share one, wherever pytest-xdist runs them."""
    chosen = config.getoption("squall_out")
    out = Path(chosen) if chosen else Path(config.rootpath, ".pytest_cache", "squall")
    return out / re.sub(r"[^\w.-]+", "-", test).strip("-")


def _run(
    config: pytest.Config,
    scenario: Scenario | Path | str,
    folder: Path,
    *,
    check: bool,
    adapter: Manifest | Path | str | None = None,
    seed: int | None = None,
    profile: str | None = None,
    clock: str | None = None,
) -> Result:
    from squall.manifest import Manifest
    from squall.plan import REFERENCE, Plan, adapter_named, jobs, same_again
    from squall.pool import run_job
    from squall.profile import load_profile
    from squall.virtual_clock import loop_factory

    value = _scenario(scenario)
    named = adapter or config.getoption("squall_adapter") or REFERENCE
    profile = profile or config.getoption("squall_profile")
    clock = clock or config.getoption("squall_clock")
    seed = config.getoption("squall_seed") if seed is None else seed
    by_name = REFERENCE if isinstance(named, Manifest) else str(named)
    plan = Plan(
        scenarios=(value,),
        manifest=named if isinstance(named, Manifest) else adapter_named(by_name),
        profile=load_profile(profile),
        out=folder,
        seed=seed,
        clock=clock,
        options=same_again(by_name, profile, clock),
    )
    with asyncio.Runner(loop_factory=loop_factory(clock)) as runner:
        case, result = runner.run(run_job(plan, jobs(plan)[0]))
    if result is None:
        pytest.skip(case.why)
    if check:
        _insist(case)
    return result


def _scenario(wanted: Scenario | Path | str) -> Scenario:
    from squall import catalogue
    from squall.errors import ScenarioError
    from squall.scenario import Scenario

    if isinstance(wanted, Scenario):
        return wanted
    found = catalogue.find([str(wanted)])
    if len(found) > 1:
        names = ", ".join(scenario.name for scenario in found)
        raise ScenarioError(f"{wanted} means several scenarios; name one of them: {names}")
    return found[0]


def _insist(case: Case) -> None:
    """End the test, unless the case is a pass."""
    from squall.report import explanation
    from squall.verdict import Outcome

    if case.expected:
        assert case.known is not None
        pytest.xfail(case.known.reason)
    if case.outcome is Outcome.UNSUPPORTED:
        pytest.skip(case.why)
    if case.outcome is not Outcome.PASS:
        pytest.fail("\n".join([case.outcome.upper(), *explanation(case)]), pytrace=False)
