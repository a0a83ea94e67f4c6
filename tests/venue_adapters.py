"""Small correct adapters, one a venue, on asyncio: what the venue-neutral scenarios run against.

`Adapter` keeps one `Link` for each endpoint that its channels need. A link dials for as long as
the adapter lives, with backoff; a venue's subclass says what happens on a connection (`serve`) and
what a message means (`receive`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from random import Random
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from squall.exchange.binance.users import payload
from squall.exchange.kraken.book import checksum
from squall.exchange.kraken.users import TOKEN_PATH, signature

Json = dict[str, Any]
TIMEOUT = 5.0


class Refused(Exception):
    """The venue said no."""


class GaveUp(Exception):
    """The credentials are not good: going on is pointless."""


LOST = (OSError, TimeoutError, EOFError, WebSocketException, Refused)


async def fetch(
    base: str, method: str, target: str, headers: Mapping[str, str] | None = None, body: str = ""
) -> tuple[int, Any]:
    """Status and JSON of an HTTP answer."""
    where = urlsplit(base)
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        try:
            lines = [f"{method} {target} HTTP/1.1", f"Host: {where.netloc}"]
            lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
            lines += [f"Content-Length: {len(body)}", "", body]
            writer.write("\r\n".join(lines).encode())
            answer = await reader.read()
        finally:
            writer.close()
    head, _, content = answer.partition(b"\r\n\r\n")
    if not content:
        raise EOFError("no answer")
    return int(head.split(b" ", 2)[1]), json.loads(content)


class Link:
    """A connection that comes back when it is lost."""

    def __init__(self, adapter: Adapter, url: str, channels: Sequence[str]) -> None:
        self.adapter = adapter
        self.url = url
        self.wanted = dict.fromkeys(channels)
        self.confirmed: set[str] = set()
        self.ids = itertools.count(1)
        self.pending: dict[Any, asyncio.Future[Any]] = {}
        self.ws: ClientConnection | None = None
        self.failures = 0
        self.memory: dict[Any, Any] = {}
        """What is known of this connection; forgotten with it."""

    async def keep(self) -> None:
        adapter = self.adapter
        while True:
            begun = adapter.now()
            try:
                await self.session()
            except LOST as error:
                adapter.state("disconnected", f"{type(error).__name__}: {error}")
                if adapter.now() - begun > 10:
                    self.failures = 0
                await asyncio.sleep(self.pause(error))

    def pause(self, error: Exception) -> float:
        asked = 0.0
        if isinstance(error, InvalidStatus):
            asked = float(error.response.headers.get("Retry-After", "0"))
        self.failures += 1
        ceiling = min(20.0, 2.0 ** min(self.failures, 10))
        return asked + self.adapter.rng.uniform(0.5 * ceiling * (self.failures > 1), ceiling)

    async def session(self) -> None:
        adapter = self.adapter
        adapter.state("connecting")
        self.ws = await connect(
            self.url, open_timeout=TIMEOUT, ping_interval=None, close_timeout=1, proxy=None
        )
        self.memory, self.confirmed = {}, set()
        jobs = [self.read(), self.watch(), adapter.serve(self)]
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end(*tasks)
            for future in self.pending.values():
                future.cancel()
            self.pending.clear()
            ws, self.ws = self.ws, None
            if adapter.stopping:
                await ws.close()
            ws.transport.abort()

    async def read(self) -> None:
        assert self.ws is not None
        async for text in self.ws:
            self.adapter.receive(self, self.adapter.decode(str(text)))
        raise EOFError(f"closed with {self.ws.close_code}")

    async def watch(self) -> None:
        """A ping that finds no answer shows a dead line."""
        assert self.ws is not None
        while True:
            await asyncio.sleep(3)
            async with asyncio.timeout(TIMEOUT):
                await (await self.ws.ping())

    async def send(self, message: Json) -> None:
        if self.ws is None:
            raise EOFError("not connected")
        await self.ws.send(json.dumps(message))

    async def ask(self, key: Any, message: Json) -> Any:
        """Send, and wait until `answer` is called with this key."""
        future = self.pending[key] = asyncio.get_running_loop().create_future()
        try:
            await self.send(message)
            return await asyncio.wait_for(future, TIMEOUT)
        finally:
            self.pending.pop(key, None)

    def answer(self, key: Any, result: Any) -> None:
        future = self.pending.get(key)
        if future is not None and not future.done():
            future.set_result(result)

    def missing(self) -> list[str]:
        return [name for name in self.wanted if name not in self.confirmed]

    async def until_subscribed(
        self, subscribe: Callable[[list[str]], Coroutine[Any, Any, None]]
    ) -> None:
        """Ask for what is missing, ever less often, until nothing is."""
        pause = 1.0
        while missing := self.missing():
            with contextlib.suppress(TimeoutError, Refused):
                await subscribe(missing)
            if self.missing():
                await asyncio.sleep(pause)
                pause = min(2 * pause, 20.0)
        self.adapter.state("live")


class Adapter:
    """One adapter, good for one run: `await Adapter(env, emit, commands)`."""

    def __init__(
        self,
        env: Mapping[str, str],
        emit: Callable[[Json], None],
        commands: asyncio.Queue[Json | None],
    ) -> None:
        self.env = env
        self.emit = emit
        self.commands = commands
        self.now = asyncio.get_running_loop().time
        self.rng = Random(env.get("SQUALL_SEED"))
        self.rest = env["SQUALL_REST_URL"]
        self.key = env.get("SQUALL_API_KEY", "")
        self.secret = env.get("SQUALL_API_SECRET", "")
        self.stopping = False
        self.chores: set[asyncio.Task[None]] = set()
        self.heard: dict[str, float] = {}
        self.refusals = 0

    def __await__(self) -> Generator[Any, None, None]:
        return self.run().__await__()

    async def run(self) -> None:
        self.emit({"event": "ready", "commands": []})
        jobs = [link.keep() for link in self.links()]
        tasks = [asyncio.create_task(job) for job in [*jobs, self.obey(), self.watch_channels()]]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except GaveUp as reason:
            self.state("gave_up", str(reason))
            raise SystemExit(1) from reason
        finally:
            self.stopping = True
            await end(*tasks, *self.chores)
        self.state("stopped")

    async def obey(self) -> None:
        while await self.commands.get() is not None:
            pass

    async def watch_channels(self) -> None:
        """A channel that falls silent while others flow is told, not cured."""
        while True:
            await asyncio.sleep(5)
            for name, heard in self.heard.items():
                if self.now() - heard > 20:
                    self.emit({"event": "log", "message": f"{name} is stale"})

    def login_refused(self, reason: object) -> None:
        """Wrong credentials do not become right by repetition."""
        self.refusals += 1
        if self.refusals == 3:
            raise GaveUp(f"the venue does not accept the credentials: {reason}")
        raise Refused(reason)

    def links(self) -> list[Link]:
        channels = json.loads(self.env["SQUALL_CHANNELS"])
        url = urlsplit(self.env["SQUALL_URL"])
        base = f"{url.scheme}://{url.netloc}"
        public = [name for name in channels if name not in self.private]
        private = [name for name in channels if name in self.private]
        found = [Link(self, base + self.path, public)] if public else []
        return found + ([Link(self, base + self.private_path, private)] if private else [])

    def state(self, state: str, reason: str = "") -> None:
        self.emit({"event": "state", "state": state, "reason": reason})

    def deliver(self, channel: str, seq: int | None, *, gap: bool = False) -> None:
        self.heard[channel] = self.now()
        self.emit({"event": "message", "channel": channel, "seq": seq, "gap": gap})

    def chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.chores.add(task)
        task.add_done_callback(self.chores.discard)

    def decode(self, text: str) -> Any:
        return json.loads(text)

    async def time_ms(self, path: str, *names: str) -> int:
        """The venue's clock: signatures are judged by it."""
        _, found = await fetch(self.rest, "GET", path)
        for name in names:
            found = found[name]
        return int(found)

    # -- what a venue says -------------------------------------------------------------------

    path: str
    private_path: str
    private: frozenset[str]

    async def serve(self, link: Link) -> None:
        raise NotImplementedError

    def receive(self, link: Link, message: Any) -> None:
        raise NotImplementedError


