"""Several processes that are one exchange: they share a port, and their parent keeps them together.

Each process has a listening socket of its own on the same port (SO_REUSEPORT, Linux: the kernel
spreads connections over them), made by the parent, so that a port in use is noticed before anything
starts. Parent and process talk in JSON lines over a pair of sockets; a process whose parent is gone
reads the end of it and stops.

    to the process    {"do": "inject", ...} · {"do": "heal", "id": 3} · {"do": "report", "ask": 7}
    to the parent     {"ready": true} · {"report": ..., "ask": 7} · {"event": ...} · {"warn": ...}
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import multiprocessing
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkProcess
from random import Random
from typing import Any

from squall.errors import NetworkError
from squall.exchange import Dialect, ExchangeServer, Membership, Settings
from squall.history import Event
from squall.hosting.control import Order, read_fault
from squall.hosting.member import Member, Report
from squall.virtual_clock import loop_factory

ANSWER_WITHIN = 5.0
STOP_WITHIN = 5.0
LONGEST_LINE = 1 << 22
# A process makes few objects that are garbage in cycles, and holds very many that are not.
GC_THRESHOLDS = (50_000, 20, 100)

Say = Callable[[str], None]


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """So many listening sockets on one port. Raises NetworkError."""
    if sys.platform != "linux":
        raise NetworkError("several processes on one port need Linux; use --processes 1")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made: list[socket.socket] = []
    try:
        if port:
            # With SO_REUSEPORT the port of another exchange would be shared with it, silently.
            socket.create_server((host, port), family=family).close()
        for _ in range(count):
            made.append(socket.create_server((host, port), family=family, reuse_port=True))
            port = made[0].getsockname()[1]
    except OSError as error:
        for each in made:
            each.close()
        raise NetworkError(
            f"the exchange cannot listen on {host}:{port}: {error.strerror or error}."
            " Port 0 takes any free one."
        ) from error
    return made


class Process:
    """One process, as its parent sees it."""

    def __init__(self, number: int, process: ForkProcess, channel: socket.socket) -> None:
        self.number = number
        self.process = process
        self.ready = asyncio.Event()
        self.over = asyncio.Event()
        self._channel = channel
        self._writer: asyncio.StreamWriter | None = None
        self._asked: dict[int, asyncio.Future[Report]] = {}
        self._asks = itertools.count(1)
        self._listening: asyncio.Task[None] | None = None

    async def listen(self, say: Say, warn: Say) -> None:
        """Begin to hear what it has to say."""
        reader, self._writer = await asyncio.open_unix_connection(
            sock=self._channel, limit=LONGEST_LINE
        )
        self._listening = asyncio.create_task(self._hear(reader, say, warn))

    def order(self, said: dict[str, Any]) -> None:
        """Tell it what to do. One that is gone does not hear it."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(f"{json.dumps(said)}\n".encode())

    async def report(self) -> Report:
        """How it is. Raises TimeoutError."""
        ask = next(self._asks)
        answer = self._asked[ask] = asyncio.get_running_loop().create_future()
        self.order({"do": "report", "ask": ask})
        try:
            return await asyncio.wait_for(answer, ANSWER_WITHIN)
        finally:
            del self._asked[ask]

    async def stop(self) -> None:
        """End it, by force where it does not end by itself."""
        if self._writer is not None:
            self._writer.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), STOP_WITHIN)
        await asyncio.to_thread(self.process.join, STOP_WITHIN)
        if self.process.is_alive():
            self.process.kill()
            await asyncio.to_thread(self.process.join, STOP_WITHIN)
        if self._listening is not None:
            self._listening.cancel()

    async def epitaph(self) -> str:
        """What has become of it, once it is over."""
        await asyncio.to_thread(self.process.join, STOP_WITHIN)
        code = self.process.exitcode
        how = f"ended with code {code}"
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        return f"process {self.number} of the exchange (pid {self.process.pid}) {how}"

    async def _hear(self, reader: asyncio.StreamReader, say: Say, warn: Say) -> None:
        with contextlib.suppress(ConnectionError):
            async for line in reader:
                said = json.loads(line)
                if "report" in said:
                    waiting = self._asked.get(said["ask"])
                    if waiting is not None and not waiting.done():
                        waiting.set_result(Report(**said["report"]))
                elif "event" in said:
                    with contextlib.suppress(BrokenPipeError):
                        say(json.dumps(said["event"]))
                elif "warn" in said:
                    warn(f"process {self.number}: {said['warn']}")
                else:
                    self.ready.set()
        self.over.set()


