"""The rules of one connection at work: frames in, frames out, without I/O and without a clock.

    engine = MessageEngine(bitten)
    outputs = engine.add(Rule(1, DropMessage(nth=3), rng), now)
    outputs = engine.feed("server_to_client", data, now)     # and `tick(now)` when `due()` has come

Each output says what is to be done next, in order: bytes to write in one direction, or an end.
The same object serves the proxy's own connections and any other place where the decrypted bytes
of a WebSocket connection, from the upgrade on, can be had and replaced.

Bytes that no rule concerns are passed over header by header and leave as the slices in which
they came. Control frames do not wait for a message that is still being collected, so they may
overtake fragments of it; all else keeps its order unless a rule says otherwise.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from squall_proxy.deflate import INDEPENDENT, Agreement
from squall_proxy.faults.base import WAYS, How, Way
from squall_proxy.faults.rules import Finish, Hush, MessageFault, Sending, Step
from squall_proxy.flow import Flow, Steps
from squall_proxy.frames import CLOSE
from squall_proxy.late import Late, LateQueue
from squall_proxy.messages import Message
from squall_proxy.patterns import Matcher

# Messages of `since` that may be unanswered at a time.
_OUTSTANDING = 256


class Write(NamedTuple):
    """Bytes to write in one direction."""

    way: Way
    data: bytes


class End(NamedTuple):
    """One direction ends behind all that was written: what came to its end has been sent."""

    way: Way


class Cut(NamedTuple):
    """The rule `number` ends the connection."""

    number: int
    how: How


Output = Write | End | Cut


class Rule:
    """A message fault in force. One rule serves all connections, and counts over all of them."""

    def __init__(self, number: int, fault: MessageFault, rng: Random) -> None:
        self.number = number
        self.fault = fault
        self.act = fault.attach(rng)
        self.matcher = Matcher(fault)
        self.since = Matcher(fault.since) if fault.since else None
        self.before = Matcher(fault.before) if fault.before else None
        self.stateless = self.since is None and self.before is None
        self.exhausted = False  # it will never act again
        self._fitted = 0
        self._acted = 0

    def count(self) -> bool:
        """Count a message that fits; whether it is one to act on."""
        if self.exhausted:
            return False
        self._fitted += 1
        fault = self.fault
        if fault.nth is not None:
            self.exhausted = self._fitted >= fault.nth
            return self.exhausted
        if fault.every is not None and self._fitted % fault.every:
            return False
        self._acted += 1
        self.exhausted = self._acted == fault.times
        return True

    def matchers(self) -> Iterator[Matcher]:
        """All that it must see."""
        return (each for each in (self.matcher, self.since, self.before) if each is not None)


class _Watch:
    """A rule on one connection: armed or not."""

    __slots__ = ("_armed", "_since", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._since: deque[Message] = deque(maxlen=_OUTSTANDING)
        self._armed = rule.since is None

    def takes(self, message: Message) -> bool:
        """Follow what goes by; whether the rule is to act on it."""
        rule = self.rule
        if rule.exhausted:
            return False
        if rule.stateless:
            return rule.matcher.fits(message) and rule.count()
        if rule.before is not None and self._armed and rule.before.fits(message, self._since):
            self._disarm(rule.before, message)
        if self._armed and rule.matcher.fits(message, self._since) and rule.count():
            return True
        if rule.since is not None and rule.since.fits(message):
            self._armed = True
            self._since.append(message)
        return False

    def _disarm(self, before: Matcher, message: Message) -> None:
        answered = [each for each in self._since if before.fits(message, (each,))]
        for each in answered:
            self._since.remove(each)
        self._armed = bool(self._since)


class MessageEngine:
    """Both directions of a connection, and the rules on their messages.

    `bitten` is called with a rule's number whenever it has acted. `agreement` says what may be
    inflated; compressed messages of the other direction pass untouched.
    """

    def __init__(self, bitten: Callable[[int], None], agreement: Agreement = INDEPENDENT) -> None:
        self._bitten = bitten
        self._outputs: list[Output] = []
        self._watches: list[_Watch] = []
        self._late = LateQueue()
        self._live: list[Rule] = []
        self._reached: set[Way] = set()
        self._bites: list[int] = []
        self._over = False
        self._hushed = False
        self._ended: set[Way] = set()
        self._flows: dict[Way, Flow] = {
            way: Flow(way, getattr(agreement, way), self._judge, self._follow, self._write)
            for way in WAYS
        }
        self._now = 0.0

    # What goes by

    def feed(self, way: Way, data: bytes, now: float) -> list[Output]:
        """These bytes came in; what is to be done."""
        if not self._hushed and not self._over:
            self._now = now
            self._flows[way].feed(data)
        return self._taken()

    def end(self, way: Way, now: float) -> list[Output]:
        """This direction has ended by a FIN; the output `End` passes it on.

        It comes behind what is late. What is held is lost. Where a `Hush` keeps the sockets, the
        server's end waits for the client's.
        """
        self._ended.add(way)
        if self._over:
            return []
        self._now = now
        if not self._hushed:
            self._flows[way].flush()
            self._behind_what_is_late(way, None)
        elif "client_to_server" in self._ended:
            for each in sorted(self._ended):
                self._behind_what_is_late(each, None)
        return self._taken()

    def due(self) -> float | None:
        """When `tick` should be called, or None."""
        return self._late.due

    def tick(self, now: float) -> list[Output]:
        """What is late leaves, as far as its time has come."""
        self._now = now
        while (late := self._late.pop(now)) is not None:
            self._release(late)
        if not self._late:
            self._look_out()
        return self._taken()

    def held(self, way: Way) -> int:
        """Bytes of this direction that came in and have not gone out."""
        return self._flows[way].held + self._late.bytes(way)

    # Rules

    def add(self, rule: Rule, now: float) -> list[Output]:
        """Put a rule in force, behind those that are."""
        self._now = now
        if not rule.fault.at_once:
            self._watches.append(_Watch(rule))
            self._look_out()
        elif rule.count():
            self._bites.append(rule.number)
            self._follow([(rule.number, step) for step in rule.fault.opening()])
        return self._taken()

    def remove(self, number: int, now: float) -> list[Output]:
        """Remove a rule; what it held or delayed leaves now, in order."""
        self._now = now
        self._watches = [each for each in self._watches if each.rule.number != number]
        self._look_out()
        for late in self._late.take(lambda each: each.number == number):
            self._release(late)
        for flow in self._flows.values():
            flow.settle(number)
        self._catch_up()
        self._look_out()
        return self._taken()

    def idle(self, way: Way) -> bool:
        """No rule looks at this direction or writes to it, and nothing of it is on its way."""
        if any(rule.exhausted for rule in self._live):
            self._look_out()  # on another connection, perhaps
        if self._hushed or self._over or way in self._reached:
            return False
        return self._flows[way].idle and not self._late.has(way)

    def join(self, way: Way, left: int, begun: bytes, in_message: bool) -> None:
        """Take over a direction that passed elsewhere until now.

        `left` bytes are missing from its last frame, or `begun` of the next header went by;
        `in_message` tells whether more fragments of a message are to come.
        """
        self._flows[way].join(left, begun, in_message)

    def release(self, way: Way) -> bytes:
        """Give an idle direction back: what came in and waits for the rest of a frame."""
        return self._flows[way].leave()

    def _look_out(self) -> None:
        """Tell each direction which opcodes it must stop for."""
        self._live = [watch.rule for watch in self._watches if not watch.rule.exhausted]
        self._reached = {way for rule in self._live for way in rule.fault.reach()}
        for way, flow in self._flows.items():
            opcodes = {
                opcode
                for rule in self._live
                for matcher in rule.matchers()
                if way in matcher.ways
                for opcode in matcher.opcodes
            }
            # A Close frame must not overtake what is late.
            flow.look_at(opcodes | {CLOSE} if opcodes or self._late.has(way) else opcodes)

    # What becomes of a message

    def _judge(self, message: Message) -> Steps | None:
        """What the rules say is to happen; None where the message passes as it is."""
        steps: Steps | None = None
        for watch in self._watches:
            if steps is not None:
                steps = [after for step in steps for after in self._through(watch, step)]
            elif watch.takes(message):
                steps = self._acted(watch.rule, Sending(message))
        # A Close frame must not overtake what is late.
        if steps is None and self._late and message.opcode == CLOSE:
            return [(0, Sending(message))]
        return steps

    def _through(self, watch: _Watch, step: tuple[int, Step]) -> Steps:
        """What this rule makes of what the rules before it have left."""
        _, sending = step
        if isinstance(sending, Sending) and not sending.message.final:
            after = self._acted(watch.rule, sending) if watch.takes(sending.message) else None
            return (step,) if after is None else after
        return (step,)

    def _acted(self, rule: Rule, sending: Sending) -> Steps | None:
        """What this rule does to a message; None where there is nothing that it could do."""
        steps = rule.act(sending.message)
        if rule.exhausted:
            self._look_out()
        if steps is None:
            return None
        self._bites.append(rule.number)
        return [
            (rule.number, each._replace(delay=each.delay + sending.delay))
            if isinstance(each, Sending) and sending.delay
            else (rule.number, each)
            for each in steps
        ]

    def _follow(self, steps: Steps) -> None:
        """Do what the rules say, and then tell of it: who is told may remove them."""
        self._do(steps)
        bites, self._bites = self._bites, []
        for number in bites:
            self._bitten(number)

    def _do(self, steps: Steps) -> None:
        for number, step in steps:
            if self._over:
                return
            match step:
                case Sending(message, delay, behind_next):
                    self._send(number, message, delay, behind_next)
                case Finish(how):
                    self._over = True
                    self._outputs.append(Cut(number, how))
                case Hush():
                    self._hushed = True
                    self._late.take(lambda late: True)

    def _send(self, number: int, message: Message, delay: float, behind_next: bool) -> None:
        if delay > 0:
            self._late.put(self._now + delay, number, message.way, message)
            if not self._flows[message.way].looks_at(CLOSE):
                self._look_out()
        elif message.opcode == CLOSE and not message.final:
            self._behind_what_is_late(message.way, message)
        elif behind_next:
            self._flows[message.way].send_behind_next(number, message)
        else:
            self._flows[message.way].send(message)

    def _behind_what_is_late(self, way: Way, message: Message | None) -> None:
        """Send a Close frame, or end the direction, with nothing to come after it."""
        self._late.take(lambda late: late.way == way and late.due == math.inf)
        due = self._late.last_due(way)
        if due is None:
            self._leave(way, message)
        else:
            self._late.put(due, 0, way, message)

    def _release(self, late: Late) -> None:
        self._leave(late.way, late.message)

    def _leave(self, way: Way, message: Message | None) -> None:
        if message is None:
            self._outputs.append(End(way))
        else:
            self._flows[way].send(message)

    def _catch_up(self) -> None:
        """Let leave what was late only because of something that has gone."""
        waiting = {late.way for late in self._late if late.number}
        for late in self._late.take(lambda each: not each.number and each.way not in waiting):
            self._release(late)

    def _write(self, way: Way, data: bytes) -> None:
        if not self._over and not self._hushed:
            self._outputs.append(Write(way, data))

    def _taken(self) -> list[Output]:
        taken, self._outputs = self._outputs, []
        return taken
