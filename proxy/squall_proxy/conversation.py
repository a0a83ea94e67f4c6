"""What the two directions of a connection say: HTTP heads up to the upgrade, then frames.

It looks on while the original bytes pass, and knows the places where a cut may be made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from squall_proxy.frames import FrameTracker, Truncation
from squall_proxy.http1 import HeadReader, Request, Response, parse_request, parse_response
from squall_proxy.relay import Relay


class FrameStage:
    """Follows the frames of one direction. Cuts wait here until their place has come."""

    def __init__(self, relay: Relay) -> None:
        self.tracker = FrameTracker()
        self._relay = relay
        self._begun = False
        self._at_boundary: dict[int, Callable[[], None]] = {}
        self._in_frame: dict[int, Callable[[], None]] = {}
        self._truncation: Truncation | None = None

    def begin(self) -> None:
        """From here on the bytes are frames."""
        self._begun = True
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
        self._relay.forward(data)

    def _look_closely_if_needed(self) -> None:
        if not self._begun:
            return
        if self._at_boundary and self.tracker.at_boundary:
            self._cut(self._at_boundary)
        elif self._at_boundary or self._in_frame:
            self._relay.set_stage(self._feed_closely)
        else:
            self._relay.set_stage(self.feed)

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

    def __init__(
        self,
        up: Relay,
        down: Relay,
        requested: Callable[[Request], None],
        answered: Callable[[Response], None],
    ) -> None:
        self.up_frames = FrameStage(up)
        self.down_frames = FrameStage(down)
        self._up = up
        self._down = down
        self._requested = requested
        self._answered = answered
        self._unanswered: deque[Request] = deque()
        self._requests: HeadReader[Request] = HeadReader(parse_request)
        self._answers: HeadReader[Response] = HeadReader(self._parse_answer)
        up.set_stage(self._read_requests)
        down.set_stage(self._read_answers)

    def _parse_answer(self, text: bytes) -> Response | None:
        return parse_response(text, self._unanswered[0].method if self._unanswered else "GET")

    def _read_requests(self, data: bytes) -> None:
        framed = False
        for piece, request in self._requests.feed(data):
            if request is not None:
                self._unanswered.append(request)
                # Told before it is passed on: a fault may be meant for just this moment.
                self._requested(request)
            if framed:
                self._up.source.write(piece)
            else:
                self._up.forward(piece)
            if request is not None and request.upgrade:
                framed = True
                self._requests.give_up()
                self.up_frames.begin()
        if self._requests.opaque and not framed:
            self._up.set_stage(None)
            self._down.set_stage(None)

    def _read_answers(self, data: bytes) -> None:
        framed = False
        for piece, answer in self._answers.feed(data):
            if framed:
                self._down.source.write(piece)
            else:
                self._down.forward(piece)
            if answer is not None and not answer.interim:
                framed = self._take(answer)

    def _take(self, answer: Response) -> bool:
        """Note the answer; whether frames follow it."""
        request = self._unanswered.popleft() if self._unanswered else None
        if request is None or not request.upgrade:
            return False
        if answer.upgraded:
            self._answers.give_up()
        else:
            self._requests.resume()
            self._up.set_stage(self._read_requests)
        self._down.mark(lambda: self._answered(answer))
        if answer.upgraded:
            self.down_frames.begin()
        return answer.upgraded
