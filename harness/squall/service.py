"""Who serves what: the steady state, read off the events.

One sentence says what a healthy adapter is: *the exchange serves every wanted channel exactly
once, on live connections, and data flows*. `Service` folds events into that picture. The runner
asks it when to strike; checks ask it how things stood at any instant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from squall.history import Event

# Faults of the proxy that strike once, and end the connection which they hit.
STRIKES = frozenset({"rst", "fin", "half_close", "truncate", "close"})
# Those that have ended the connection when they are said to have fired. `reset_peer` and
# `timeout` fire with the first byte that they keep, before the end: that shows as `closed`.
CUTS = STRIKES | {"cut", "cut_message", "limit_data"}

SOONEST = 0.1
"""What an adapter does sooner after a line falls silent has another reason than the silence.

No rule is so impatient. Of several connections that were cut at once, say, each dials anew.
"""


class Service:
    """The state of the world after the events applied so far.

    A connection is live while the adapter holds its side open: a half-open connection that the
    exchange still serves, but that the adapter has left, does not count. Nor does one that a
    fault has just cut, though neither side may have seen it yet.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.wanted: frozenset[str] = frozenset()
        self.adapters = 1
        self.left: set[int] = set()
        self.open: set[int] = set()
        self.served: dict[int, set[str]] = {}
        self.flowing: dict[int, set[str]] = {}
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Take one more event into account."""
        match event.source, event.kind:
            case "scenario", "wanted":
                self.wanted = frozenset(event["channels"])
                self.adapters = event.get("adapters", 1)
            case "proxy", "client_closed" | "closed":
                self._leave(event.connection)
            case "proxy", "fault_fired" if event["fault"] in CUTS:
                self._leave(event.connection)
            case "exchange", _ if event.connection is not None:
                self._apply_exchange(event, event.connection)

    def _apply_exchange(self, event: Event, connection: int) -> None:
        match event.kind:
            case "opened":
                if connection not in self.left:
                    self.open.add(connection)
                self.served[connection] = set()
                self.flowing[connection] = set()
            case "subscribed":
                self.served.setdefault(connection, set()).update(event["channels"])
            case "unsubscribed":
                self.served.get(connection, set()).difference_update(event["channels"])
                self.flowing.get(connection, set()).difference_update(event["channels"])
            case "sent":
                self.flowing.setdefault(connection, set()).add(event["channel"])
            case "closed":
                # Behind a blackhole the adapter may hold on to what the exchange has given up.
                self.open.discard(connection)

    def _leave(self, connection: int | None) -> None:
        if connection is not None:
            self.left.add(connection)
            self.open.discard(connection)

    def counts(self) -> Counter[str]:
        """How many times each channel is served on live connections."""
        return Counter(
            channel for connection in self.open for channel in self.served.get(connection, ())
        )

    def problems(self) -> list[str]:
        """What keeps this from being the steady state, a sentence each; empty when steady."""
        counts = self.counts()
        found = [f"{channel} is not served" for channel in sorted(self.wanted - counts.keys())]
        found += [
            f"{channel} is served {n} times" + (f", not {self.adapters}" * (self.adapters > 1))
            for channel, n in sorted(counts.items())
            if n != self.adapters
        ]
        found += [
            f"{channel} is served but no longer wanted"
            for channel in sorted(counts.keys() - self.wanted)
        ]
        return found

    @property
    def steady(self) -> bool:
        """Every wanted channel is served exactly once (by each adapter), and sends data."""
        if not self.wanted or self.problems():
            return False
        flowing = {c for connection in self.open for c in self.flowing.get(connection, ())}
        return self.wanted <= flowing
