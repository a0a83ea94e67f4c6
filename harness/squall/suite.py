"""A suite: the runs of one plan, and files that follow closely what each came to.

Ctrl-C and SIGTERM end a suite early: what runs stops its adapter and closes its ports, what has
ended is reported, the rest is unknown. A second Ctrl-C waits for no adapter any more and kills.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from squall.junit import write_junit
from squall.plan import Plan, jobs
from squall.pool import Pool, Task, interruptions, unjudged
from squall.results import Case, Summary, Trouble, write_results
from squall.verdict import Outcome


@dataclass(frozen=True)
class Began:
    """A run begins."""

    name: str


@dataclass(frozen=True)
class Ended:
    """A run is over, and this is what it came to."""

    case: Case


Notice = Began | Ended
Tell = Callable[[Notice], None]


def run_suite(plan: Plan, tell: Tell) -> Summary:
    """Run everything that is planned; `results.json` and `junit.xml` follow it closely."""
    plan.out.mkdir(parents=True, exist_ok=True)
    suite = _Suite(plan, tell)
    with interruptions(suite.interrupt):
        suite.run()
    return suite.finish()


class _Suite:
    """The runs of a plan, under way."""

    def __init__(self, plan: Plan, tell: Tell) -> None:
        self._plan = plan
        self._tell = tell
        self._jobs = jobs(plan)
        self._cases: dict[str, Case] = {}
        self._pool = Pool(plan.out, self._began, self._ended)
        self._started = datetime.now().astimezone()
        self._since = time.monotonic()
        self._next_record = 0.0

    def run(self) -> None:
        """Everything that is planned."""
        self._pool.run([Task(self._plan, job) for job in self._jobs], self._plan.clock)

    def interrupt(self) -> None:
        """End in good order; called again, wait for no adapter any more."""
        self._pool.interrupt()

    # -- as it happens -----------------------------------------------------------------------

    def _began(self, task: Task) -> None:
        self._tell(Began(task.job.name))

    def _ended(self, task: Task, case: Case) -> None:
        self._cases[task.job.name] = case
        if self._plan.fail_fast and not case.expected and _bad(case):
            self._pool.close()
        self._pool.later(self._record_if_cheap)
        self._tell(Ended(case))

    # -- results -----------------------------------------------------------------------------

    def finish(self) -> Summary:
        """What the whole came to, written for the last time."""
        for job in self._jobs:
            if self._pool.interrupted and job.name not in self._cases:
                why = "interrupted before it began"
                self._cases[job.name] = unjudged(job, Outcome.UNKNOWN, why, Trouble.INTERRUPTED)
        return self._record(over=True)

    def _record_if_cheap(self) -> None:
        """Bring the files up to date, but spend no more than a tenth of the time on it.

        They are written whole each time: after thousands of runs that takes longer than a run.
        """
        begun = time.monotonic()
        if begun >= self._next_record:
            self._record()
            self._next_record = begun + 10 * (time.monotonic() - begun)

    def _record(self, *, over: bool = False) -> Summary:
        # A suite that is killed leaves the file of its last run behind: interrupted, it says.
        summary = Summary(
            adapter=self._plan.manifest.name,
            profile=self._plan.profile.name,
            clock=self._plan.clock,
            seed=self._plan.seed,
            started=self._started,
            cases=tuple(self._cases[job.name] for job in self._jobs if job.name in self._cases),
            seconds=time.monotonic() - self._since,
            interrupted=self._pool.interrupted or not over,
            not_run=len(self._jobs) - len(self._cases),
            internal_errors=self._pool.internal_errors,
        )
        write_results(summary, self._plan.out)
        write_junit(summary, self._plan.out)
        return summary


def _bad(case: Case) -> bool:
    return case.outcome is Outcome.FAIL or case.trouble is Trouble.SETUP
