"""A storm on Locust: `squall load` starts this file, and so does `locust -f`.

    locust -f …/squall/load/locustfile.py --storm thundering-herd --host ws://127.0.0.1:9001/ws/api/v2
        --proxy-api http://127.0.0.1:8474 [--exchange-api http://127.0.0.1:8475] [--out DIR]
        [--headless | --autostart] [--processes 2 | --master | --worker --master-host …]

Only the master reads the storm and writes results. It hands the storm to its workers with the
orders to spawn users, so that those need neither the file nor the options. Credentials never
travel: each process takes SQUALL_API_KEY, SQUALL_API_SECRET and SQUALL_CA_FILE from its own
environment, as adapters do.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import locust
from locust.runners import WorkerRunner

from squall.errors import NetworkError, ScenarioError
from squall.load import panel, storm_file
from squall.load.line import Line
from squall.load.master import Master
from squall.load.shape import StormShape
from squall.load.storm import Storm
from squall.load.users import ReconnectingUser
from squall_reference import Settings, SettingsError

__all__ = ["StormShape", "StormUser"]

REFERENCE_DIALECT = "deribit"
WRONG_USE = 3


class StormUser(ReconnectingUser):
    """A user as the storm wants it."""

    @classmethod
    def follow(cls, storm: Storm, *, lag: bool) -> None:
        """Be as this storm's users are."""
        cls.engine = storm.engine
        cls.channels = storm.wanted
        cls.settings = storm.adapter
        cls.seed = storm.seed
        cls.lag = lag
        cls.ca_file = os.environ.get("SQUALL_CA_FILE")
        cls.credentials = _credentials() if storm.private else None


def _credentials() -> tuple[str, str]:
    """Key and secret. Raises `ScenarioError`."""
    key, secret = os.environ.get("SQUALL_API_KEY"), os.environ.get("SQUALL_API_SECRET")
    if not key or not secret:
        raise ScenarioError("users log in: set SQUALL_API_KEY and SQUALL_API_SECRET")
    return key, secret


@locust.events.init_command_line_parser.add_listener
def _options(parser: Any, **_: Any) -> None:
    group = parser.add_argument_group("Squall", "The storm, and who does the harm.")

    def add(*names: str, **said: Any) -> None:
        group.add_argument(*names, **said)

    add("--storm", metavar="NAME|FILE", default="steady", help="which storm; default: steady")
    add("--proxy-api", metavar="URL", help="the API of `squall proxy`, or of a Toxiproxy")
    add("--exchange-api", metavar="URL", help="the API of `squall exchange`")
    add("--out", metavar="DIR", help="where fleet.json is written, each second")
    add(
        "--lag",
        action="store_true",
        help="tell the lag of messages: the exchange's clock is this machine's, or in step with it",
    )


@locust.events.init.add_listener
def _prepare(environment: Any, runner: Any, web_ui: Any, **_: Any) -> None:
    environment.events.test_start.add_listener(_follow)
    if isinstance(runner, WorkerRunner):
        return
    options = environment.parsed_options
    try:
        storm = storm_file.find(options.storm)
        if options.num_users is not None:
            storm = storm.scaled(options.num_users)
        if options.spawn_rate is not None:
            storm = replace(storm, spawn_rate=options.spawn_rate)
        _check(storm)
        line = Line(options.proxy_api, options.exchange_api)
        line.prepare(storm)
    except (NetworkError, ScenarioError) as error:
        _wrong(error)
    # For the form of the web page, which may change them.
    options.num_users, options.spawn_rate = storm.users, storm.spawn_rate
    # Locust sends what is among the options to its workers.
    options.storm_text = storm_file.dump(storm)
    master = Master(environment, storm, line, Path(options.out) if options.out else None)
    master.start()
    # Locust installs its own handler only when a headless storm is over: until then this is Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if web_ui is not None:
        panel.add(web_ui, master)


def _check(storm: Storm) -> None:
    """Raise `ScenarioError` where no reference adapter could play in this storm."""
    if storm.dialect != REFERENCE_DIALECT:
        raise ScenarioError(
            f"the storm speaks {storm.dialect}; the reference adapter speaks {REFERENCE_DIALECT} "
            f"only. Bring an adapter of your own: see ReconnectingUser.adapter in docs/load.md"
        )
    try:
        _, unknown = Settings.from_mapping(storm.adapter)
    except SettingsError as error:
        raise ScenarioError(f"adapter: {error}") from error
    if unknown:
        raise ScenarioError(f"adapter: no such setting of the reference adapter: {unknown[0]}")
    if storm.private:
        _credentials()


def _follow(environment: Any, **_: Any) -> None:
    """A test begins, in this process too."""
    options = environment.parsed_options
    try:
        StormUser.follow(storm_file.parse(options.storm_text), lag=options.lag)
    except ScenarioError as error:
        _wrong(error)


def _wrong(error: Exception) -> NoReturn:
    sys.stderr.write(f"{error}\n")
    sys.exit(WRONG_USE)
