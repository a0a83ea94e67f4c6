"""The command line: `squall run`, and what helps around it. docs/command-line.md says it in full.

Nothing happens here but the reading of words: `squall.suite` runs, `squall.report` tells,
`squall.serve` keeps the mock exchange or the proxy up. Whatever a user can mend ends with one
message and exit code 3.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from squall import catalogue, serve
from squall.arguments import RUNS, WRONG_USE, parser
from squall.certify import command as certify
from squall.checks import Check
from squall.doctor import examination
from squall.errors import AdapterError, HistoryError, SquallError
from squall.events_schema import EVENTS_SCHEMA
from squall.hosting import command as hosting
from squall.load import command as load
from squall.load import storm_file
from squall.manifest import Manifest
from squall.options import Options, chosen
from squall.options import plan as plan_of
from squall.plan import DEFAULT_PROFILE, REFERENCE, Plan, adapter_named
from squall.profile import load_profile
from squall.report import Terminal, TextReport, counted
from squall.results import Case, Summary
from squall.results_schema import RESULTS_SCHEMA
from squall.scenario import Scenario
from squall.schema import schema
from squall.suite import Began, Notice, run_suite

INTERRUPTED = 130


def main(words: Sequence[str] | None = None) -> int:
    """Read the words of a command line, do what they say, return the exit code."""
    top = parser()
    options = top.parse(sys.argv[1:] if words is None else words)
    if options.act is None:
        top.print_help()
        return WRONG_USE
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an adapter may say anything
    code = _carry_out(options)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read this has gone (`| head`): Python would complain about it at its own end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _carry_out(options: Options) -> int:
    try:
        return _ACTS[options.act](options)
    except SquallError as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return 0


# -- run and check -------------------------------------------------------------------------------


def _run(options: Options) -> int:
    scenarios = chosen(options)
    plan = replace(
        plan_of(options, scenarios, options.adapter, _manifest(options), options.out or RUNS),
        fail_fast=options.fail_fast,
    )
    if options.command:
        plan = replace(plan, options=(*plan.options, "--", *options.command))
    if options.out is None:
        plan = replace(plan, out=_new_folder(RUNS, datetime.now()))
    total = len(scenarios) * plan.repeat
    report = TextReport(Terminal(sys.stdout), total, quiet=options.quiet)
    report.header(_header(plan))

    def tell(notice: Notice) -> None:
        if isinstance(notice, Began):
            report.began(notice.name)
        else:
            report.ended(notice.case)

    summary = run_suite(plan, tell)
    report.end(summary, plan.out)
    return summary.exit_code


def _header(plan: Plan) -> str:
    total = len(plan.scenarios) * plan.repeat
    at_once = min(total, plan.side_by_side)
    together = f", {at_once} at once" if at_once > 1 else ""
    seed = "each scenario's seed" if plan.seed is None else f"seed {plan.seed}"
    return (
        f"{plan.manifest.name} ({plan.manifest.dialect}), "
        f"{counted(total, 'run')}{together}, "
        f"profile {plan.profile.name}, {seed}, {plan.clock} clock"
    )


def _manifest(options: Options) -> Manifest:
    if not options.command:
        return adapter_named(options.adapter)
    if options.adapter != REFERENCE:
        raise AdapterError("name the adapter once: with --adapter, or as a command after --")
    return Manifest.of_command(options.command)


def _new_folder(runs: Path, now: datetime) -> Path:
    """A folder that is nobody else's, and a link `latest` to it where links are possible."""
    stamp = f"{now:%Y%m%d-%H%M%S}"
    number = 1
    while True:
        folder = runs / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            number += 1
    link = runs / f".latest-{folder.name}"
    try:
        link.symlink_to(folder.name, target_is_directory=True)
        link.replace(runs / "latest")
    except OSError:
        link.unlink(missing_ok=True)
    return folder


def _load(options: Options) -> int:
    return load.run(options, lambda folder: _new_folder(folder, datetime.now()))


def _doctor(options: Options) -> int:
    profile = load_profile(DEFAULT_PROFILE)
    return examination(_manifest(options), profile, Terminal(sys.stdout))


def _check(options: Options) -> int:
    began, started = time.monotonic(), datetime.now().astimezone()
    paths = [path for word in options.histories for path in _histories(Path(word))]
    report = TextReport(Terminal(sys.stdout), len(paths), quiet=options.quiet)
    cases: list[Case] = []
    for path in paths:
        cases.append(Case.from_history(path))
        report.ended(cases[-1])
    summary = Summary("", "", "", None, started, tuple(cases), time.monotonic() - began)
    report.end(summary, None)
    return summary.exit_code


