"""Faults that end connections, once: by RST, by FIN, in the middle of a frame, or with a code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from squall_proxy.faults.base import CutFault, Ends, Way
from squall_proxy.frames import close_frame


@dataclass(frozen=True)
class Rst(CutFault):
    """The connection is reset: both sides, or one, get a TCP RST, at once.

    Where only one side gets it, the other is left alone: what it sends is taken and lost, until
    it leaves by itself.
    """

    name: ClassVar[str] = "rst"
    side: Ends = "both"


@dataclass(frozen=True)
class Fin(CutFault):
    """The connection ends without a Close frame: both sides get a TCP FIN."""

    name: ClassVar[str] = "fin"


@dataclass(frozen=True)
class HalfClose(CutFault):
    """One `side` gets a TCP FIN and nothing more; what it sends itself still passes."""

    name: ClassVar[str] = "half_close"
    side: Literal["client", "server"] = "client"


@dataclass(frozen=True)
class Truncate(CutFault):
    """The next frame is cut in its middle, then both sides get a TCP FIN."""

    name: ClassVar[str] = "truncate"
    direction: Way = "server_to_client"

    @property
    def needs_websocket(self) -> bool:
        """It looks for the beginning of a frame."""
        return True


@dataclass(frozen=True)
class Close(CutFault):
    """The client gets a Close frame with `code` and `reason`, the exchange a TCP FIN."""

    name: ClassVar[str] = "close"
    code: int = 1000
    reason: str = ""

    def __post_init__(self) -> None:
        close_frame(self.code, self.reason)

    @property
    def needs_websocket(self) -> bool:
        """A Close frame stands at a frame boundary."""
        return True
