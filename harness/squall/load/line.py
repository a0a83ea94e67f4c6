"""Puts the steps of a storm in force, through the control APIs of the proxy and of the exchange.

Plain blocking HTTP with time-outs, which works under gevent and without it. Our own proxy and
exchange are told how long is still to wait and keep the instant themselves; a real Toxiproxy knows
no such thing, so a timer here calls it when the instant has come.
"""

from __future__ import annotations

import http.client
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from squall.errors import NetworkError, ScenarioError
from squall.load.storm import Storm, StormStep
from squall.load.storm_file import order, seconds
from squall.toxiproxy import toxics
from squall_proxy import Fault, Fin, Refuse, StreamFault, Target

TIME_OUT = 5.0
"""Seconds that a call may take."""

_FAR = "24h"
"""A rehearsed step is ordered for then, and taken back at once."""


class Control(Protocol):
    """One control API."""

    def rehearse(self, step: StormStep) -> None:
        """Raise `ScenarioError` or `NetworkError` where it cannot do this."""

    def strike(self, step: StormStep, within: float) -> None:
        """Do it in so many seconds. Raises `NetworkError`."""

    def heal(self) -> None:
        """Take back what is to come, and heal what is in force. Raises `NetworkError`."""


class Line:
    """What stands between the fleet and the venue, and the venue, as far as they can be harmed.

    The address of a proxy's API may end in /proxies/NAME where it serves several proxies.
    """

    def __init__(self, proxy_api: str | None, exchange_api: str | None) -> None:
        self._apis = {"proxy": proxy_api, "exchange": exchange_api}
        self._controls: dict[str, Control] = {}

    def prepare(self, storm: Storm) -> None:
        """See that every step can be done, before anything begins.

        Raises `ScenarioError` for what cannot be done there, `NetworkError` where nobody answers.
        """
        for step in storm.steps:
            if step.where == "load":
                continue
            if step.where not in self._controls:
                self._controls[step.where] = self._control(step)
            self._controls[step.where].rehearse(step)

    def strike(self, step: StormStep, within: float) -> None:
        """Put a step in force in so many seconds. Raises `NetworkError`."""
        self._controls[step.where].strike(step, max(0.0, within))

    def heal(self) -> None:
        """Take back what is to come, and heal what is in force. Raises `NetworkError`."""
        for control in self._controls.values():
            control.heal()

    def _control(self, step: StormStep) -> Control:
        api = self._apis[step.where]
        if api is None:
            what = {"proxy": "a proxy", "exchange": "the mock exchange"}[step.where]
            raise ScenarioError(f"{step.do} is done by {what}, and there is none in this storm")
        return control(api, step.where)


def control(api: str, what: str) -> Control:
    """The control API at this address: our own, or a Toxiproxy's. Raises `NetworkError`."""
    root, name = _address(api)
    try:
        _call("GET", f"{root}/squall/faults")
    except _Refused as refused:
        if what != "proxy" or refused.status != 404:
            raise NetworkError(f"the {what}'s API at {root}: {refused}") from None
        return ToxiproxyControl(root, name)
    return SquallControl(root, name, what)


def _address(api: str) -> tuple[str, str | None]:
    """The root of an API, and the name of the proxy that is meant. Raises `NetworkError`."""
    parts = urlsplit(api if "//" in api else f"http://{api}")
    if parts.scheme != "http" or not parts.hostname:
        raise NetworkError(f"'{api}' is no API; write http://HOST:PORT")
    path = parts.path.rstrip("/")
    if path and not path.startswith("/proxies/"):
        raise NetworkError(f"'{api}': write http://HOST:PORT, or http://HOST:PORT/proxies/NAME")
    return f"http://{parts.netloc}", unquote(path.removeprefix("/proxies/")) or None


# -- ours ----------------------------------------------------------------------------------------


class SquallControl:
    """`POST /squall/faults` of `squall proxy` or `squall exchange`: they keep the time."""

    def __init__(self, root: str, name: str | None, what: str) -> None:
        self._url = f"{root}/squall/faults"
        self._extra = {} if name is None else {"proxy": name}
        self._what = what
        self._ordered: list[Any] = []

    def rehearse(self, step: StormStep) -> None:
        """Order it for another day, and take it back."""
        self._heal(self._post(step, {"in": _FAR}, ScenarioError))

    def strike(self, step: StormStep, within: float) -> None:
        """Order it."""
        when = {"in": seconds(within)} if within > 0 else {}
        if step.lasting is not None:
            when["lasting"] = seconds(step.lasting)
        self._ordered.append(self._post(step, when, NetworkError))

    def heal(self) -> None:
        """Take back what was ordered here, and nothing else."""
        while self._ordered:
            self._heal(self._ordered.pop())

    def _post(
        self,
        step: StormStep,
        when: dict[str, str],
        error: type[ScenarioError] | type[NetworkError],
    ) -> Any:
        try:
            return _call("POST", self._url, {**order(step), **when, **self._extra})["id"]
        except _Refused as refused:
            raise error(f"{step.do}: the {self._what} says: {refused}") from None

    def _heal(self, id: Any) -> None:
        try:
            _call("DELETE", f"{self._url}/{id}")
        except _Refused as refused:
            if refused.status != 404:  # a cut is over at once
                raise NetworkError(f"the {self._what}'s API: {refused}") from None


