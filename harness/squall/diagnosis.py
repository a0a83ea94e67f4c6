"""What the history of a calm day says of an adapter: what it does, does wrong and leaves out.

`examine` gives a finding a line, level by level as docs/adapter-protocol.md has them. Nothing is
WRONG that an adapter need not do: what it leaves out is MISSING, and only less can be judged.
`squall.doctor` makes such a history and tells the findings.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from squall.checks import Judged
from squall.events_schema import COMMANDS, EVENTS, mistakes
from squall.history import Event, History
from squall.manifest import Manifest
from squall.service import Service
from squall.verdict import Outcome

QUESTIONS = ("subscribe", "unsubscribe", "request", "health")
"""The commands that can be tried; `disconnect` and `stop` would end the run."""

MOST_NAMED = 3


class State(StrEnum):
    """How a finding stands."""

    FINE = "ok"
    WRONG = "wrong"
    MISSING = "missing"  # not offered, which is nobody's fault: less can be judged
    UNTRIED = "untried"


@dataclass(frozen=True)
class Finding:
    """One thing that an adapter does, does wrong or leaves out; `todo` is what to do about it."""

    level: int
    title: str
    state: State
    said: str = ""
    at: float | None = None
    todo: str = ""


def examine(history: History, manifest: Manifest, judged: Iterable[Judged]) -> list[Finding]:
    """What the history says of the adapter, in the order in which it matters."""
    return [
        *_beginning(history, manifest),
        *_login(history),
        *_channels(history),
        *_manners(judged),
        *_output(history),
        *_events(history),
        *_commands(history, manifest),
    ]


def _beginning(history: History, manifest: Manifest) -> Iterator[Finding]:
    started = history.first("started")
    if started is None:
        return
    yield _fine(0, "started", " ".join(started["command"]), started)
    dials = history.of("dialled")
    if dials:
        dialled = next((e for e in dials if e["listener"] == "ws"), dials[0])
        yield _fine(0, "dialled", f"{dialled['listener']} listener", dialled)
        yield _upgraded(history)
    elif (exited := history.first("exited")) is not None and not exited["expected"]:
        said = f"it ended with status {exited['status']} instead"
        todo = "its last words are below; it is to stay until its standard input ends"
        yield Finding(0, "dialled", State.WRONG, said, exited.at, todo)
    else:
        todo = (
            f"make it connect to the URL in {manifest.url_env or 'SQUALL_URL'}; if it reads its "
            f"URL from another variable, name that in the manifest: url_env"
        )
        said = "it never came to the address that it was given"
        yield Finding(0, "dialled", State.WRONG, said, todo=todo)


def _upgraded(history: History) -> Finding:
    # Requests over HTTP have no upgrade to ask for.
    asked = next((e for e in history.of("upgrade_requested") if e["upgrade"]), None)
    if asked is None:
        said = "it never asked for WebSocket"
        return Finding(0, "upgraded", State.WRONG, said, todo="open a WebSocket at the URL")
    upgraded = history.first("upgraded")
    if upgraded is not None:
        return _fine(0, "upgraded", asked["path"], upgraded)
    answers = history.of("upgrade_refused")
    refused = next((e for e in answers if e.connection == asked.connection), None)
    said = f"{asked['path']}: " + (
        f"the answer was {refused['status']}" if refused else "no answer"
    )
    todo = "use the URL as it is given, with its path"
    return Finding(0, "upgraded", State.WRONG, said, asked.at, todo)


def _login(history: History) -> Iterator[Finding]:
    if not wants_private(history) or history.first("upgraded") is None:
        return
    succeeded, failed = history.first("auth_succeeded"), history.first("auth_failed")
    if succeeded is not None:
        yield _fine(0, "logged in", str(succeeded.get("grant_type") or ""), succeeded)
    else:
        said = f"refused: {failed.get('code')}" if failed else "it never tried"
        todo = "log in with SQUALL_API_KEY and SQUALL_API_SECRET"
        if not failed:
            todo += "; if it is for public data only, say so in the manifest: supports: [public]"
        yield Finding(0, "logged in", State.WRONG, said, todo=todo)


def _channels(history: History) -> Iterator[Finding]:
    if history.first("upgraded") is None:
        return
    wanted: Sequence[str] = history.of("wanted")[0]["channels"]
    found = [_channel(history, channel) for channel in wanted]
    yield from found
    asked = history.first("command")
    calm = [e for e in history.of("subscribed") if asked is None or e.at < asked.at]
    if extra := sorted({name for e in calm for name in e["channels"]} - set(wanted)):
        todo = "subscribe to what SQUALL_CHANNELS names, and to nothing else"
        yield Finding(0, "served more", State.WRONG, _several(extra), todo=todo)
    if (steady := history.first("steady")) is not None:
        yield _fine(0, "steady", "every channel served once, data on each", steady)
    elif all(each.state is State.FINE for each in found):
        before = itertools.takewhile(lambda e: e.kind not in ("healed", "stopping"), history)
        said = _several(Service(before).problems()) or "data did not come on every channel"
        todo = "serve every channel once, and stay connected"
        yield Finding(0, "steady", State.WRONG, f"never: {said}", todo=todo)


def _channel(history: History, channel: str) -> Finding:
    for event in history.of("subscribed"):
        if channel in event["channels"]:
            return _fine(0, "served", channel, event)
    asked = any(channel in event["channels"] for event in history.of("subscribe_requested"))
    if not asked:
        said = f"{channel}: it did not ask for it"
        todo = (
            "subscribe to every name in SQUALL_CHANNELS as it stands there; where it cannot take "
            "every channel, list those that it can in the manifest: channels"
        )
    else:
        error = history.last("error", source="exchange")
        why = error.get("message") or error.get("code") if error else "no answer"
        said, todo = f"{channel}: refused: {why}", "log in first, and spell it as it stands there"
    return Finding(0, "served", State.WRONG, said, todo=todo)


def _manners(judged: Iterable[Judged]) -> Iterator[Finding]:
    """The checks that are judged in every run: on a calm day they ought to pass."""
    for each in judged:
        title, why = each.check.name.replace("_", " "), each.verdict.why
        if each.verdict.outcome is Outcome.FAIL:
            todo = f"until this is mended, `{each.check.name}` fails in every scenario"
            yield Finding(0, title, State.WRONG, why, todo=todo)
        elif each.verdict.outcome is Outcome.PASS and each.check.name != "exercised":
            yield Finding(0, title, State.FINE, why)


def _output(history: History) -> Iterator[Finding]:
    stray = history.first("garbage")
    if stray is None:
        if history.first("ready", "message", "state", "log") is not None:
            yield Finding(1, "clean output", State.FINE, "nothing but events on standard output")
        return
    line = stray["line"]
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if isinstance(found, dict):
        said, todo = f"{mistakes(found)[0]}: {line}", "`squall schema events` prints the format"
    else:
        said = f"this line is no event: {line}"
        todo = "was it meant for standard error? standard output is for events"
    yield Finding(1, "clean output", State.WRONG, said, stray.at, todo)


def _events(history: History) -> Iterator[Finding]:
    yield _ready(history)
    said = [e for e in history if e.source == "adapter" and e.kind in EVENTS]
    wrong = Counter(why for e in said for why in mistakes({"event": e.kind, **e.detail}))
    if wrong:
        often = [why if number == 1 else f"{why} ({number} times)" for why, number in wrong.items()]
        todo = "`squall schema events` prints the format"
        yield Finding(1, "well-formed", State.WRONG, _several(often, "; "), todo=todo)
        return
    if said:
        yield Finding(1, "well-formed", State.FINE, f"{len(said)} events")
    yield from _messages(history)
    states = list(dict.fromkeys(e["state"] for e in history.of("state")))
    if states:
        yield _fine(1, "state", ", ".join(states), history.first("state"))
    elif said:
        todo = "make sure that one comes when the connection is lost"
        yield Finding(1, "state", State.MISSING, "none on a calm day", todo=todo)


def _ready(history: History) -> Finding:
    ready = history.first("ready")
    spoke = history.first("message", "state", "log", source="adapter")
    if ready is None:
        todo = 'print {"event": "ready", "commands": []} first, then a `message` for each datum'
        state = State.WRONG if spoke else State.MISSING
        said = "events came without it" if spoke else "it prints no events: level 0"
        return Finding(1, "ready", state, said, todo=todo)
    if spoke is not None and spoke.at < ready.at:
        return Finding(
            1,
            "ready",
            State.WRONG,
            f"not the first line: `{spoke.kind}` came before",
            ready.at,
            "print it before anything else",
        )
    commands = ready.get("commands") or ()
    return _fine(1, "ready", f"commands: {', '.join(map(str, commands)) or 'none'}", ready)


def _messages(history: History) -> Iterator[Finding]:
    delivered = [e for e in history.of("message", source="adapter") if e.get("channel")]
    if not delivered:
        if history.first("ready") is not None:
            todo = "print a `message` event for each datum that the consumer gets"
            yield Finding(1, "message", State.MISSING, "no datum was reported", todo=todo)
        return
    sent: dict[str, set[int]] = {}
    for event in history.of("sent", source="exchange"):
        sent.setdefault(event["channel"], set()).add(event.get("seq"))
    unknown = sorted({str(e["channel"]) for e in delivered} - sent.keys())
    silent = sorted(sent.keys() - {e["channel"] for e in delivered})
    if unknown:
        todo = "name the channel as SQUALL_CHANNELS does"
        said = f"the exchange sent nothing on {_several(unknown)}"
        yield Finding(1, "message", State.WRONG, said, todo=todo)
    elif silent:
        todo = "print a `message` event for each datum of every channel"
        said = f"nothing was delivered of {_several(silent)}"
        yield Finding(1, "message", State.MISSING, said, delivered[0].at, todo)
    else:
        yield _fine(1, "message", f"{len(delivered)}, of every channel", delivered[0])
    yield from _numbers(delivered, sent)


def _numbers(delivered: Sequence[Event], sent: dict[str, set[int]]) -> Iterator[Finding]:
    with_numbers = {channel for channel, numbers in sent.items() if numbers - {None}}
    told = [e for e in delivered if e["channel"] in with_numbers]
    if not told:
        return
    foreign = [e for e in told if e.get("seq") is not None and e["seq"] not in sent[e["channel"]]]
    bare = sorted(
        {e["channel"] for e in told} - {e["channel"] for e in told if e.get("seq") is not None}
    )
    todo = "seq is the venue's own number, of the last item of a message; see the protocol page"
    if foreign:
        first = foreign[0]
        said = f"the exchange never sent number {first['seq']} on {first['channel']}"
        yield Finding(1, "seq", State.WRONG, said, first.at, todo)
    elif bare:
        yield Finding(1, "seq", State.MISSING, f"no numbers on {_several(bare)}", todo=todo)
    else:
        yield Finding(1, "seq", State.FINE, "the exchange's own numbers")


def _commands(history: History, manifest: Manifest) -> Iterator[Finding]:
    if history.first("upgraded") is None:
        return
    understood = announced(history)
    for command in COMMANDS:
        if command in QUESTIONS and command in manifest.supports and command not in understood:
            said = "the manifest offers it, but `ready` does not announce it"
            todo = f"name '{command}' in the commands of `ready`, or take it out of the manifest"
            yield Finding(2, command, State.WRONG, said, todo=todo)
        elif command not in understood:
            yield Finding(2, command, State.MISSING, "not announced")
        else:
            yield _command(history, command)


def _command(history: History, command: str) -> Finding:
    asked = next((e for e in history.of("command") if e["do"] == command), None)
    if asked is None:
        return Finding(2, command, State.UNTRIED, "announced")
    reply = next((e for e in history.of("reply") if e.get("id") == asked["id"]), None)
    if reply is None:
        todo = f"answer it with a `reply` that bears its id, {asked['id']}"
        return Finding(2, command, State.WRONG, "never answered", asked.at, todo)
    took = f"answered after {reply.at - asked.at:.3f} s"
    if not reply.get("ok"):
        said = f"{took}: not ok: {reply.get('error') or 'no reason given'}"
        return Finding(2, command, State.WRONG, said, asked.at, "on a calm day it should succeed")
    if (why := _undone(history, asked)) is not None:
        todo = "reply when the exchange has confirmed it, not before"
        return Finding(2, command, State.WRONG, f"{took}, but {why}", asked.at, todo)
    return Finding(2, command, State.FINE, took, asked.at)


def _undone(history: History, asked: Event) -> str | None:
    """What the exchange saw nothing of, though the adapter says that it is done."""
    effect = {"subscribe": "subscribed", "unsubscribe": "unsubscribed"}.get(asked["do"])
    if effect is None:
        return None
    seen = {name for e in history.of(effect, since=asked.at) for name in e["channels"]}
    missing = sorted(set(asked["channels"]) - seen)
    return f"the exchange saw nothing of it: {_several(missing)}" if missing else None


def announced(history: History) -> list[str]:
    """The commands that it said it understands."""
    return [str(name) for ready in history.of("ready")[:1] for name in ready.get("commands") or ()]


def wants_private(history: History) -> bool:
    """Whether it was asked for channels that need a login."""
    return any(wanted["private"] for wanted in history.of("wanted")[:1])


def _fine(level: int, title: str, said: str, event: Event | None) -> Finding:
    return Finding(level, title, State.FINE, said, event.at if event else None)


def _several(things: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(things) - MOST_NAMED} more" if len(things) > MOST_NAMED else ""
    return between.join(things[:MOST_NAMED]) + more