async def end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def sign(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class Binance(Adapter):
    """Combined streams, books by REST snapshot and diffs, user data over the WebSocket API."""

    path = "/stream"
    private_path = "/ws-api/v3"
    private = frozenset({"userData"})

    async def serve(self, link: Link) -> None:
        if link.url.endswith(self.private_path):
            await link.until_subscribed(lambda missing: self.log_on(link))
        else:
            await link.until_subscribed(lambda missing: self.subscribe(link, missing))
        await asyncio.Event().wait()

    async def subscribe(self, link: Link, missing: list[str]) -> None:
        """An ack says nothing: the list of subscriptions tells which ones there are."""
        await self.call(link, "SUBSCRIBE", missing)
        link.confirmed = set((await self.call(link, "LIST_SUBSCRIPTIONS"))["result"])

    async def log_on(self, link: Link) -> None:
        now = await self.time_ms("/api/v3/time", "serverTime")
        params: Json = {"apiKey": self.key, "timestamp": now}
        params["signature"] = sign(self.secret, payload(params))
        reply = await self.call(link, "userDataStream.subscribe.signature", params)
        if "error" in reply:
            self.login_refused(reply["error"])
        self.refusals = 0
        link.confirmed = {"userData"}

    async def call(self, link: Link, method: str, params: Any = None) -> Any:
        id = next(link.ids)
        return await link.ask(id, {"method": method, "params": params or [], "id": id})

    def receive(self, link: Link, message: Any) -> None:
        match message:
            case {"stream": name, "data": {"e": "depthUpdate"} as update}:
                self.book(link, name, update)
            case {"stream": name, "data": data}:
                self.deliver(name, data.get("t"))
            case {"subscriptionId": _, "event": {"e": "eventStreamTerminated"}}:
                raise EOFError("user data ended")
            case {"subscriptionId": _, "event": _}:
                self.deliver("userData", None)
            case {"id": id}:
                link.answer(id, message)

    def book(self, link: Link, name: str, update: Json) -> None:
        """Diffs must chain to each other, and the first of them to a snapshot."""
        waiting: list[Json] | None = link.memory.get(name)
        if waiting is not None:
            waiting.append(update)
        elif update["U"] == link.memory.get((name, "last"), -1) + 1:
            link.memory[(name, "last")] = update["u"]
            self.deliver(name, update["u"])
        else:
            link.memory[name] = [update]
            self.chore(self.take_snapshot(link, name, link.memory))

    async def take_snapshot(self, link: Link, name: str, memory: dict[Any, Any]) -> None:
        symbol = name.partition("@")[0].upper()
        while link.memory is memory:
            with contextlib.suppress(*LOST):
                _, found = await fetch(self.rest, "GET", f"/api/v3/depth?symbol={symbol}")
                if found["lastUpdateId"] + 1 >= memory[name][0]["U"]:
                    break
            await asyncio.sleep(1)
        if link.memory is not memory:
            return
        memory[(name, "last")] = found["lastUpdateId"]
        self.deliver(name, found["lastUpdateId"], gap=True)
        for update in memory.pop(name):
            if update["u"] > found["lastUpdateId"]:
                self.book(link, name, update)


class Bybit(Adapter):
    """Public topics on one connection, private ones on another; both ping."""

    path = "/v5/public/linear"
    private_path = "/v5/private"
    private = frozenset({"order"})

    async def serve(self, link: Link) -> None:
        if link.url.endswith(self.private_path):
            await self.log_in(link)
        await link.until_subscribed(lambda missing: self.subscribe(link, missing))
        while True:
            await asyncio.sleep(20)
            await self.call(link, "ping")

    async def log_in(self, link: Link) -> None:
        expires = 10_000 + await self.time_ms("/v5/market/time", "time")
        signed = sign(self.secret, f"GET/realtime{expires}")
        try:
            await self.call(link, "auth", self.key, expires, signed)
        except Refused as reason:
            self.login_refused(reason)
        self.refusals = 0

    async def subscribe(self, link: Link, missing: list[str]) -> None:
        """A batch fails as a whole: what is in a bad one is asked for one by one."""
        batches = [missing[n : n + 10] for n in range(0, len(missing), 10)]
        if link.memory.get("bad batch"):
            batches = [[name] for name in missing]
        for batch in batches:
            try:
                await self.call(link, "subscribe", *batch)
            except Refused as reason:
                link.memory["bad batch"] = True
                self.emit({"event": "log", "message": str(reason)})
            else:
                link.confirmed.update(batch)

    async def call(self, link: Link, op: str, *args: Any) -> None:
        id = str(next(link.ids))
        reply = await link.ask(id, {"req_id": id, "op": op, "args": args})
        if not reply.get("success", True):
            raise Refused(reply["ret_msg"])

    def receive(self, link: Link, message: Any) -> None:
        match message:
            case {"topic": name, "type": type, "data": {"u": u} as data} if "orderbook" in name:
                self.book(link, name, type, u, data["seq"])
            case {"topic": name, "data": [{"seq": _}, *_] as trades}:
                self.deliver(name, trades[-1]["seq"])
            case {"topic": name}:
                self.deliver(name, None)
            case {"req_id": id}:
                link.answer(id, message)

    def book(self, link: Link, name: str, type: str, u: int, seq: int) -> None:
        """A snapshot overwrites; a delta must follow what is there."""
        last = link.memory.get(name)
        if type == "snapshot":
            link.memory[name] = u
            self.deliver(name, seq, gap=last is None)
        elif last is not None and u == last + 1:
            link.memory[name] = u
            self.deliver(name, seq)
        elif last is not None:
            del link.memory[name]
            self.chore(self.resubscribe(link, name))

    async def resubscribe(self, link: Link, name: str) -> None:
        link.confirmed.discard(name)
        with contextlib.suppress(*LOST):
            await self.call(link, "unsubscribe", name)
            await link.until_subscribed(lambda missing: self.subscribe(link, missing))


def update_fits(book: Json, data: Json) -> bool:
    """Apply an update of Kraken; whether its checksum is that of what the book then is."""
    for side in ("bids", "asks"):
        for level in data[side]:
            book[side].pop(level["price"], None)
            if float(level["qty"]):
                book[side][level["price"]] = level["qty"]
    asks = sorted(book["asks"].items(), key=lambda level: float(level[0]))
    bids = sorted(book["bids"].items(), key=lambda level: -float(level[0]))
    return bool(checksum(asks, bids) == data["checksum"])


class Kraken(Adapter):
    """Public channels on one connection, orders on another with a token of their own."""

    path = "/v2"
    private_path = "/v2"
    private = frozenset({"executions"})

    nonce = 0

    def decode(self, text: str) -> Any:
        """Numbers as they are written: a checksum is over their digits."""
        return json.loads(text, parse_float=str)

    async def serve(self, link: Link) -> None:
        await link.until_subscribed(lambda missing: self.subscribe(link, missing))
        while True:
            await asyncio.sleep(20)
            id = next(link.ids)
            await link.ask(("pong", id), {"method": "ping", "req_id": id})

    async def subscribe(self, link: Link, missing: list[str]) -> None:
        """A request for each channel, an ack for each symbol."""
        for channel in dict.fromkeys(name.partition(":")[0] for name in missing):
            names = [name for name in missing if name.partition(":")[0] == channel]
            params: Json = {"channel": channel}
            if channel in self.private:
                params["token"] = await self.token()
            else:
                params["symbol"] = [name.partition(":")[2] for name in names]
            id = next(link.ids)
            acks = [asyncio.ensure_future(self.ack(link, id, name)) for name in names]
            await link.send({"method": "subscribe", "params": params, "req_id": id})
            await asyncio.gather(*acks)

    async def ack(self, link: Link, id: int, name: str) -> None:
        future = link.pending[(id, name)] = asyncio.get_running_loop().create_future()
        try:
            if (await asyncio.wait_for(future, TIMEOUT))["success"]:
                link.confirmed.add(name)
        except TimeoutError:
            self.emit({"event": "log", "message": f"no ack for {name}"})
        finally:
            link.pending.pop((id, name), None)

    async def token(self) -> str:
        self.nonce = max(self.nonce + 1, int(self.now() * 1000))
        body = f"nonce={self.nonce}"
        signed = signature(self.secret, TOKEN_PATH, str(self.nonce), body)
        headers = {"API-Key": self.key, "API-Sign": signed}
        _, found = await fetch(self.rest, "POST", TOKEN_PATH, headers, body)
        if found["error"]:
            self.login_refused(found["error"])
        self.refusals = 0
        return str(found["result"]["token"])

    def receive(self, link: Link, message: Any) -> None:
        match message:
            case {"method": "subscribe", "req_id": id}:
                about = message.get("result", message)
                symbol = about.get("symbol")
                for asked, name in list(link.pending):
                    if asked == id and (symbol is None or name.endswith(f":{symbol}")):
                        link.answer((asked, name), message)
            case {"method": "pong", "req_id": id}:
                link.answer(("pong", id), message)
            case {"channel": "book", "type": type, "data": [{"symbol": symbol} as data]}:
                self.book(link, f"book:{symbol}", type, data)
            case {"channel": "trade", "data": trades}:
                self.deliver(f"trade:{trades[-1]['symbol']}", trades[-1]["trade_id"])
            case {"channel": "ticker", "data": [{"symbol": symbol}]}:
                self.deliver(f"ticker:{symbol}", None)
            case {"channel": "executions"}:
                self.deliver("executions", None)

    def book(self, link: Link, name: str, type: str, data: Json) -> None:
        """A snapshot overwrites; after each update the checksum must fit."""
        if type == "snapshot":
            link.memory[name] = {"bids": {}, "asks": {}}
        book = link.memory.get(name)
        if book is None:
            return
        if update_fits(book, data):
            self.deliver(name, None, gap=type == "snapshot")
        else:
            del link.memory[name]
            self.chore(self.resubscribe(link, name))

    async def resubscribe(self, link: Link, name: str) -> None:
        channel, _, symbol = name.partition(":")
        link.confirmed.discard(name)
        with contextlib.suppress(*LOST):
            params = {"channel": channel, "symbol": [symbol]}
            await link.send({"method": "unsubscribe", "params": params})
            await link.until_subscribed(lambda missing: self.subscribe(link, missing))


# -- the same with one bug each --------------------------------------------------------------


class TrustsAcks(Binance):
    """It takes a confirmation for a subscription."""

    async def subscribe(self, link: Link, missing: list[str]) -> None:
        await self.call(link, "SUBSCRIBE", missing)
        link.confirmed.update(missing)


class TrustsDiffs(Binance):
    """It takes one snapshot, and does not look whether the diffs after it chain."""

    def book(self, link: Link, name: str, update: Json) -> None:
        if (name, "last") in link.memory and name not in link.memory:
            self.deliver(name, update["u"])
        else:
            super().book(link, name, update)


class Impatient(Binance):
    """To restore, it asks for each stream in a message of its own, all at once."""

    async def subscribe(self, link: Link, missing: list[str]) -> None:
        if not link.failures:
            return await super().subscribe(link, missing)
        await asyncio.gather(*(self.call(link, "SUBSCRIBE", [name]) for name in missing))
        link.confirmed.update(missing)


class TrustsDeltas(Bybit):
    """It does not look whether the deltas of a book chain."""

    def book(self, link: Link, name: str, type: str, u: int, seq: int) -> None:
        self.deliver(name, seq)


class IgnoresRefusals(Bybit):
    """It takes every answer to a subscribe for a confirmation."""

    async def subscribe(self, link: Link, missing: list[str]) -> None:
        with contextlib.suppress(Refused):
            await self.call(link, "subscribe", *missing)
        link.confirmed.update(missing)


class DoesNotWait(Bybit):
    """It subscribes to private topics while the login is still under way."""

    async def log_in(self, link: Link) -> None:
        self.chore(super().log_in(link))
        await asyncio.sleep(0.05)


class TrustsUpdates(Kraken):
    """It never computes a checksum."""

    def book(self, link: Link, name: str, type: str, data: Json) -> None:
        self.deliver(name, None)


class IgnoresErrors(Kraken):
    """It does not read the acks of the symbols."""

    async def ack(self, link: Link, id: int, name: str) -> None:
        link.confirmed.add(name)