class Fleet:
    """All processes of one exchange. They are forked at once: make it before any thread or loop."""

    def __init__(
        self,
        dialect: Dialect,
        settings: Settings,
        sockets: Sequence[socket.socket],
        origin: float,
        key: bytes,
        *,
        events: bool,
        thin: bool,
    ) -> None:
        self.dialect = dialect
        fork = multiprocessing.get_context("fork")
        pairs = [socket.socketpair() for _ in sockets]
        self._forked: list[tuple[ForkProcess, socket.socket]] = []
        for number, (mine, theirs) in enumerate(pairs, 1):
            member = Membership(number, len(sockets), origin, key)
            strangers = [end for pair in pairs for end in pair if end is not theirs]
            strangers += [each for each in sockets if each is not sockets[number - 1]]
            process = fork.Process(
                target=_serve,
                args=(dialect, settings, member, sockets[number - 1], theirs, strangers),
                kwargs={"events": events, "thin": thin},
                daemon=True,
            )
            process.start()
            self._forked.append((process, mine))
        for each in (*sockets, *(theirs for _, theirs in pairs)):
            each.close()
        self.processes: list[Process] = []

    async def start(self, say: Say, warn: Say) -> None:
        """Wait until every process serves. Raises NetworkError where one does not."""
        for number, (process, channel) in enumerate(self._forked, 1):
            each = Process(number, process, channel)
            self.processes.append(each)
            await each.listen(say, warn)
        for each in self.processes:
            await _first(each.ready.wait(), each.over.wait())
            if not each.ready.is_set():
                raise NetworkError(await each.epitaph())

    async def lost(self) -> str:
        """What has become of the first process that ends by itself."""
        await _first(*(each.over.wait() for each in self.processes))
        return await next(each for each in self.processes if each.over.is_set()).epitaph()

    async def stop(self) -> None:
        """End them all."""
        await asyncio.gather(*(each.stop() for each in self.processes))

    # --- for the control port ---------------------------------------------------------------------

    def now(self) -> float:
        """Seconds on the clock that the processes share."""
        return asyncio.get_running_loop().time()

    def inject(self, id: int, order: Order) -> None:
        """All of them have this fault at `order.at`."""
        for each in self.processes:
            each.order(
                {
                    "do": "inject",
                    "id": id,
                    "fault": dict(order.said),
                    "at": order.at,
                    "lasting": order.lasting,
                }
            )

    def heal(self, id: int) -> None:
        """None of them has this fault any more, or will have it."""
        for each in self.processes:
            each.order({"do": "heal", "id": id})

    async def reports(self) -> list[Report]:
        """How each of them is. Raises TimeoutError where one does not say."""
        return await asyncio.gather(*(each.report() for each in self.processes))


async def _first(*things: Any) -> None:
    tasks = [asyncio.ensure_future(each) for each in things]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# --- in the forked process ------------------------------------------------------------------------


def _serve(
    dialect: Dialect,
    settings: Settings,
    member: Membership,
    bound: socket.socket,
    channel: socket.socket,
    strangers: Sequence[socket.socket],
    *,
    events: bool,
    thin: bool,
) -> None:
    # Ctrl-C goes to the whole group: the parent decides when it is over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # An end that stays open here would hide from another process that the parent is gone.
    for each in strangers:
        each.close()
    with asyncio.Runner(loop_factory=loop_factory("real")) as runner:
        runner.run(_obey(dialect, settings, member, bound, channel, events=events, thin=thin))


async def _obey(
    dialect: Dialect,
    settings: Settings,
    membership: Membership,
    bound: socket.socket,
    channel: socket.socket,
    *,
    events: bool,
    thin: bool,
) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=channel, limit=LONGEST_LINE)
    loop = asyncio.get_running_loop()

    def tell(**said: Any) -> None:
        if not writer.is_closing():
            writer.write(f"{json.dumps(said, default=str)}\n".encode())

    def observe(kind: str, connection: int | None = None, /, **detail: Any) -> None:
        at = loop.time() - membership.origin
        event = Event(at, "exchange", kind, connection, {**detail, "process": membership.number})
        tell(event=event.as_json())

    server = ExchangeServer(
        dialect,
        settings,
        observe=observe if events else None,
        # The same key and secret in all: tokens and ids are kept apart by the membership.
        rng=Random(0),
        warn=lambda text: tell(warn=text),
        membership=membership,
        thin=thin,
    )
    await server.start(bound=bound)
    member = Member(server, membership.number)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    tell(ready=True)
    with contextlib.suppress(ConnectionError):
        async for line in reader:
            order = json.loads(line)
            match order["do"]:
                case "inject":
                    fault = read_fault(order["fault"])
                    member.inject(order["id"], fault, order["at"], order["lasting"])
                case "heal":
                    member.heal(order["id"])
                case "report":
                    tell(report=member.report().as_json(), ask=order["ask"])
    member.close()
    await server.stop()
    writer.close()
