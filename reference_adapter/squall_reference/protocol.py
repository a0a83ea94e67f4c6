"""The adapter protocol, level 2: environment in, events out, commands in.

`adapter` is the entry for a harness in the same process; `__main__` adds standard input and
output.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from squall_reference.actions import Action, Deliver, Log, OpenOrders, Reply, StateChanged
from squall_reference.aio import Adapter
from squall_reference.endpoint import VERSION, Endpoint
from squall_reference.login import Credentials
from squall_reference.session import Health
from squall_reference.settings import Settings, SettingsError

Event = dict[str, Any]
Emit = Callable[[Event], None]
Commands = asyncio.Queue[dict[str, Any] | None]

COMMANDS = ["subscribe", "unsubscribe", "request", "health", "disconnect", "stop"]


class ConfigurationError(ValueError):
    """The environment is wrong; the message names the variable."""


class CommandError(ValueError):
    """A command is wrong; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the environment asks for. `unknown` settings are for other adapters."""

    endpoint: Endpoint
    channels: tuple[str, ...]
    credentials: Credentials | None
    settings: Settings
    unknown: tuple[str, ...]

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Configuration:
        """Read the environment. Raises `ConfigurationError`."""
        url = env.get("SQUALL_URL", "")
        if not url.startswith(("ws://", "wss://")):
            raise ConfigurationError(f"SQUALL_URL must be a ws:// or wss:// URL, not {url!r}")
        dialect = env.get("SQUALL_DIALECT", "deribit")
        if dialect != "deribit":
            raise ConfigurationError(f"SQUALL_DIALECT is {dialect!r}; this adapter speaks deribit")
        channels = _json(env, "SQUALL_CHANNELS", "[]")
        if not isinstance(channels, list) or not all(isinstance(c, str) for c in channels):
            raise ConfigurationError("SQUALL_CHANNELS must be a JSON array of channel names")
        wanted = _json(env, "SQUALL_SETTINGS", "{}")
        if not isinstance(wanted, dict):
            raise ConfigurationError("SQUALL_SETTINGS must be a JSON object")
        try:
            settings, unknown = Settings.from_mapping(wanted)
        except SettingsError as error:
            raise ConfigurationError(f"SQUALL_SETTINGS: {error}") from error
        key, secret = env.get("SQUALL_API_KEY"), env.get("SQUALL_API_SECRET")
        if bool(key) != bool(secret):
            raise ConfigurationError("SQUALL_API_KEY and SQUALL_API_SECRET come together")
        return cls(
            Endpoint(url, env.get("SQUALL_CA_FILE"), env.get("SQUALL_HTTP_PROXY")),
            tuple(channels),
            Credentials(key, secret) if key and secret else None,
            settings,
            tuple(unknown),
        )


def _json(env: Mapping[str, str], name: str, default: str) -> Any:
    try:
        return json.loads(env.get(name) or default)
    except ValueError as error:
        raise ConfigurationError(f"{name} is not JSON: {error}") from error


async def adapter(env: Mapping[str, str], emit: Emit, commands: Commands) -> None:
    """Run the reference adapter inside a harness, on the running loop, whatever its clock.

    None in `commands` asks it to stop. The same `SQUALL_SEED` gives the same jitter. Raises
    `ConfigurationError`.
    """
    await serve(Configuration.of(env), emit, commands, Random(env.get("SQUALL_SEED")))


async def serve(configuration: Configuration, emit: Emit, commands: Commands, rng: Random) -> int:
    """Run the adapter until it ends; its exit status. Raises `ConfigurationError`."""
    try:
        adapter = Adapter(
            configuration.endpoint,
            configuration.channels,
            lambda action: emit(event_of(action)),
            credentials=configuration.credentials,
            settings=configuration.settings,
            rng=rng,
        )
    except (ValueError, OSError) as error:
        raise ConfigurationError(str(error)) from error
    emit({"event": "ready", "commands": COMMANDS, "version": VERSION})
    if configuration.unknown:
        emit(_log(f"settings unknown to this adapter: {', '.join(configuration.unknown)}"))
    async with asyncio.TaskGroup() as group:
        obeying = group.create_task(_obey(adapter, emit, commands))
        status = await adapter.run()
        obeying.cancel()
    return status


async def _obey(adapter: Adapter, emit: Emit, commands: Commands) -> None:
    while True:
        command = await commands.get()
        if command is None:
            adapter.stop()
            return
        try:
            obey(adapter, command, emit)
        except ValueError as error:
            emit(_reply(command.get("id"), ok=False, error=str(error)))


def obey(adapter: Adapter, command: Mapping[str, Any], emit: Emit) -> None:
    """Carry out one command. Raises ValueError for a wrong one."""
    id, do = command.get("id"), command.get("do")
    match do:
        case "subscribe":
            adapter.subscribe(_channels(command))
        case "unsubscribe":
            adapter.unsubscribe(_channels(command))
        case "request":
            adapter.request(id, *_request(command))
            return  # Its reply comes when its outcome is known.
        case "health":
            emit(_health(id, adapter.health()))
            return
        case "disconnect":
            adapter.disconnect()
        case "stop":
            adapter.stop()
        case _:
            raise CommandError(f"unknown command {do!r}; known are {', '.join(COMMANDS)}")
    emit(_reply(id, ok=True))


def _health(id: Any, health: Health) -> Event:
    return _reply(
        id,
        ok=health.ok,
        error=None if health.ok else "not to be trusted",
        state=health.state,
        age=health.age,
        missing=list(health.missing),
        doubtful=list(health.doubtful),
    )


def _channels(command: Mapping[str, Any]) -> list[str]:
    channels = command.get("channels")
    if not isinstance(channels, list) or not all(isinstance(c, str) for c in channels):
        raise CommandError("`channels` must be an array of names")
    return channels


def _request(command: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    method, params = command.get("method"), command.get("params", {})
    if not isinstance(method, str) or not isinstance(params, dict):
        raise CommandError("`method` must be a name, `params` an object")
    return method, params


def event_of(action: Action) -> Event:
    """The event that tells of an action."""
    match action:
        case Deliver(channel, _, seq, gap):
            return {"event": "message", "channel": channel, "seq": seq, "gap": gap}
        case StateChanged(state, None):
            return {"event": "state", "state": state}
        case StateChanged(state, reason):
            return {"event": "state", "state": state, "reason": reason}
        case Reply(tag, ok, error, indefinite):
            # Without the result: that of `public/auth` is a token.
            return _reply(tag, ok=ok, error=error, indefinite=indefinite)
        case OpenOrders(orders):
            return _log(f"{len(orders)} open orders")
        case Log(message):
            return _log(message)
        case _:
            raise AssertionError(f"{action} is for the shell")


def _reply(
    id: Any, *, ok: bool, error: str | None = None, indefinite: bool = False, **more: Any
) -> Event:
    told = {"error": error} if error is not None else {}
    return {"event": "reply", "id": id, "ok": ok, **told, "indefinite": indefinite, **more}


def _log(message: str) -> Event:
    return {"event": "log", "message": message}