def _histories(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    own = sorted(path.glob("history.jsonl*"))
    found = own[:1] or sorted(path.glob("*/history.jsonl"))
    if not found:
        raise HistoryError(f"{path}: there is no history.jsonl in this folder, nor one below it")
    return found


# -- what there is -------------------------------------------------------------------------------


def _list(options: Options) -> int:
    scenarios = catalogue.select(catalogue.find(options.scenarios), options.covers)
    if options.json:
        print(json.dumps([_listed(scenario) for scenario in scenarios], indent=1))
        return 0
    wide = max((len(scenario.name) for scenario in scenarios), default=0)
    for scenario in scenarios:
        needs = f"  [needs {', '.join(sorted(scenario.needs))}]" if scenario.needs else ""
        print(f"{scenario.name:<{wide}}  {scenario.about}")
        print(f"{'':<{wide}}  {', '.join(_short_tags(scenario))}{needs}")
    return 0


def _listed(scenario: Scenario) -> dict[str, object]:
    return {
        "name": scenario.name,
        "covers": _short_tags(scenario),
        "about": scenario.about,
        "needs": sorted(scenario.needs),
        "clocks": list(scenario.clocks),
    }


def _short_tags(scenario: Scenario) -> list[str]:
    return [tag for tag in catalogue.tags(scenario) if "://" not in tag]


def _show(options: Options) -> int:
    profile = load_profile(options.profile)
    scenarios = catalogue.find([options.scenario])
    for path in dict.fromkeys(scenario.path for scenario in scenarios):
        assert path is not None
        print(f"# {path}\n{path.read_text(encoding='utf-8').rstrip()}\n")
    print(f"# What is judged, with the thresholds of the profile '{profile.name}'")
    # What the variants of a file are judged by is the same as a rule, and then said once.
    judged: dict[tuple[Check, ...], list[str]] = {}
    for scenario in scenarios:
        judged.setdefault(tuple(profile.checks(scenario.expect)), []).append(scenario.name)
    for checks, names in judged.items():
        print(f"\n# {', '.join(names)}")
        for check in checks:
            _show_check(check)
    return 0


def _show_check(check: Check) -> None:
    name = f"{check.name} ({check.id})" if check.id else check.name
    said = ", ".join(f"{key}={value}" for key, value in check.as_dict().items())
    needs = f"  [needs {', '.join(check.needs)}]" if check.needs else ""
    print(f"\n{name}{': ' if said else ''}{said}{needs}")
    print(f"    {(check.__doc__ or '').strip().splitlines()[0]}")


def _validate(options: Options) -> int:
    wrong = 0
    for word in options.files:
        try:
            print(f"{word}: {_valid(Path(word))}")
        except SquallError as error:
            wrong += 1
            print(error, file=sys.stderr)
    return WRONG_USE if wrong else 0


def _valid(path: Path) -> str:
    """What kind of file this is, and that it is in order."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    top = {line.split(":")[0] for line in text.splitlines()}
    if top & {"command", "object"} and "steps" not in top:
        Manifest.load(path)
        return "a manifest, in order"
    if "storm" in top:
        storm_file.load(path)
        return "a storm, in order"
    scenarios = catalogue.find([str(path)])
    return f"{counted(len(scenarios), 'scenario')}, in order"


def _schema(options: Options) -> int:
    written = {"results": RESULTS_SCHEMA, "events": EVENTS_SCHEMA}
    print(json.dumps(written.get(options.file) or schema(options.file), indent=2))
    return 0


# -- parts on their own --------------------------------------------------------------------------


def _exchange(options: Options) -> int:
    port = options.api_port
    hosting.exchange(
        hosting.Hosting(
            dialect=options.dialect,
            host=options.host,
            port=options.port,
            settings=options.set,
            processes=options.processes,
            thin=options.wire == "thin" or (options.wire is None and options.processes > 1),
            api=None if port is None else (options.api_host, port),
            events=options.events,
            wall_clock=options.wall_clock,
        ),
        _say,
        _complain,
    )
    return 0


def _proxy(options: Options) -> int:
    port = options.api_port
    if port is None and options.upstream is None:
        port = serve.API_PORT
    serve.proxy(
        serve.Line(options.upstream, options.listen, tuple(options.fault), options.tls),
        None if port is None else (options.api_host, port),
        _say,
        seed=options.seed,
        version=options.toxiproxy_version,
    )
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


_ACTS: Mapping[str, Callable[[Options], int]] = {
    "run": _run,
    "certify": certify.run,
    "load": _load,
    "doctor": _doctor,
    "check": _check,
    "list": _list,
    "show": _show,
    "validate": _validate,
    "schema": _schema,
    "exchange": _exchange,
    "proxy": _proxy,
}