# -- Toxiproxy -----------------------------------------------------------------------------------


class ToxiproxyControl:
    """A real Toxiproxy: toxics, and the proxy taken down and up.

    A FIN to all is the proxy down and up again, refused dials are the proxy down. What it is told
    it does at once, so a timer waits here.
    """

    def __init__(self, root: str, name: str | None) -> None:
        self._root = root
        found = self._call("GET", "/proxies")
        if name is None and len(found) != 1:
            known = ", ".join(sorted(found)) or "none"
            raise NetworkError(
                f"the Toxiproxy at {root} has {len(found)} proxies ({known}); "
                f"write which one is meant: {root}/proxies/NAME"
            )
        self._name = name or next(iter(found))
        if self._name not in found:
            raise NetworkError(f"the Toxiproxy at {root} has no proxy '{self._name}'")
        self._timers: list[threading.Timer] = []
        self._one_at_a_time = threading.Lock()
        self._down = 0
        self._made = 0
        self._failed: NetworkError | None = None

    def rehearse(self, step: StormStep) -> None:
        """Raise `ScenarioError` for what none of its toxics does."""
        assert isinstance(step.action, Fault)
        fault, target = step.action, step.target
        if target != Target(fraction=target.fraction):
            raise ScenarioError(f"{step.do}: Toxiproxy cannot tell connections apart")
        if isinstance(fault, Fin | Refuse):
            if target.fraction is not None:
                raise ScenarioError(f"{step.do}: Toxiproxy can do it to all connections only")
            if isinstance(fault, Refuse) and fault.how != "refused":
                raise ScenarioError(f"{step.do}: Toxiproxy can only refuse, not {fault.how}")
        elif toxics(fault) is None:
            raise ScenarioError(
                f"{step.do}: Toxiproxy cannot do it; `squall proxy` can (docs/toxiproxy.md)"
            )

    def strike(self, step: StormStep, within: float) -> None:
        """Do it when the time has come. Raises what went wrong since the last call."""
        self._check()
        begin, end = self._acts(step)
        self._after(within, begin)
        if step.lasting is not None:
            self._after(within + step.lasting, end)

    def heal(self) -> None:
        """Forget what is to come; all proxies up, without toxics."""
        for timer in self._timers:
            timer.cancel()
        with self._one_at_a_time:
            self._down = 0
            self._call("POST", "/reset")
        self._check()

    def _acts(self, step: StormStep) -> tuple[Callable[[], None], Callable[[], None]]:
        fault = step.action
        if isinstance(fault, Fin):
            return self._down_and_up, _nothing
        if isinstance(fault, Refuse):
            return self._take_down, self._take_up
        assert isinstance(fault, StreamFault)
        added: list[str] = []
        toxicity = 1.0 if step.target.fraction is None else step.target.fraction
        return lambda: self._poison(fault, toxicity, added), lambda: self._cure(added)

    def _down_and_up(self) -> None:
        self._enable(False)
        if not self._down:
            self._enable(True)

    def _take_down(self) -> None:
        self._down += 1
        self._enable(False)

    def _take_up(self) -> None:
        self._down -= 1
        if not self._down:
            self._enable(True)

    def _enable(self, enabled: bool) -> None:
        self._call("POST", f"/proxies/{self._name}", {"enabled": enabled})

    def _poison(self, fault: StreamFault, toxicity: float, added: list[str]) -> None:
        for way in fault.ways():
            stream = "upstream" if way == "client_to_server" else "downstream"
            for toxic in toxics(fault) or ():
                self._made += 1
                name = f"squall-{self._made}"
                said = {
                    "name": name,
                    "type": toxic.type,
                    "stream": stream,
                    "toxicity": toxicity,
                    "attributes": dict(toxic.attributes),
                }
                self._call("POST", f"/proxies/{self._name}/toxics", said)
                added.append(name)

    def _cure(self, added: Iterable[str]) -> None:
        for name in added:
            self._call("DELETE", f"/proxies/{self._name}/toxics/{name}")

    def _after(self, delay: float, act: Callable[[], None]) -> None:
        def come() -> None:
            with self._one_at_a_time:
                try:
                    act()
                except NetworkError as error:
                    self._failed = error

        timer = threading.Timer(delay, come)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _check(self) -> None:
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    def _call(self, method: str, path: str, said: Any = None) -> Any:
        try:
            return _call(method, self._root + path, said)
        except _Refused as refused:
            raise NetworkError(f"Toxiproxy at {self._root}: {refused}") from None


def _nothing() -> None:
    """It was over at once."""


# -- HTTP ----------------------------------------------------------------------------------------


class _Refused(Exception):
    """The API answered, and said no."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


# A proxy of the environment leads away from this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _call(method: str, url: str, said: Any = None) -> Any:
    """What the API answers, as JSON. Raises `NetworkError` where nobody does, and `_Refused`."""
    body = None if said is None else json.dumps(said).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    try:
        with _OPENER.open(request, timeout=TIME_OUT) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            raise _Refused(error.code, _why(error.read(), error)) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise NetworkError(f"nobody answers at {url}: {reason}") from None
    try:
        return json.loads(text) if text.strip() else None
    except ValueError:
        raise NetworkError(f"what answers at {url} is no control API") from None


def _why(body: bytes, error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()[:200] or str(error)
