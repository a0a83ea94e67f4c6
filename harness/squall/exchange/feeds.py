"""When each channel sends, and which number its messages carry.

A channel's messages are numbered from the start of the exchange, and the numbers go on whether or
not anybody listens. So a subscriber can tell across a reconnect what it has missed, and nothing
need be remembered of a channel that nobody has subscribed to.
"""

from __future__ import annotations

import zlib


class Feed:
    """The schedule of one channel: message `n + 1` falls due `n` periods after the origin.

    `restarted` is the number of the message with which the venue began the channel anew, None where
    it never did.

    The origin is shifted by a fraction of the period that depends on the channel's name, so that
    hundreds of channels do not all send in the same instant.
    """

    def __init__(self, channel: str, start: float, period: float) -> None:
        self.channel = channel
        self.running = False
        self.restarted: int | None = None
        self._origin = start + period * (zlib.crc32(channel.encode()) / 2**32)
        self._period = period
        self._ticks = 0
        self._withheld = 0

    @property
    def due(self) -> float:
        """When the next message is to be sent."""
        return self._origin + self._ticks * self._period

    @property
    def number(self) -> int:
        """How many messages there have been."""
        return self._ticks - self._withheld

    def catch_up(self, now: float) -> None:
        """Count what went by while nobody listened."""
        self._ticks = max(self._ticks, int((now - self._origin) // self._period))
        while self.due <= now:
            self._ticks += 1

    def forgive(self, now: float) -> None:
        """Let the periods pass that went by unserved, numbers and all.

        An exchange that was held up does not send all that it missed in one burst, or it would
        never recover from being too slow.
        """
        while self.due + self._period <= now:
            self.withhold()

    def advance(self, count: int = 1) -> int:
        """Go on by `count` messages; the number of the last of them."""
        self._ticks += count
        return self.number

    def withhold(self) -> None:
        """Let a period pass in which the channel has nothing to say; its number stays."""
        self._ticks += 1
        self._withheld += 1
