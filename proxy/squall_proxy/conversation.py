"""What the two directions of a connection say: HTTP heads up to the upgrade, then frames.

It looks on while the original bytes pass, and knows the places where a cut may be made. Heads of
an upgrade may be rewritten on their way, and message rules come between the frames; without
either, bytes are neither held nor changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from squall_proxy.deflate import INDEPENDENT, Agreement, Compression, agreed, answered, offered
from squall_proxy.editor import Editor, Owner
from squall_proxy.engine import Rule
from squall_proxy.faults.base import Way
from squall_proxy.faults.upgrades import TamperUpgrade
from squall_proxy.frames import FrameTracker, Truncation
from squall_proxy.http1 import (
    EXTENSIONS,
    HeadReader,
    Request,
    Response,
    parse_request,
    parse_response,
    with_field,
)
from squall_proxy.link import End
from squall_proxy.relay import Relay
from squall_proxy.side import Feed
from squall_proxy.timers import Timer

# How long the rest of a request's head may take, from one piece to the next. A client that waits
# for an answer to less than a head speaks something else, and must get its answer.
HEAD_PATIENCE = 5.0


class Listener(Owner, Protocol):
    """Who is told what is said."""

    def requested(self, request: Request) -> None:
        """The head of a request came, and is about to be passed on."""

    def answered(self, response: Response) -> None:
        """The head of the answer was passed on."""


class FrameStage:
    """Follows the frames of one direction. Cuts wait here until their place has come."""

    __slots__ = (
        "_at_boundary",
        "_begun",
        "_front",
        "_in_frame",
        "_truncation",
        "accept",
        "relay",
        "tracker",
    )

    def __init__(self, relay: Relay) -> None:
        self.tracker = FrameTracker()
        self.relay = relay
        self.accept: Feed = self.feed
        self._begun = False
        self._front: Feed | None = None
        self._at_boundary: dict[int, Callable[[], None]] = {}
        self._in_frame: dict[int, Callable[[], None]] = {}
        self._truncation: Truncation | None = None

    def begin(self) -> None:
        """From here on the bytes are frames."""
        self._begun = True
        self._look_closely_if_needed()

    def set_front(self, front: Feed | None) -> None:
        """Let `front` see the bytes first; it passes them to `accept`."""
        self._front = front
        self._look_closely_if_needed()

    def at_boundary(self, number: int, cut: Callable[[], None]) -> None:
        """Call `cut` between two frames; at once, where it is so now."""
        self._at_boundary[number] = cut
        self._look_closely_if_needed()

    def in_frame(self, number: int, cut: Callable[[], None]) -> None:
        """Call `cut` when half of the next frame has passed."""
        self._in_frame[number] = cut
        self._look_closely_if_needed()

    def cancel(self, number: int) -> None:
        """Cut nothing any more on behalf of this fault."""
        self._at_boundary.pop(number, None)
        self._in_frame.pop(number, None)
        if not self._in_frame:
            self._truncation = None
        self._look_closely_if_needed()

    def feed(self, data: bytes) -> None:
        """The stage while no cut waits."""
        self.tracker.feed(data)
        self.relay.forward(data)

    def _look_closely_if_needed(self) -> None:
        if not self._begun:
            return
        if self._at_boundary and self.tracker.at_boundary:
            self._cut(self._at_boundary)
            return
        closely = self._at_boundary or self._in_frame
        self.accept = self._feed_closely if closely else self.feed
        self.relay.set_stage(self._front or self.accept)

    def _feed_closely(self, data: bytes) -> None:
        """The stage while a cut waits."""
        if self._truncation is None:
            boundary = self.tracker.boundary(data)
            if boundary is None:
                return self.feed(data)
            self.feed(data[:boundary])
            data = data[boundary:]
            if self._at_boundary:
                return self._cut(self._at_boundary)
            self._truncation = Truncation()
        half, done = self._truncation.feed(data)
        self.feed(half)
        if done:
            self._cut(self._in_frame)
        return None

    def _cut(self, waiting: dict[int, Callable[[], None]]) -> None:
        # One cut ends the connection, which takes back the others.
        next(iter(waiting.values()))()


class Conversation:
    """Reports requests as they arrive and answers once they were passed on."""

    __slots__ = (
        "_agreement",
        "_answers",
        "_compression",
        "_down",
        "_editor",
        "_listener",
        "_patience",
        "_requests",
        "_rules",
        "_tampering",
        "_unanswered",
        "_up",
        "_upgraded",
        "down_frames",
        "up_frames",
    )

    def __init__(
        self, up: Relay, down: Relay, listener: Listener, compression: Compression = "independent"
    ) -> None:
        self.up_frames = FrameStage(up)
        self.down_frames = FrameStage(down)
        self._up = up
        self._down = down
        self._listener = listener
        self._compression: Compression = compression
        self._agreement: Agreement = INDEPENDENT
        self._upgraded = False
        self._editor: Editor | None = None
        # What only connections with a fault need is made when one comes.
        self._rules: dict[int, Rule] | None = None
        self._tampering: dict[int, TamperUpgrade] | None = None
        self._patience: Timer | None = None
        self._unanswered: list[Request] = []
        self._requests: HeadReader[Request] = HeadReader(parse_request)
        self._answers: HeadReader[Response] = HeadReader(self._parse_answer)
        up.set_stage(self._read_requests)
        down.set_stage(self._read_answers)

    # Faults

    def edit(self, rule: Rule) -> None:
        """Put a rule on messages in force, from the upgrade on."""
        self._rules = self._rules or {}
        self._rules[rule.number] = rule
        if self._upgraded:
            self._edit(rule)

    def tamper(self, number: int, fault: TamperUpgrade) -> None:
        """Tamper with the upgrade that is to come."""
        self._tampering = self._tampering or {}
        self._tampering[number] = fault

    def cancel(self, number: int) -> None:
        """Do nothing any more on behalf of this fault."""
        self.up_frames.cancel(number)
        self.down_frames.cancel(number)
        if self._tampering is not None:
            self._tampering.pop(number, None)
        rule = self._rules.pop(number, None) if self._rules else None
        if rule is not None and self._editor is not None:
            self._editor.remove(number)

    def end(self, relay: Relay) -> None:
        """One direction has ended by a FIN: pass that on behind what is still kept of it."""
        way: Way = "client_to_server" if relay is self._up else "server_to_client"
        if self._editor is not None:
            self._editor.end(way)
            return
        if relay is self._up:
            self._await_rest(False)
        rest = self._requests.flush() if relay is self._up else self._answers.flush()
        if rest:
            relay.forward(rest)
        relay.end(End.FIN)

    def stop(self) -> None:
        """The proxy ends the connection: what rules have kept is lost."""
        self._await_rest(False)
        if self._editor is not None:
            self._editor.close()

    def _edit(self, rule: Rule) -> None:
        if self._editor is None:
            stages: dict[Way, FrameStage] = {
                "client_to_server": self.up_frames,
                "server_to_client": self.down_frames,
            }
            self._editor = Editor(stages, self._listener, self._agreement)
        self._editor.add(rule)

    # Requests

    def _read_requests(self, data: bytes) -> None:
        framed = False
        for piece, request in self._requests.feed(data):
            head = piece
            if request is not None:
                self._unanswered.append(request)
                # Told before it is passed on: a fault may be meant for just this moment.
                self._listener.requested(request)
                head = self._offer(piece, request) if request.upgrade else piece
                self._up.discarded += len(piece) - len(head)
            if framed:
                self._up.source.write(head)
            else:
                self._up.forward(head)
            if request is not None and request.upgrade:
                framed = True
                self._requests.give_up()
                self.up_frames.begin()
        if self._requests.opaque and not framed:
            self._look_no_more()
        if self._patience is not None or self._requests.waits:
            self._await_rest(self._requests.waits)

    def _await_rest(self, waits: bool) -> None:
        """Hold the beginning of a head, but not for ever."""
        if self._patience is not None:
            self._patience.cancel()
        self._patience = (
            self._listener.timers.after(HEAD_PATIENCE, self._lose_patience) if waits else None
        )

    def _lose_patience(self) -> None:
        self._patience = None
        self._requests.give_up()
        self._up.forward(self._requests.flush())
        self._look_no_more()

    def _look_no_more(self) -> None:
        """This is no HTTP: from here on bytes pass without a look."""
        self._up.set_stage(None)
        self._down.set_stage(None)
        self._down.forward(self._answers.flush())

    def _offer(self, head: bytes, request: Request) -> bytes:
        """The request as the exchange gets it."""
        extensions = offered(request.extensions, self._compression)
        if extensions != request.extensions:
            head = with_field(head, EXTENSIONS, extensions)
        for number, fault in (self._tampering or {}).items():
            before, head = head, fault.request(head)
            if head != before:
                self._listener.bitten(number)
        return head

    # Answers

    def _parse_answer(self, text: bytes) -> Response | None:
        return parse_response(text, self._unanswered[0].method if self._unanswered else "GET")

    def _read_answers(self, data: bytes) -> None:
        framed = False
        for piece, answer in self._answers.feed(data):
            if framed:
                self._down.source.write(piece)
            elif answer is None or answer.interim:
                self._down.forward(piece)
            else:
                framed = self._take(piece, answer)

    def _take(self, piece: bytes, answer: Response) -> bool:
        """Pass on the head of an answer; whether frames follow it."""
        request = self._unanswered.pop(0) if self._unanswered else None
        if request is None or not request.upgrade:
            self._down.forward(piece)
            return False
        head, ended_by = self._grant(piece, answer) if answer.upgraded else (piece, None)
        self._down.discarded += len(piece) - len(head)
        self._down.forward(head)
        if ended_by is not None:
            self._listener.cut_by(ended_by, "fin")
            return True
        if answer.upgraded:
            self._answers.give_up()
        else:
            self._requests.resume()
            self._up.set_stage(self._read_requests)
        self._down.mark(lambda: self._listener.answered(answer))
        if answer.upgraded:
            self.down_frames.begin()
            self._upgraded = True
            for rule in tuple((self._rules or {}).values()):
                self._edit(rule)
        return answer.upgraded

    def _grant(self, head: bytes, answer: Response) -> tuple[bytes, int | None]:
        """The 101 as the client gets it, and the fault that ends the connection with it."""
        extensions = answered(answer.extensions, self._compression)
        if extensions != answer.extensions:
            head = with_field(head, EXTENSIONS, extensions)
        self._agreement = agreed(extensions)
        for number, fault in (self._tampering or {}).items():
            before, head = head, fault.answer(head)
            if head != before:
                self._listener.bitten(number)
            if fault.ends:
                return head, number
        return head, None
