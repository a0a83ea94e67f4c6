"""One direction of frames: found, shown to the rules where they concern them, and sent.

A stream of frames has few places where something may be put in: a control frame between any two
frames, a message only between two messages (RFC 6455 §5.4). What has to wait for such a place
waits here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

from squall_proxy.faults.base import Way
from squall_proxy.faults.rules import Step
from squall_proxy.frames import CLOSE, CONTINUATION, frame_size
from squall_proxy.messages import MESSAGE_LIMIT, Message

# What is to happen in place of a message, each step on behalf of a rule.
Steps = Sequence[tuple[int, Step]]

_FIN, _DEFLATED = 0x80, 0x40
_UNCONCERNED: tuple[bool, ...] = (False,) * 16


class Flow:
    """The frames of one direction.

    `judge` says what is to happen in place of a message, None where it passes; `follow` does it,
    and comes back to `send`.
    """

    def __init__(
        self,
        way: Way,
        inflates: bool,
        judge: Callable[[Message], Steps | None],
        follow: Callable[[Steps], None],
        write: Callable[[Way, bytes], None],
    ) -> None:
        self._way: Way = way
        self._inflates = inflates
        self._judge = judge
        self._follow = follow
        self._write = write
        self._concerned = _UNCONCERNED
        # What came in
        self._left = 0  # bytes missing from a frame that passes as it comes
        self._begun = b""  # of a header, and passed on already
        self._kept: list[bytes] = []  # the beginning of a frame to look at
        self._kept_bytes = self._needed = 0
        self._fragments: list[bytes] | None = None  # of a message to look at
        self._fragments_bytes = 0
        # What went out
        self._open = False  # fragments of a message that passes as it comes
        self._passed = False  # a message, since one has been waiting to leave behind it
        self._waiting: list[Message] = []
        self._behind: list[tuple[int, Message]] = []

    @property
    def held(self) -> int:
        """Bytes that came in, or were made, and did not go out."""
        held = self._kept_bytes + self._fragments_bytes
        if self._waiting or self._behind:
            waiting = (*self._waiting, *(message for _, message in self._behind))
            held += sum(len(each.wire) for each in waiting)
        return held

    @property
    def idle(self) -> bool:
        """No rule concerns it and nothing waits, but the beginning of a frame, perhaps."""
        waits = self._fragments is not None or self._waiting or self._behind
        return self._concerned is _UNCONCERNED and not waits

    def looks_at(self, opcode: int) -> bool:
        """Messages with this opcode are shown to `judge`."""
        return self._concerned[opcode]

    def look_at(self, opcodes: Set[int]) -> None:
        """Show messages with these opcodes to `judge`, from the next one on."""
        self._concerned = _UNCONCERNED
        if opcodes:
            self._concerned = tuple(opcode in opcodes for opcode in range(16))

    def join(self, left: int, begun: bytes, in_message: bool) -> None:
        """Go on from where these bytes have passed elsewhere."""
        self._left, self._begun, self._open = left, begun, in_message

    def leave(self) -> bytes:
        """What came in and did not go out because the rest of the frame is to come."""
        kept = b"".join(self._kept)
        self._kept = []
        self._kept_bytes = self._needed = 0
        return kept

    # What comes in

    def feed(self, data: bytes) -> None:
        """Follow the stream over these bytes."""
        position = begin = 0
        if self._left:
            size = len(data)
            if size < self._left:
                self._left -= size
                self._write(self._way, data)
                return
            position, self._left = self._left, 0
        elif self._kept:
            self._kept.append(data)
            self._kept_bytes += len(data)
            if self._kept_bytes < self._needed:
                return
            data = self.leave()
        elif self._begun:
            begin = len(self._begun)
            data, self._begun = self._begun + data, b""
            position = frame_size(data)
            if not position:
                self._begun = data
                self._write(self._way, data[begin:])
                return
            if data[0] & 0x0F < CLOSE:
                self._pass(data[0])
        self._scan(data, begin, position)

    def _scan(self, data: bytes, begin: int, position: int) -> None:
        """Go from frame to frame; what stands before `begin` has been dealt with."""
        end = len(data)
        while position < end:
            if self._waiting or self._behind:
                self._write_span(data, begin, position)
                begin = position
                self._fill_the_gap()
            size = frame_size(data, position)
            first = data[position]
            opcode = first & 0x0F
            if size and not self._is_to_be_seen(first, opcode, size):
                if opcode < CLOSE:
                    self._pass(first)
                position += size
                continue
            after = position + size
            if not size and not self._is_to_be_seen(first, opcode, 0):
                self._write_span(data, begin, end)
                self._begun = data[position:]
                return
            if not size or after > end:
                self._write_span(data, begin, position)
                self._keep(data[position:], size or end - position + 1)
                return
            message = self._collected(first, opcode, data[position:after])
            steps = self._judge(message) if message else None
            if steps is None and message and len(message.frames) == 1:
                if opcode < CLOSE:
                    self._pass(first)
            else:
                self._write_span(data, begin, position)
                begin = after
                if steps is not None:
                    self._follow(steps)
                elif message:
                    self.send(message)
            position = after
        self._write_span(data, begin, min(position, end))
        self._left = position - end
        self._fill_the_gap()

    def _is_to_be_seen(self, first: int, opcode: int, size: int) -> bool:
        """Whether the rules must see the message to which this frame belongs."""
        if opcode >= CLOSE:
            return self._concerned[opcode] and size <= MESSAGE_LIMIT
        if self._fragments is not None:
            if opcode == CONTINUATION and self._fragments_bytes + size <= MESSAGE_LIMIT:
                return True
            self._pass_fragments()
        if opcode == CONTINUATION or not self._concerned[opcode] or size > MESSAGE_LIMIT:
            return False
        return self._inflates or not first & _DEFLATED

    def _pass(self, first: int) -> None:
        """A frame of a message passes as it is."""
        if first & _FIN:
            self._open = False
            self._passed = True
        else:
            self._open = True

    def _collected(self, first: int, opcode: int, frame: bytes) -> Message | None:
        """The message that this frame completes, if it does."""
        if opcode >= CLOSE or (first & _FIN and opcode != CONTINUATION):
            return Message(self._way, opcode, (frame,))
        if self._fragments is None:
            self._fragments = []
        self._fragments.append(frame)
        self._fragments_bytes += len(frame)
        if not first & _FIN:
            return None
        frames, self._fragments = tuple(self._fragments), None
        self._fragments_bytes = 0
        return Message(self._way, frames[0][0] & 0x0F, frames)

    def _keep(self, rest: bytes, needed: int) -> None:
        self._kept, self._kept_bytes, self._needed = [rest], len(rest), needed

    def flush(self) -> None:
        """The stream has ended: what its rest was waited for passes as it is."""
        if self._fragments is not None:
            self._pass_fragments()
        kept = self.leave()
        for _, message in self._take_behind():
            self.send(message)
        self._write_span(kept, 0, len(kept))

    # What goes out

    def send(self, message: Message) -> None:
        """Write a message as soon as there is a place for it."""
        if self._left or self._begun or (self._open and not message.control):
            self._waiting.append(message)
            return
        self._write(self._way, message.wire)
        if not message.control:
            for _, other in self._take_behind():
                self._write(self._way, other.wire)

    def send_behind_next(self, number: int, message: Message) -> None:
        """Write a message behind the next one, on behalf of a rule."""
        if self._behind:
            self.send(message)
        else:
            self._behind.append((number, message))
            self._passed = False

    def settle(self, number: int) -> None:
        """This rule is removed: nothing waits on its behalf any more."""
        if any(each == number for each, _ in self._behind):
            for _, message in self._take_behind():
                self.send(message)
        self._fill_the_gap()

    def _fill_the_gap(self) -> None:
        """Write what may stand here."""
        if self._left or self._begun:
            return
        if self._fragments is not None and self._concerned is _UNCONCERNED:
            self._pass_fragments()
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for message in waiting:
                self.send(message)
        if self._behind and self._passed and not self._open:
            for _, message in self._take_behind():
                self._write(self._way, message.wire)

    def _pass_fragments(self) -> None:
        """Nobody is to see the whole of this message after all."""
        fragments, self._fragments = self._fragments or [], None
        self._fragments_bytes = 0
        self._open = True
        for each in fragments:
            self._write(self._way, each)

    def _take_behind(self) -> list[tuple[int, Message]]:
        behind, self._behind = self._behind, []
        return behind

    def _write_span(self, data: bytes, begin: int, end: int) -> None:
        if begin < end:
            self._write(self._way, data[begin:end] if end - begin < len(data) else data)
