"""The message engine at work on one connection: its timer, and its place between the bytes.

It stands in front of a direction only while a rule concerns that direction or something is on
its way there; the rest of the time the bytes pass as if there were no rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from squall_proxy.deflate import Agreement
from squall_proxy.engine import Cut, MessageEngine, Output, Rule, Write
from squall_proxy.faults.base import How, Way
from squall_proxy.frames import FrameTracker
from squall_proxy.link import End
from squall_proxy.relay import Relay
from squall_proxy.side import Feed
from squall_proxy.timers import Timer, Timers

# Bytes that rules may hold in one direction; its sender has to wait then.
_HELD_LIMIT = 4 * 1024 * 1024


class Owner(Protocol):
    """The connection."""

    timers: Timers

    def bitten(self, number: int) -> None:
        """The fault of this number has changed something."""

    def cut_by(self, number: int, how: How) -> None:
        """The fault of this number ends the connection."""


class Stage(Protocol):
    """One direction of frames, behind the engine."""

    tracker: FrameTracker
    relay: Relay
    accept: Feed

    def set_front(self, front: Feed | None) -> None:
        """Let `front` see the bytes first."""


class Editor:
    """Feeds the engine and does what it says."""

    def __init__(self, stages: Mapping[Way, Stage], owner: Owner, agreement: Agreement) -> None:
        self._stages = stages
        self._owner = owner
        self._now: Callable[[], float] = owner.timers.now
        self._engine = MessageEngine(owner.bitten, agreement)
        self._in_front: set[Way] = set()
        self._timer: Timer | None = None
        self._closed = False

    def add(self, rule: Rule) -> None:
        """Put a rule in force."""
        for way in self._stages:
            self._step_in(way)
        self._do(self._engine.add(rule, self._now()))

    def remove(self, number: int) -> None:
        """Remove a rule; what it held leaves."""
        if not self._closed:
            self._do(self._engine.remove(number, self._now()))

    def end(self, way: Way) -> None:
        """This direction has ended by a FIN."""
        if self._closed or way not in self._in_front:
            self._stages[way].relay.end(End.FIN)
        else:
            self._do(self._engine.end(way, self._now()))

    def close(self) -> None:
        """The connection is over: nothing is passed on any more."""
        if self._closed:
            return
        self._closed = True
        self._arm(None)
        for way in tuple(self._in_front):
            stage = self._stages[way]
            # Whoever goes on reading finds the rest of a frame next.
            stage.tracker.feed(self._engine.release(way))
            stage.set_front(None)

    def _feed(self, way: Way, data: bytes) -> None:
        self._stages[way].relay.discarded += len(data)
        self._do(self._engine.feed(way, data, self._now()))

    def _on_timer(self) -> None:
        self._timer = None
        self._do(self._engine.tick(self._now()))

    def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            if self._closed:
                return
            if isinstance(output, Write):
                stage = self._stages[output.way]
                stage.relay.discarded -= len(output.data)
                stage.accept(output.data)
            elif isinstance(output, Cut):
                self._owner.cut_by(output.number, output.how)
            else:
                self._stages[output.way].relay.end(End.FIN)
        if not self._closed:
            self._arm(self._engine.due())
            for way in tuple(self._in_front):
                self._step_out_if_idle(way)

    def _step_in(self, way: Way) -> None:
        if way not in self._in_front:
            stage = self._stages[way]
            self._in_front.add(way)
            left, begun = stage.tracker.under_way
            self._engine.join(way, left, begun, stage.tracker.in_message)
            stage.set_front(partial(self._feed, way))

    def _step_out_if_idle(self, way: Way) -> None:
        stage = self._stages[way]
        if self._engine.idle(way):
            self._in_front.discard(way)
            stage.set_front(None)
            stage.relay.set_clogged(False)
            rest = self._engine.release(way)
            if rest:
                stage.relay.discarded -= len(rest)
                stage.accept(rest)
        else:
            stage.relay.set_clogged(self._engine.held(way) > _HELD_LIMIT)

    def _arm(self, due: float | None) -> None:
        if self._timer is not None and (due is None or due < self._timer.when):
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due is not None:
            self._timer = self._owner.timers.at(due, self._on_timer)
