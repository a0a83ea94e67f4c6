"""The routes of Toxiproxy's API: what each asks for, and what it answers.

The contract is Toxiproxy 2.12's own, down to the bytes: statuses, messages, the order of keys, and
what is checked before what.
"""

from __future__ import annotations

from squall_proxy.toxiproxy import go_json
from squall_proxy.toxiproxy.errors import APIError, bad_body, bad_request, conflict, missing
from squall_proxy.toxiproxy.go_json import Found, GoJSONError, Struct
from squall_proxy.toxiproxy.http import Answer, Request
from squall_proxy.toxiproxy.proxies import Collection, Served, Wish
from squall_proxy.toxiproxy.toxics import TOXICS, WAYS, Toxic

_LOGGER = Struct("zerolog.Logger", "Logger")

_PROXY = Struct(
    "toxiproxy.Proxy",
    "Proxy",
    {
        "name": "string",
        "listen": "string",
        "upstream": "string",
        "enabled": "bool",
        "Logger": _LOGGER,
        "websocket": "bool",  # ours
    },
)
_POPULATED = Struct(
    'struct { toxiproxy.Proxy; Enabled *bool "json:\\"enabled\\"" }',
    "",
    _PROXY.fields,
    within=dict.fromkeys(("name", "listen", "upstream", "Logger"), "Proxy."),
)
_NEW_TOXIC = Struct(
    "toxics.ToxicWrapper",
    "ToxicWrapper",
    {
        # Of which type they are is not known when a body is read for the first time.
        "attributes": Struct("toxics.NoopToxic", "NoopToxic"),
        "name": "string",
        "type": "string",
        "stream": "string",
        "toxicity": "float32",
    },
)


class Toxiproxy:
    """Toxiproxy's routes on a collection of proxies."""

    def __init__(self, proxies: Collection, version: str) -> None:
        self._proxies = proxies
        self._version = version

    # -- proxies -----------------------------------------------------------------------------

    async def list_proxies(self, request: Request) -> Answer:
        """Every proxy, by name."""
        by_name = {proxy.wish.name: proxy for proxy in self._proxies}
        names = sorted(by_name, key=lambda name: name.encode())
        return ok({name: by_name[name].as_json() for name in names})

    async def create_proxy(self, request: Request) -> Answer:
        """A new proxy."""
        found = read(request, _PROXY)
        for each in ("name", "upstream"):
            if not found.get(each):
                raise missing(each)
        proxy = await self._proxies.create(_wish(found))
        return ok(proxy.as_json(), 201)

    async def show_proxy(self, request: Request, proxy: str) -> Answer:
        """One proxy."""
        return ok(self._proxies[proxy].as_json())

    async def update_proxy(self, request: Request, proxy: str) -> Answer:
        """A proxy with another address, or taken up or down."""
        self._proxies[proxy]
        found = read(request, _PROXY)
        changed = await self._proxies.update(
            proxy, found.get("listen"), found.get("upstream"), found.get("enabled")
        )
        return ok(changed.as_json())

    async def delete_proxy(self, request: Request, proxy: str) -> Answer:
        """A proxy less."""
        await self._proxies.delete(proxy)
        return Answer(204)

    async def populate(self, request: Request) -> Answer:
        """Several proxies; the answer says which there are, also where one of them failed."""
        done: list[Served] = []
        error: APIError | None = None
        try:
            try:
                found = go_json.read_list(request.body, _POPULATED)
            except GoJSONError as wrong:
                raise bad_body(str(wrong)) from None
            for number, each in enumerate(found, 1):
                for key in ("name", "upstream"):
                    if not each.get(key):
                        raise missing(f"{key} at proxy {number}")
            await self._proxies.populate([_wish(each) for each in found], done)
        except APIError as wrong:
            error = wrong
        said = error.as_json() if error else {}
        said["proxies"] = [proxy.as_json() for proxy in done] or None
        return ok(said, error.status if error else 201)

    async def reset(self, request: Request) -> Answer:
        """All proxies up, without toxics."""
        await self._proxies.reset()
        return Answer(204)

    # -- toxics ------------------------------------------------------------------------------

    async def list_toxics(self, request: Request, proxy: str) -> Answer:
        """The toxics of a proxy."""
        return ok([toxic.as_json() for toxic in self._proxies[proxy].ordered])

    async def create_toxic(self, request: Request, proxy: str) -> Answer:
        """A new toxic."""
        served = self._proxies[proxy]
        found = read(request, _NEW_TOXIC)
        stream = found.get("stream", "downstream")
        if stream.lower() not in WAYS:
            raise bad_request("stream was invalid, can be either upstream or downstream")
        kind = TOXICS.get(found.get("type", ""))
        if kind is None:
            raise bad_request("invalid toxic type")
        name = found.get("name") or f"{kind.name}_{stream}"
        if name in served.toxics:
            raise conflict("toxic already exists")
        attributes = read(request, Struct("", "", {"attributes": kind.struct})).get(
            "attributes", {}
        )
        toxic = Toxic(name, kind, stream, found.get("toxicity", 1.0), attributes)
        _check(toxic)
        served.add(toxic)
        return ok(toxic.as_json())

    async def show_toxic(self, request: Request, proxy: str, toxic: str) -> Answer:
        """One toxic."""
        return ok(self._proxies[proxy].toxic(toxic).as_json())

    async def update_toxic(self, request: Request, proxy: str, toxic: str) -> Answer:
        """A toxic with other attributes; what is not named stays."""
        served = self._proxies[proxy]
        old = served.toxic(toxic)
        update = Struct(
            'struct { Attributes interface {} "json:\\"attributes\\"";'
            ' Toxicity float32 "json:\\"toxicity\\"" }',
            "",
            {"attributes": old.type.struct, "toxicity": "float32"},
        )
        found = read(request, update)
        new = Toxic(
            old.name,
            old.type,
            old.stream,
            found.get("toxicity", old.toxicity),
            {**old.attributes, **found.get("attributes", {})},
        )
        _check(new)
        served.change(new)
        return ok(new.as_json())

    async def delete_toxic(self, request: Request, proxy: str, toxic: str) -> Answer:
        """A toxic less."""
        self._proxies[proxy].remove(toxic)
        return Answer(204)

    # -- about itself ------------------------------------------------------------------------

    async def version(self, request: Request) -> Answer:
        """Which Toxiproxy this is like."""
        body = f'{{"version": "{self._version}"}}\n'.encode()
        return Answer(200, body, "application/json;charset=utf-8")

    async def metrics(self, request: Request) -> Answer:
        """Bytes so far, in Prometheus' text format."""
        return Answer(200, metrics(self._proxies), "text/plain; version=0.0.4; charset=utf-8")


