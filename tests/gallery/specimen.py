"""What a wrong adapter comes with: a name, the bug, where it was reported, and who catches it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection

from gallery.good import Adapter


@dataclass(frozen=True)
class Specimen:
    """An adapter of the gallery."""

    name: str
    """Kebab-case, the name of its class."""

    about: str
    """One sentence: what it does wrong."""

    bug: str
    """A real bug of this kind."""

    caught: Mapping[str, str]
    """The scenarios that must catch it, and the check that must name it in each."""

    adapter: type[Adapter]
    process: bool = False
    """Whether only the operating system, or its standard error, shows the bug."""

    @property
    def object(self) -> str:
        """The adapter function, as a manifest names it."""
        return f"{self.adapter.__module__}:{self.adapter.__name__}"


GALLERY: dict[str, Specimen] = {}


def specimen(
    bug: str, caught: Mapping[str, str], *, process: bool = False
) -> Callable[[type[Adapter]], type[Adapter]]:
    """Put an adapter into the gallery; its docstring says what it does wrong."""

    def enter(adapter: type[Adapter]) -> type[Adapter]:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", adapter.__name__).lower()
        about = " ".join((adapter.__doc__ or "").split())
        GALLERY[name] = Specimen(name, about, bug, caught, adapter, process)
        return adapter

    return enter


class Counting(Adapter):
    """Knows whether it has been connected before, for bugs that show on a reconnect alone."""

    connections = 0

    async def dial(self) -> ClientConnection:
        ws = await super().dial()
        self.connections += 1
        return ws

    @property
    def reconnected(self) -> bool:
        return self.connections > 1
