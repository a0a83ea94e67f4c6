"""Deribit: JSON-RPC 2.0 over one WebSocket (https://docs.deribit.com).

`wire` spells messages, `channels` knows the names, `market` makes the data, `access` judges logins,
`methods` answers requests. Here they are put together to a dialect.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TypeGuard
from urllib.parse import parse_qsl

from squall.exchange.core import Exchange
from squall.exchange.deribit import access, market, wire
from squall.exchange.deribit import channels as names
from squall.exchange.deribit.channels import Channel
from squall.exchange.deribit.methods import METHODS, QUESTIONS, spell
from squall.exchange.manners import Manners
from squall.exchange.orders import Order
from squall.exchange.protocol import (
    Dialect,
    HttpAnswer,
    HttpRequest,
    Message,
    Op,
    Request,
    VenueError,
)
from squall.exchange.session import Session

_NO_PINGS = "deribit tests its clients with messages, not with pings"
_ABSENT = MappingProxyType(
    {
        "bad_checksum": "deribit's books have no checksum",
        "ping_interval": _NO_PINGS,
        "ping_timeout": _NO_PINGS,
    }
)
_HEARTBEAT = wire.notification("heartbeat", {"type": "heartbeat"})
_TEST_REQUEST = wire.notification("heartbeat", {"type": "test_request"})


class Deribit(Dialect):
    """How Deribit spells requests, replies, channels and data."""

    name = "deribit"
    path = "/ws/api/v2"
    codes = wire.CODES
    errors = wire.ERRORS
    listed = names.LISTED
    absent = _ABSENT
    foreign = ()
    manners = Manners(credits=True, connections_per_address=32)

    # --- channels ---------------------------------------------------------------------------------

    def is_private(self, channel: str) -> bool:
        """All that is about the user needs authentication."""
        return channel.startswith("user.")

    def kind(self, channel: str) -> str | None:
        """The channel's kind, `other` for the quiet ones."""
        found = names.channel(channel)
        return found.kind if found else None

    # --- requests ---------------------------------------------------------------------------------

    def parse(self, text: str) -> Request:
        """Understand a JSON-RPC request; what its parameters are worth shows when it is served."""
        method, id, found = wire.decode(text)
        known = METHODS.get(method)
        op = known.op if known else Op.OTHER
        asked = found.get("channels") if op in (Op.SUBSCRIBE, Op.UNSUBSCRIBE) else None
        token = found.get("access_token")
        return Request(
            method,
            op,
            id,
            found,
            private=method.startswith("private/"),
            channels=tuple(filter(_is_text, asked)) if isinstance(asked, list) else (),
            grant=str(found.get("grant_type", "")),
            material=access.material(found) if op is Op.AUTH else "",
            access_token=token if isinstance(token, str) else None,
        )

    def answer(self, exchange: Exchange, session: Session, request: Request) -> Sequence[str]:
        """Carry out a request and spell the reply."""
        method = METHODS.get(request.method)
        if method is None:
            raise wire.failure(-32601, id=request.id, method=request.method)
        result = method.run(exchange, session, request)
        received, now = exchange.times(request)
        return [wire.reply(request.id, result, received, now)]

    def error(
        self, exchange: Exchange, session: Session, request: Request, error: VenueError
    ) -> str:
        """Spell an error reply."""
        return wire.error_reply(request.id, error, *exchange.times(request))

    # --- data -------------------------------------------------------------------------------------

    def data(self, exchange: Exchange, channel: str, number: int) -> Message:
        """Data message `number` of a channel that flows."""
        found = names.channel(channel)
        assert found is not None, f"{channel} is served, so it exists"
        timestamp = int(exchange.wall_clock * 1000)
        match found.kind:
            case "book":
                return self._book(found, number, timestamp)
            case "trades":
                return self._trades(exchange, found, number, timestamp)
            case "ticker":
                content = market.ticker(found.instrument, number, timestamp)
                return Message(wire.subscription(channel, content))
            case _:
                return self._elsewhere(exchange, found, number)

    def snapshot(self, exchange: Exchange, channel: str, number: int) -> Message | None:
        """A book begins with all of its levels; other channels with whatever happens next."""
        found = names.channel(channel)
        if found is None or found.kind != "book" or found.depth is not None:
            return None
        sides = {
            side: [["new", price, amount] for price, amount in levels]
            for side, levels in market.book(found.instrument, number).items()
        }
        content = {
            "type": "snapshot",
            "timestamp": int(exchange.wall_clock * 1000),
            "instrument_name": found.instrument,
            "change_id": number,
            **sides,
        }
        return Message(wire.subscription(channel, content), number, snapshot=True)

    def order_message(self, exchange: Exchange, channel: str, order: Order) -> Message | None:
        """The order, on channels that follow its instrument or all."""
        found = names.channel(channel)
        if found is None or found.kind != "orders":
            return None
        if not (found.everything or found.instrument == order.instrument):
            return None
        content = spell(exchange, order)
        return Message(wire.subscription(channel, content if found.raw else [content]))

    def _book(self, channel: Channel, number: int, timestamp: int) -> Message:
        content = {
            "timestamp": timestamp,
            "instrument_name": channel.instrument,
            "change_id": number,
        }
        if channel.depth is None:
            chained = {"type": "change", "prev_change_id": number - 1}
            content |= chained | market.book_change(channel.instrument, number)
        else:
            # https://docs.deribit.com: the grouped book is a whole image, with nothing to chain.
            sides = market.book(channel.instrument, number)
            content |= {side: levels[: channel.depth] for side, levels in sides.items()}
        whole = channel.depth is not None
        return Message(wire.subscription(channel.name, content), number, snapshot=whole)

    def _trades(self, exchange: Exchange, channel: Channel, number: int, timestamp: int) -> Message:
        each = exchange.settings.trades_per_message
        seqs = range((number - 1) * each + 1, number * each + 1)
        content = [market.trade(channel.instrument, seq, timestamp) for seq in seqs]
        return Message(wire.subscription(channel.name, content), seqs[-1])

    def _elsewhere(self, exchange: Exchange, channel: Channel, number: int) -> Message:
        """An order of the same account that somebody amends from another place."""
        price = market.price(channel.instrument, number)
        order = exchange.account.elsewhere(number, channel.instrument, 10.0, price)
        content = spell(exchange, order) | {"web": True, "api": False, "replaced": True}
        return Message(wire.subscription(channel.name, content if channel.raw else [content]))

    # --- liveness, notices, HTTP ------------------------------------------------------------------

    def heartbeat(self) -> tuple[str, str]:
        """https://docs.deribit.com/#public-set_heartbeat"""
        return _HEARTBEAT, _TEST_REQUEST

    def notice(self, exchange: Exchange, session: Session, locked: bool) -> tuple[str, str] | None:
        """https://docs.deribit.com, platform_state: for those who subscribed to it."""
        if names.NOTICES not in session.subscriptions:
            return None
        content = {"price_index": "btc_usd", "locked": locked}
        return names.NOTICES, wire.subscription(names.NOTICES, content)

    def rest(self, exchange: Exchange, number: int, request: HttpRequest) -> HttpAnswer:
        """GET /api/v2/public/…, the questions that need no connection."""
        path, query = request.path, request.query
        ask = QUESTIONS.get(path.removeprefix("/api/v2/"))
        received = exchange.wall_clock
        if request.method != "GET" or ask is None:
            error = wire.failure(-32601, method=path)
            return HttpAnswer(404, wire.error_reply(None, error, received, received))
        try:
            result = ask(exchange, dict(parse_qsl(query)))
        except VenueError as error:
            return HttpAnswer(400, wire.error_reply(None, error, received, received))
        return HttpAnswer(200, wire.reply(None, result, received, received))


def _is_text(found: object) -> TypeGuard[str]:
    return isinstance(found, str)


__all__ = ["Deribit"]
