"""A compact adapter for Deribit that does everything right: what the gallery breaks.

It is written to be broken. Each decision that some real adapter got wrong is a method of its own,
so that a bug is an override of a few lines. What the consumer wants (`wanted`) and what the
exchange has confirmed on this very connection (`confirmed`) are two sets: to restore, to retry
and to change subscriptions are all one thing, to make the second equal the first.

The class itself is the adapter function of the adapter protocol: `await Adapter(env, emit,
commands)` runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Generator, Mapping
from random import Random
from typing import Any

from websockets.exceptions import WebSocketException

from gallery.deribit import PERMANENT, Json, Refusal, is_private, numbers, signed_login
from gallery.line import Job, Line, Settings, end, first_of

COMMANDS = ("subscribe", "unsubscribe", "request", "health", "stop")


class GaveUp(Exception):
    """Going on is pointless; a person has to look."""


class Adapter(Line):
    """One adapter, good for one run."""

    def __init__(
        self,
        env: Mapping[str, str],
        emit: Callable[[Json], None],
        commands: asyncio.Queue[Json | None],
    ) -> None:
        settings = Settings.from_json(env.get("SQUALL_SETTINGS", "{}"))
        rng = Random(env.get("SQUALL_SEED"))
        ca_file, http_proxy = env.get("SQUALL_CA_FILE"), env.get("SQUALL_HTTP_PROXY")
        super().__init__(env["SQUALL_URL"], settings, rng, emit, ca_file, http_proxy)
        self.env = env
        self.commands = commands
        self.key = env.get("SQUALL_API_KEY", "")
        self.secret = env.get("SQUALL_API_SECRET", "")
        self.authenticated = False
        self.auth_failures = 0
        self.token_life = 0.0
        self.refresh_token = ""
        self.wanted: dict[str, None] = dict.fromkeys(json.loads(env["SQUALL_CHANNELS"]))
        self.confirmed: set[str] = set()
        self.broken: set[str] = set()
        self.changed = asyncio.Event()
        self.last: dict[str, int] = {}
        self.heard: dict[str, float] = {}
        self.requests: set[asyncio.Task[None]] = set()

    # -- life --------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, None]:
        return self.run().__await__()

    async def run(self) -> None:
        self.emit({"event": "ready", "commands": list(COMMANDS)})
        work = asyncio.create_task(self.stay_connected())
        orders = asyncio.create_task(self.obey())
        try:
            await first_of(work, orders)
        except GaveUp as reason:
            self.state("gave_up", str(reason))
            raise SystemExit(1) from reason
        finally:
            self.stopping = True
            await self.stop(work, orders)
        self.state("stopped")

    async def stop(self, *tasks: asyncio.Task[None]) -> None:
        await end(*tasks)
        # The line is gone by now, so that each request has failed and is about to say so.
        await asyncio.gather(*self.requests)

    async def after(self, error: Exception) -> None:
        if self.auth_failures >= self.settings.auth_attempts:
            raise GaveUp("the exchange does not accept the credentials") from error
        await super().after(error)

    def jobs(self) -> list[Job]:
        return [*super().jobs(), self.watch_channels, self.serve]

    def forget(self) -> None:
        super().forget()
        self.authenticated = False
        self.confirmed.clear()
        self.broken.clear()

    # -- watching ----------------------------------------------------------------------------

    async def watch_channels(self) -> None:
        """A channel that falls silent while the others flow is told, not cured."""
        told: set[str] = set()
        while True:
            await asyncio.sleep(self.settings.channel_silence / 4)
            stale = set(self.stale())
            for channel in sorted(stale - told):
                self.log(f"{channel} is stale")
            told = stale

    def stale(self) -> list[str]:
        oldest = self.now() - self.settings.channel_silence
        return [channel for channel in self.confirmed if self.heard.get(channel, 0.0) < oldest]

    # -- serving -----------------------------------------------------------------------------

    async def serve(self) -> None:
        """Authenticate, subscribe, and keep both so for the life of the connection."""
        if self.key:
            await self.log_in()
        await self.ask_for_heartbeat()
        keeping = [asyncio.create_task(self.keep_subscribed())]
        if self.key:
            keeping.append(asyncio.create_task(self.keep_logged_in()))
        try:
            await first_of(*keeping)
        finally:
            await end(*keeping)

    async def ask_for_heartbeat(self) -> None:
        await self.call("public/set_heartbeat", interval=self.settings.heartbeat_interval)

    async def log_in(self) -> None:
        try:
            self.logged_in(await self.call("public/auth", **self.credentials()))
        except Refusal as refusal:
            self.auth_failures += refusal.code in PERMANENT
            raise
        self.auth_failures = 0
        self.state("authenticated")

    def credentials(self) -> Json:
        """A signature over the time and a nonce, new for each login."""
        nonce = f"{self.rng.getrandbits(64):016x}"
        return signed_login(self.key, self.secret, int(self.now() * 1000), nonce)

    def logged_in(self, grant: Json) -> None:
        self.token_life = grant["expires_in"]
        self.refresh_token = grant["refresh_token"]
        self.token_doubted.clear()
        self.authenticated = True

    async def keep_logged_in(self) -> None:
        """Refresh well before the token ends, or at once when the exchange rejects it."""
        while True:
            with contextlib.suppress(TimeoutError):
                ahead = self.token_life * self.settings.token_refresh_at
                await asyncio.wait_for(self.token_doubted.wait(), ahead)
            if self.token_doubted.is_set():
                await self.log_in()
            else:
                await self.refresh()

    async def refresh(self) -> None:
        try:
            token = self.refresh_token
            grant = await self.call("public/auth", grant_type="refresh_token", refresh_token=token)
            self.logged_in(grant)
        except (Refusal, TimeoutError):
            await self.log_in()

    async def keep_subscribed(self) -> None:
        """Make `confirmed` equal `wanted`; ask again, ever less often, for what is missing."""
        pause = self.settings.backoff_base
        while True:
            self.changed.clear()
            ended = await self.ask("unsubscribe", self.surplus())
            self.confirmed -= ended
            self.broken -= ended
            self.confirmed |= await self.ask("subscribe", self.missing())
            if self.live_since is None:
                self.live_since = self.now()
                self.state("live")
            if not self.missing() and not self.surplus():
                pause = self.settings.backoff_base
                await self.changed.wait()
                continue
            self.log(f"not as wanted: {', '.join([*self.missing(), *self.surplus()])}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), pause)
            pause = min(2 * pause, self.settings.backoff_max)

    def missing(self) -> list[str]:
        return [channel for channel in self.wanted if channel not in self.confirmed]

    def surplus(self) -> list[str]:
        return sorted(self.broken | (self.confirmed - self.wanted.keys()))

    async def ask(self, verb: str, channels: list[str]) -> set[str]:
        """Subscribe or unsubscribe, private channels by the private method; what was done."""
        size = self.settings.subscribe_batch
        done: set[str] = set()
        for scope in ("public", "private"):
            these = [c for c in channels if (scope == "private") == self.is_private(c)]
            for batch in (these[i : i + size] for i in range(0, len(these), size)):
                try:
                    answer = await self.call(f"{scope}/{verb}", channels=batch)
                except (Refusal, TimeoutError) as error:
                    self.log(f"{scope}/{verb} failed: {error}")
                else:
                    done |= self.acknowledged(verb, batch, answer)
        return done

    def acknowledged(self, verb: str, asked: list[str], answer: list[str]) -> set[str]:
        """The answer lists what is served now, which may be less than what was asked for."""
        if verb == "unsubscribe":
            return set(asked)
        for channel in answer:
            self.heard[channel] = self.now()
        return set(answer)

    def is_private(self, channel: str) -> bool:
        return is_private(channel)

    # -- data --------------------------------------------------------------------------------

    def deliver(self, channel: str, data: Any) -> None:
        """Pass a message on to the consumer, saying so where something before it is missing."""
        self.heard[channel] = self.now()
        if channel not in self.wanted:
            return
        number = numbers(channel, data)
        if number is None:
            self.emit({"event": "message", "channel": channel, "seq": None, "gap": False})
            return
        last = self.last.get(channel, number.follows)
        if number.seq == last or (number.seq < last and not number.snapshot):
            return
        self.last[channel] = number.seq
        self.numbered(channel, number.seq, gap=number.follows != last)
        if number.follows != last and not number.snapshot and channel.startswith("book."):
            self.mend(channel)

    def numbered(self, channel: str, seq: int, gap: bool) -> None:
        self.emit({"event": "message", "channel": channel, "seq": seq, "gap": gap})

    def mend(self, channel: str) -> None:
        """Ask for a new snapshot of this book, leaving the other channels alone."""
        self.broken.add(channel)
        self.changed.set()

    # -- commands ----------------------------------------------------------------------------

    async def obey(self) -> None:
        while (command := await self.commands.get()) is not None:
            match command["do"]:
                case "subscribe":
                    self.want(command["channels"])
                    self.reply(command, ok=True)
                case "unsubscribe":
                    self.unwant(command["channels"])
                    self.reply(command, ok=True)
                case "request":
                    self.begin(command)
                case "health":
                    self.reply(command, ok=self.healthy())
                case "stop":
                    return
                case other:
                    self.reply(command, ok=False, error=f"unknown command {other}")

    def want(self, channels: list[str]) -> None:
        self.wanted |= dict.fromkeys(channels)
        self.changed.set()

    def unwant(self, channels: list[str]) -> None:
        for channel in channels:
            self.wanted.pop(channel, None)
        self.changed.set()

    def healthy(self) -> bool:
        return self.live_since is not None and not self.missing() and not self.stale()

    def begin(self, command: Json) -> None:
        task = asyncio.create_task(self.request(command))
        self.requests.add(task)
        task.add_done_callback(self.requests.discard)

    async def request(self, command: Json) -> None:
        """Send it once. Where no answer came, nobody knows whether it was carried out."""
        if self.live_since is None or not self.authenticated:
            self.reply(command, ok=False, error="not connected")
            return
        try:
            await self.call(command["method"], **command.get("params", {}))
        except Refusal as refusal:
            self.reply(command, ok=False, error=str(refusal))
        except (OSError, WebSocketException) as error:
            self.reply(command, ok=False, error=str(error), indefinite=True)
        else:
            self.reply(command, ok=True)

    def reply(self, command: Json, **answer: Any) -> None:
        self.emit({"event": "reply", "id": command["id"], **answer})
