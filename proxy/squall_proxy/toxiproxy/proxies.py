"""Proxies as Toxiproxy's clients see them: by name, with an order of toxics, up or down.

One that is up is a `squall_proxy.Proxy` on a port of its own; taking it down closes that port and
its connections, and its toxics stay for the next time.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

from squall_proxy.faults import Fault
from squall_proxy.injection import ALL, Injection, Observe, Target
from squall_proxy.proxy import Proxy
from squall_proxy.status import Status, Traffic
from squall_proxy.tls import Certificates
from squall_proxy.toxiproxy.addresses import GoNetError, Resolved, cannot_bind, resolve
from squall_proxy.toxiproxy.errors import conflict, failed, not_found
from squall_proxy.toxiproxy.toxics import Toxic

# Where a dial goes whose name means nothing: it is refused.
_NOWHERE = ("127.0.0.1", 0)


@dataclass(frozen=True)
class Wish:
    """A proxy as a client describes it.

    With `websocket` it reads HTTP and WebSocket as they pass, so that faults of messages have
    their place; Toxiproxy has no such thing. Without, it is transparent to any protocol.
    """

    name: str
    listen: str
    upstream: str
    enabled: bool = True
    websocket: bool = False
    tls: Certificates | None = None
    """With them its clients are to speak TLS."""


class Collection:
    """All proxies, by name, in the order in which they were made."""

    def __init__(self, observe: Observe, rng: Random, numbers: Iterator[int]) -> None:
        self._observe = observe
        self._rng = rng
        self._numbers = numbers
        self._ids = itertools.count(1)
        self._proxies: dict[str, Served] = {}
        # Names are looked up while other requests are served; changes come one after the other.
        self._changing = asyncio.Lock()

    def __iter__(self) -> Iterator[Served]:
        return iter(tuple(self._proxies.values()))

    def __getitem__(self, name: str) -> Served:
        """The proxy of this name. Raises `APIError`."""
        if name not in self._proxies:
            raise not_found("proxy not found")
        return self._proxies[name]

    def next_id(self) -> int:
        """A number for a fault to come, which no other has."""
        return next(self._ids)

    async def create(self, wish: Wish) -> Served:
        """Make a proxy, and listen if it is to be up."""
        async with self._changing:
            if wish.name in self._proxies:
                raise conflict("proxy already exists")
            return await self._add(wish)

    async def populate(self, wishes: list[Wish], done: list[Served]) -> None:
        """Make these, one by one; those that are there as wished stay untouched.

        What is `done` stays, also where a later one fails.
        """
        async with self._changing:
            for wish in wishes:
                existing = self._proxies.get(wish.name)
                if existing is None:
                    done.append(await self._add(wish))
                elif await existing.differs(wish):
                    await existing.stop()
                    done.append(await self._add(wish))
                else:
                    done.append(existing)

    async def update(
        self, name: str, listen: str | None, upstream: str | None, enabled: bool | None
    ) -> Served:
        """Change what is given; a change of address ends all connections."""
        async with self._changing:
            proxy = self[name]
            wish = proxy.wish
            wish = replace(
                wish,
                listen=wish.listen if listen is None else listen,
                upstream=wish.upstream if upstream is None else upstream,
                enabled=wish.enabled if enabled is None else enabled,
            )
            if await proxy.differs(wish):
                await proxy.stop()
                proxy.wish = replace(wish, enabled=False)
            if wish.enabled and not proxy.wish.enabled:
                await proxy.start()
            elif not wish.enabled:
                await proxy.stop()
            return proxy

    async def delete(self, name: str) -> None:
        """Close the port and all connections of a proxy, and forget it."""
        async with self._changing:
            await self[name].stop()
            del self._proxies[name]

    async def reset(self) -> None:
        """Take every proxy up, and remove all toxics."""
        async with self._changing:
            for proxy in self:
                await proxy.start()
                proxy.remove_all()

    async def stop(self) -> None:
        """Close every port and connection, all at once."""
        async with self._changing:
            await asyncio.gather(*(proxy.stop() for proxy in self))
            self._proxies.clear()

    async def _add(self, wish: Wish) -> Served:
        proxy = Served(replace(wish, enabled=False), self._make)
        if wish.enabled:
            await proxy.start()
        self._proxies[wish.name] = proxy
        return proxy

    def _make(self, wish: Wish, upstream: tuple[str, int]) -> Proxy:
        return Proxy(
            upstream,
            observe=self._observe,
            rng=Random(self._rng.random()),
            listener=wish.name,
            websocket=wish.websocket,
            tls=wish.tls,
            numbers=self._numbers,
            ids=self._ids,
        )


class Served:
    """One of them."""

    def __init__(self, wish: Wish, make: Callable[[Wish, tuple[str, int]], Proxy]) -> None:
        self.wish = wish  # as it is: its address is numeric while it is up
        self.toxics: dict[str, Toxic] = {}
        self._make = make
        self._proxy: Proxy | None = None
        self._injections: dict[str, Injection] = {}
        self._own: dict[int, Injection] = {}
        self._carried = Traffic()

    # -- up and down -------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, with all toxics in force; nothing happens where it is up. Raises `APIError`."""
        if self._proxy is not None:
            return
        try:
            address = await resolve(self.wish.listen)
        except GoNetError as error:
            raise failed(f"listen tcp: {error}") from None
        proxy = self._make(self.wish, await _upstream(self.wish.upstream))
        bound = await _listen(proxy, address)
        self._proxy = proxy
        self.wish = replace(self.wish, listen=str(bound), enabled=True)
        for toxic in self.toxics.values():
            self._inject(toxic)

    async def stop(self) -> None:
        """Close the port and all connections; the toxics stay, for when it is up again."""
        if self._proxy is None:
            return
        proxy, self._proxy = self._proxy, None
        self.wish = replace(self.wish, enabled=False)
        await proxy.stop()
        self._carried += proxy.traffic
        self._injections.clear()
        self._own.clear()

    async def differs(self, wish: Wish) -> bool:
        """Whether it would have to be made anew for this wish. Raises `APIError`."""
        try:
            address = await resolve(wish.listen)
        except GoNetError as error:
            raise failed(str(error)) from None
        return self.wish.listen != str(address) or self.wish.upstream != wish.upstream

    # -- toxics ------------------------------------------------------------------------------

    @property
    def ordered(self) -> list[Toxic]:
        """Its toxics: those towards the upstream first, each direction in order of creation."""
        return sorted(self.toxics.values(), key=lambda toxic: toxic.way != "client_to_server")

    def toxic(self, name: str) -> Toxic:
        """The toxic of this name. Raises `APIError`."""
        if name not in self.toxics:
            raise not_found("toxic not found")
        return self.toxics[name]

    def add(self, toxic: Toxic) -> None:
        """Put a toxic in force."""
        self.toxics[toxic.name] = toxic
        self._inject(toxic)

    def change(self, toxic: Toxic) -> None:
        """Let the toxic of this name act as this one says, in its place among the others."""
        self.toxics[toxic.name] = toxic
        injection, fault = self._injections.get(toxic.name), toxic.fault
        if self._proxy is not None and injection is not None and fault is not None:
            self._proxy.change(injection, fault, toxic.target)

    def remove(self, name: str) -> None:
        """Remove a toxic; what it held flows on."""
        del self.toxics[self.toxic(name).name]
        injection = self._injections.pop(name, None)
        if injection is not None:
            injection.heal()

    def remove_all(self) -> None:
        """Remove every toxic."""
        for name in tuple(self.toxics):
            self.remove(name)

    def _inject(self, toxic: Toxic) -> None:
        fault = toxic.fault
        if self._proxy is not None and fault is not None:
            self._injections[toxic.name] = self._proxy.inject(fault, toxic.target)

    # -- beyond Toxiproxy --------------------------------------------------------------------

    @property
    def faults(self) -> list[Injection]:
        """The faults in force that are no toxics."""
        self._own = {number: each for number, each in self._own.items() if each.active}
        return list(self._own.values())

    def check(self, fault: Fault, target: Target = ALL) -> None:
        """Raises `APIError`, and ValueError for a fault that has no place here."""
        self._up().check(fault, target)

    def inject(self, fault: Fault, target: Target = ALL, number: int | None = None) -> Injection:
        """Put any fault in force. Raises as `check` does."""
        injection = self._up().inject(fault, target, number)
        if injection.active:
            self._own[injection.id] = injection
        return injection

    def _up(self) -> Proxy:
        if self._proxy is None:
            raise conflict(f"proxy {self.wish.name} is disabled")
        return self._proxy

    @property
    def connections(self) -> list[Status]:
        """Its live connections."""
        return [] if self._proxy is None else self._proxy.connections

    @property
    def traffic(self) -> Traffic:
        """What it has carried since it was made, up to this moment."""
        return self._carried if self._proxy is None else self._carried + self._proxy.traffic

    def as_json(self) -> dict[str, object]:
        """Its form in answers. `Logger` is a leak of Toxiproxy's, kept for who looks for it."""
        return {
            "name": self.wish.name,
            "listen": self.wish.listen,
            "upstream": self.wish.upstream,
            "enabled": self.wish.enabled,
            "Logger": {},
            "toxics": [toxic.as_json() for toxic in self.ordered],
            **({"websocket": True} if self.wish.websocket else {}),
        }


async def _upstream(address: str) -> tuple[str, int]:
    """Where to dial. What cannot be resolved makes dials fail, and nothing else."""
    try:
        found = await resolve(address)
    except GoNetError:
        return _NOWHERE
    return found.host or "127.0.0.1", found.port


async def _listen(proxy: Proxy, address: Resolved) -> Resolved:
    """Listen there; the address that was had. Raises `APIError`."""
    hosts = ("::", "0.0.0.0") if address.everywhere else (address.host,)
    for host in hosts:
        try:
            await proxy.start(host, address.port)
        except OSError as error:
            if host == "::" and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                continue
            raise failed(str(cannot_bind(address, error))) from None
        break
    return Resolved(*proxy.address)
