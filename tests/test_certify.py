"""`squall certify`: what it runs, keeps, resumes, and says with its exit code."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from certify_examples import recovered, scenario
from squall import pool
from squall.certify import folder as folder_module
from squall.certify.campaign import certify
from squall.certify.classes import VerdictClass
from squall.certify.folder import LOG_BYTES, Folder, key_for
from squall.certify.matrix import Matrix
from squall.checks import CHECKS, Judged
from squall.cli import main
from squall.errors import AdapterError, ScenarioError
from squall.history import Event, History
from squall.manifest import KnownFailure, Manifest
from squall.plan import Plan
from squall.profile import load_profile
from squall.run import Result, Setup
from squall.scenario import AdapterNeeds, Scenario
from squall.verdict import Outcome, Verdict

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 60.0

Act = Callable[["ScriptedRun"], Awaitable[Outcome | None]]


class ScriptedRun:
    """A run that does what the test says, and leaves a history and a log behind."""

    acts: dict[str, Act]
    ran: list[str]

    def __init__(self, scenario: Scenario, manifest: Manifest, setup: Setup) -> None:
        self.scenario, self.manifest, self.setup = scenario, manifest, setup

    async def execute(self) -> Result:
        name = f"{self.manifest.name}/{self.scenario.name}"
        self.ran.append(f"{name}:{self.setup.seed}")
        assert self.setup.folder is not None
        history = History(events=[*recovered(), *self._ready()])
        history.save(self.setup.folder / "history.jsonl")
        (self.setup.folder / "adapter.log").write_text("hello\n" * 30_000)
        outcome = Outcome.PASS
        if act := self.acts.get(name):
            outcome = await act(self) or outcome
        event = history.of("dialled")[1]
        verdict = Verdict(outcome, f"it is a {outcome}", (event,))
        return Result(
            scenario=self.scenario,
            seed=self.setup.seed,
            outcome=outcome,
            judged=(Judged(CHECKS["no_storm"](), verdict),),
            history=history,
            seconds=1.0,
            folder=self.setup.folder,
        )

    def _ready(self) -> list[Event]:
        if not self.manifest.env.get("VERSION"):
            return []
        return [Event(62.6, "adapter", "ready", None, {"version": self.manifest.env["VERSION"]})]


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Act]:
    """What runs do, by adapter and scenario; nothing, and they pass, where it says nothing."""
    ScriptedRun.acts, ScriptedRun.ran = {}, []
    monkeypatch.setattr(pool, "Run", ScriptedRun)
    return ScriptedRun.acts


async def fails(run: ScriptedRun) -> Outcome:
    return Outcome.FAIL


def plans(*manifests: Manifest, **changed: Any) -> list[Plan]:
    some = manifests or (Manifest(name="mine", command=("true",)),)
    plain = Plan(
        scenarios=(scenario("reset"), scenario("half-open")),
        manifest=some[0],
        profile=load_profile("default"),
        out=Path(),
    )
    return [replace(plain, manifest=each, **changed) for each in some]


def run(out: Path, *some: Plan, resume: bool = False) -> Matrix:
    return certify(some or plans(), Folder(out), lambda _: None, resume=resume)


def classes(matrix: Matrix) -> dict[str, str]:
    return {"/".join(key): cell.verdict.value for key, cell in matrix.cells.items()}


# -- running -------------------------------------------------------------------------------------


def test_every_scenario_meets_every_adapter(tmp_path: Path, acts: dict[str, Act]) -> None:
    acts["b/reset"] = fails
    both = [Manifest(name=name, command=("true",)) for name in "ab"]
    found = run(tmp_path / "out", *plans(*both))
    assert classes(found) == {
        "a/reset": "pass",
        "a/half-open": "pass",
        "b/reset": "storm",
        "b/half-open": "pass",
    }
    assert found.exit_code == 1


def test_adapters_share_the_machine_and_fleets_have_it_for_themselves(
    tmp_path: Path, acts: dict[str, Act]
) -> None:
    running: set[str] = set()
    together: list[frozenset[str]] = []

    async def look(run: ScriptedRun) -> None:
        name = f"{run.manifest.name}/{run.scenario.name}"
        running.add(name)
        together.append(frozenset(running))
        await asyncio.sleep(0.05)
        running.discard(name)

    fleet = scenario("herd", adapter=AdapterNeeds(count=30))
    both = [Manifest(name=name, command=("true",)) for name in "ab"]
    acts |= {f"{name}/{each}": look for name in "ab" for each in ("reset", "half-open", "herd")}
    run(tmp_path / "out", *plans(*both, scenarios=(scenario("reset"), fleet), jobs=2))
    assert frozenset({"a/reset", "b/reset"}) in together
    assert together[-2:] == [{"a/herd"}, {"b/herd"}]


def test_no_more_adapters_start_at_once_than_there_are_cores(
    tmp_path: Path, acts: dict[str, Act], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    running: set[str] = set()
    starting: set[str] = set()
    seen: list[tuple[int, int]] = []
    together = asyncio.Event()

    async def act(run: ScriptedRun) -> None:
        name = run.scenario.name
        running.add(name)
        starting.add(name)
        seen.append((len(starting), len(running)))
        await asyncio.sleep(0.05)
        starting.discard(name)
        run.setup.on_steady()
        if len(running) == 4:
            together.set()
        await asyncio.wait_for(together.wait(), TIMEOUT)

    names = ("one", "two", "three", "four")
    acts |= {f"mine/{name}": act for name in names}
    run(tmp_path / "out", *plans(scenarios=tuple(map(scenario, names)), jobs=4))
    assert max(starts for starts, _ in seen) == 2
    assert max(runs for _, runs in seen) == 4


def test_who_does_not_start_holds_nobody_up_for_long(
    tmp_path: Path, acts: dict[str, Act], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    monkeypatch.setattr(pool, "STARTS_WITHIN", 0.01)
    second = asyncio.Event()

    async def stuck(run: ScriptedRun) -> None:
        await asyncio.wait_for(second.wait(), TIMEOUT)

    async def begins(run: ScriptedRun) -> None:
        second.set()

    acts |= {"mine/reset": stuck, "mine/half-open": begins}
    found = run(tmp_path / "out", *plans(jobs=2))
    assert set(classes(found).values()) == {"pass"}


def test_proxy_and_tls_are_those_of_run_and_stand_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = f"certify reference --scenarios reset --clock virtual --tls --out {out}"
    assert main(words.split()) == 0
    said = json.loads((out / "index.json").read_text())
    assert (said["proxy"], said["tls"]) == ("embedded", True)
    assert "TLS" in (out / "index.html").read_text()
    cell = json.loads((out / "reference" / "reset" / "cell.json").read_text())
    assert cell["runs"][0]["reproduce"].endswith("--clock virtual --tls")
    history = gzip.decompress((out / "reference" / "reset" / "history.jsonl.gz").read_bytes())
    assert b'"tls_established"' in history
    assert main(f"{words}2 --proxy toxiproxy".split()) == 3
    assert "--clock virtual" in capsys.readouterr().err


def test_adapters_of_the_same_name_have_folders_of_their_own(
    tmp_path: Path, acts: dict[str, Act]
) -> None:
    twins = [Manifest(name="../My Adapter!", command=("true",))] * 2
    run(tmp_path / "out", *plans(*twins))
    assert {each.name for each in (tmp_path / "out").iterdir() if each.is_dir()} == {
        "my-adapter",
        "my-adapter-2",
    }
    assert key_for("日本", ()) == "adapter"


def test_the_version_is_the_one_that_the_adapter_told(tmp_path: Path, acts: dict[str, Act]) -> None:
    told = Manifest(name="mine", command=("true",), env={"VERSION": "4.5.90"})
    found = run(tmp_path / "out", *plans(told))
    assert found.columns[0].title == "mine 4.5.90"
    assert "4.5.90" in (tmp_path / "out" / "index.html").read_text()


def test_repetitions_make_one_cell_of_which_the_worst_run_is_shown(
    tmp_path: Path, acts: dict[str, Act]
) -> None:
    async def sometimes(run: ScriptedRun) -> Outcome:
        return Outcome.FAIL if run.setup.seed == 8 else Outcome.PASS

    acts["mine/reset"] = sometimes
    found = run(tmp_path / "out", *plans(repeat=3, seed=7))
    cell = found.cells["mine", "reset"]
    assert [case.seed for case in cell.cases] == [7, 8, 9]
    assert (cell.verdict, cell.agreeing, cell.case.seed) == (VerdictClass.STORM, 1, 8)
    kept = {each.name for each in (tmp_path / "out" / "mine" / "reset").iterdir()}
    assert {"history.jsonl.gz", "history-2.jsonl.gz", "history-3.jsonl.gz"} <= kept


def test_two_scenarios_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="two scenarios are called 'reset'"):
        run(tmp_path / "out", *plans(scenarios=(scenario("reset"), scenario("reset"))))


def test_a_known_failure_fails_nothing(tmp_path: Path, acts: dict[str, Act]) -> None:
    acts["mine/reset"] = fails
    known = Manifest(
        name="mine",
        command=("true",),
        expect={"reset": KnownFailure(reason="so"), "half-open": KnownFailure(reason="so")},
    )
    found = run(tmp_path / "out", *plans(known))
    assert classes(found) == {"mine/reset": "known failure", "mine/half-open": "pass"}
    assert found.cells["mine", "half-open"].surprising
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("outcome", "code"), [(Outcome.FAIL, 1), (Outcome.UNKNOWN, 2), (Outcome.UNSUPPORTED, 0)]
)
def test_exit_codes_are_those_of_run(
    tmp_path: Path, acts: dict[str, Act], outcome: Outcome, code: int
) -> None:
    async def act(run: ScriptedRun) -> Outcome:
        return outcome

    acts["mine/reset"] = act
    assert run(tmp_path / "out").exit_code == code


def test_our_own_mistake_is_a_doubt_and_the_rest_goes_on(
    tmp_path: Path, acts: dict[str, Act]
) -> None:
    async def crash(run: ScriptedRun) -> None:
        raise KeyError("oops")

    acts["mine/reset"] = crash
    found = run(tmp_path / "out")
    assert classes(found) == {"mine/reset": "unknown", "mine/half-open": "pass"}
    assert found.exit_code == 2
    noted = tmp_path / "out" / "mine" / "reset" / "internal-error.txt"
    assert "in crash" in noted.read_text()


# -- what is kept --------------------------------------------------------------------------------


def test_a_cell_keeps_its_history_whole_and_the_end_of_its_log(
    tmp_path: Path, acts: dict[str, Act]
) -> None:
    run(tmp_path / "out")
    folder = tmp_path / "out" / "mine" / "reset"
    lines = gzip.decompress((folder / "history.jsonl.gz").read_bytes()).decode().splitlines()
    assert len(lines) == len(list(recovered()))
    log = gzip.decompress((folder / "adapter.log.gz").read_bytes())
    assert log.startswith(b"[48928 bytes before this are left out]\n")
    assert len(log) < LOG_BYTES + 100
    assert not (tmp_path / "out" / ".running").exists()


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.links += [found[key] or "" for key in ("href", "src") if key in found]
        self.anchors |= {found["id"] or ""} if "id" in found else set()


def broken_links(root: Path) -> Iterator[str]:
    pages = {path: Links(path.read_text()) for path in root.rglob("*.html")}
    for path, page in pages.items():
        for link in page.links:
            if link.startswith(("https://", "data:")):
                continue
            file, _, anchor = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            if not target.exists() or (anchor and anchor not in pages[target].anchors):
                yield f"{path}: {link}"


def test_every_link_leads_somewhere(tmp_path: Path, acts: dict[str, Act]) -> None:
    acts["mine/reset"] = fails
    late = scenario("late", clocks=("virtual",))
    run(tmp_path / "out", *plans(scenarios=(scenario("reset"), late), repeat=2))
    assert list(broken_links((tmp_path / "out").resolve())) == []


def test_a_page_needs_nothing_from_elsewhere(tmp_path: Path, acts: dict[str, Act]) -> None:
    run(tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        if path.suffix in (".css", ".js"):
            assert "//" not in path.read_text().replace("// ", ""), path
        elif path.suffix == ".html":
            outside = [link for link in Links(path.read_text()).links if "//" in link]
            assert all(link.startswith("https://example.org/bugs/") for link in outside)


# -- resuming ------------------------------------------------------------------------------------


def test_what_is_done_is_not_run_again(tmp_path: Path, acts: dict[str, Act]) -> None:
    acts["mine/reset"] = fails
    first = run(tmp_path / "out")
    ScriptedRun.ran.clear()
    again = run(tmp_path / "out", resume=True)
    assert ScriptedRun.ran == []
    assert classes(again) == classes(first)
    assert again.exit_code == first.exit_code == 1
    before, after = (each.cells["mine", "reset"].case for each in (first, again))
    assert [j.verdict for j in before.judged] == [j.verdict for j in after.judged]
    assert replace(before, judged=(), times={}, history=None) == replace(after, judged=(), times={})


def another_manifest(plan: Plan) -> Plan:
    return replace(plan, manifest=replace(plan.manifest, settings={"backoff_max": 9}))


def another_scenario(plan: Plan) -> Plan:
    return replace(plan, scenarios=(scenario("reset", settle=9.0), scenario("half-open")))


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (another_manifest, 2),
        (another_scenario, 1),
        (lambda plan: replace(plan, seed=4), 2),
        (lambda plan: replace(plan, profile=load_profile("strict")), 2),
        (lambda plan: replace(plan, jobs=1, out=Path("elsewhere")), 0),
    ],
)
def test_what_has_changed_is_run_again(
    tmp_path: Path, acts: dict[str, Act], change: Callable[[Plan], Plan], count: int
) -> None:
    run(tmp_path / "out")
    ScriptedRun.ran.clear()
    run(tmp_path / "out", *map(change, plans()), resume=True)
    assert len(ScriptedRun.ran) == count


def test_another_version_of_squall_judges_anew(
    tmp_path: Path, acts: dict[str, Act], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "out")
    ScriptedRun.ran.clear()
    monkeypatch.setattr(folder_module, "__version__", "99")
    run(tmp_path / "out", resume=True)
    assert len(ScriptedRun.ran) == 2


def test_what_has_no_verdict_or_cannot_be_read_is_run_again(
    tmp_path: Path, acts: dict[str, Act]
) -> None:
    async def crash(run: ScriptedRun) -> None:
        raise KeyError("oops")

    acts["mine/reset"] = crash
    run(tmp_path / "out")
    del acts["mine/reset"]
    (tmp_path / "out" / "mine" / "half-open" / "cell.json").write_text("{")
    ScriptedRun.ran.clear()
    found = run(tmp_path / "out", resume=True)
    assert sorted(ScriptedRun.ran) == ["mine/half-open:0", "mine/reset:0"]
    assert set(classes(found).values()) == {"pass"}


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_an_interrupted_certification_keeps_what_it_has(
    tmp_path: Path, acts: dict[str, Act], clock: str
) -> None:
    async def interrupt(run: ScriptedRun) -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    acts["mine/half-open"] = interrupt
    one = plans(
        Manifest(name="mine", command=("true",), object="nothing:here"), jobs=1, clock=clock
    )
    found = run(tmp_path / "out", *one)
    assert classes(found) == {"mine/reset": "pass"}
    assert found.exit_code == 130
    assert "Interrupted: 1 of 2 cells" in (tmp_path / "out" / "index.html").read_text()
    del acts["mine/half-open"]
    ScriptedRun.ran.clear()
    again = run(tmp_path / "out", *one, resume=True)
    assert ScriptedRun.ran == ["mine/half-open:0"]
    assert again.exit_code == 0


def test_a_certification_that_was_killed_keeps_the_cells_that_it_had(
    tmp_path: Path, acts: dict[str, Act]
) -> None:
    run(tmp_path / "out")
    out = tmp_path / "out"
    for path in ("index.html", "index.json", "mine/reset/cell.json"):
        (out / path).unlink()
    (out / ".running" / "mine").mkdir(parents=True)
    ScriptedRun.ran.clear()
    run(out, resume=True)
    assert ScriptedRun.ran == ["mine/reset:0"]


def test_somebody_elses_files_are_safe(tmp_path: Path, acts: dict[str, Act]) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(AdapterError, match="is not empty"):
        run(tmp_path)
    with pytest.raises(AdapterError, match="holds no report"):
        run(tmp_path, resume=True)
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.tex"]


# -- for real ------------------------------------------------------------------------------------


def test_the_reference_adapter_is_certified_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    words = ["certify", "reference", "--scenarios", "reset", "half-open"]
    options = ["--clock", "virtual", "--repeat", "2", "--out", str(out)]
    assert main([*words, *options]) == 0
    said = capsys.readouterr().out
    assert "reference passes both scenarios" in said
    assert f"report: {out / 'index.html'}" in said
    index = json.loads((out / "index.json").read_text())
    assert index["adapters"]["reference"]["cells"]["half-open"]["runs"] == 2
    assert list(broken_links(out.resolve())) == []
    assert main([*words, *options]) == 3
    assert main([*words, *options, "--resume"]) == 0
    assert "0 runs to do, 2 cells kept" in capsys.readouterr().out


def test_wrong_words_end_with_wrong_use(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "report")]
    assert main(["certify", "no-such.yaml", *out]) == 3
    assert main(["certify", "reference", "--scenarios", "half-opne", *out]) == 3
    assert main(["certify", "reference", "--covers", "Z-*", *out]) == 3
    assert not (tmp_path / "report").exists()


ADAPTER = """
import json, os, signal, sys
print(json.dumps({"event": "ready", "commands": [], "version": "0.0.1"}), flush=True)
sys.stderr.write("up\\n")
sys.stderr.flush()
sys.stdin.read()
"""


def test_ctrl_c_leaves_a_report_and_no_process(tmp_path: Path) -> None:
    (tmp_path / "adapter.py").write_text(ADAPTER)
    (tmp_path / "adapter.yaml").write_text(
        f"name: idle\ncommand: [{sys.executable}, adapter.py]\nsupports: [public, private]\n"
    )
    paths = [str(ROOT / folder) for folder in ("harness", "proxy", "reference_adapter")]
    words = "certify adapter.yaml --scenarios reset half-open --jobs 2 --out out"
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "squall", *words.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as squall:
        try:
            assert squall.stdout is not None
            assert "2 runs to do" in squall.stdout.readline()
            squall.send_signal(signal.SIGINT)
            said, _ = squall.communicate(timeout=TIMEOUT)
        finally:
            squall.kill()
    assert squall.returncode == 130, said
    assert "Interrupted: 0 of 2 cells are done." in said
    assert (tmp_path / "out" / "index.html").exists()