def read(request: Request, into: Struct) -> Found:
    """The fields of a body. Raises `APIError`."""
    try:
        return go_json.read(request.body, into)
    except GoJSONError as error:
        raise bad_body(str(error)) from None


def ok(value: object, status: int = 200) -> Answer:
    """An answer that is not an error, nor text."""
    return Answer(status, go_json.write(value).encode(), "application/json")


def _wish(found: Found) -> Wish:
    return Wish(
        found["name"],
        found.get("listen", ""),
        found["upstream"],
        found.get("enabled", True),
        found.get("websocket", False),
    )


def _check(toxic: Toxic) -> None:
    """Attributes that make Toxiproxy itself crash are refused."""
    try:
        toxic.fault  # noqa: B018
    except ValueError as error:
        raise bad_request(f"invalid attributes: {error}") from None


def metrics(proxies: Collection) -> bytes:
    """Toxiproxy's counters. Connections that are still open count too."""
    lines: list[str] = []
    for name in ("received", "sent"):
        counter = f"toxiproxy_proxy_{name}_bytes_total"
        lines += [f"# HELP {counter} ", f"# TYPE {counter} counter"]
        samples = []
        for proxy in proxies:
            traffic = proxy.traffic
            up, down = traffic.from_client, traffic.from_server
            if name == "sent":
                up, down = traffic.to_server, traffic.to_client
            for direction, count in (("downstream", down), ("upstream", up)):
                labels = {
                    "direction": direction,
                    "listener": proxy.wish.listen,
                    "proxy": proxy.wish.name,
                    "upstream": proxy.wish.upstream,
                }
                said = ",".join(f'{key}="{_label(value)}"' for key, value in labels.items())
                samples.append(f"{counter}{{{said}}} {count}")
        lines += sorted(samples)
    return "".join(f"{line}\n" for line in lines).encode()


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
