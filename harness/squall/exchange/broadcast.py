"""Who is subscribed to what, and what they are sent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from squall.exchange.feeds import Feed
from squall.exchange.protocol import Message, Request

if TYPE_CHECKING:
    from squall.exchange.core import Exchange
    from squall.exchange.orders import Order
    from squall.exchange.session import Session


class Broadcast:
    """Subscriptions of all connections, and the data messages that they get."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._listeners: dict[str, dict[int, Session]] = {}
        self._feeds: dict[str, Feed] = {}

    # --- subscribing ------------------------------------------------------------------------------

    def subscribe(
        self, session: Session, channels: Sequence[str], request: Request, *, allowed: bool
    ) -> list[str]:
        """Serve these channels to the connection; the list of those that it now gets.

        Left out are channels that the venue does not have, private ones where they are not
        `allowed`, and what a fault leaves out.
        """
        asked = list(dict.fromkeys(channels))
        kept = asked[: max(0, len(asked) - request.missing)]
        accepted = [channel for channel in kept if self._grants(channel, allowed)]
        repeated = [channel for channel in accepted if channel in session.subscriptions]
        fresh = [channel for channel in accepted if channel not in session.subscriptions]
        for channel in fresh:
            session.subscriptions[channel] = 0
            self._listeners.setdefault(channel, {})[session.number] = session
            self._start(self._feed(channel))
        self._exchange.counts.subscriptions += len(fresh)
        self._exchange.observe(
            "subscribed",
            session.number,
            channels=fresh,
            refused=[channel for channel in asked if channel not in accepted],
            repeated=repeated,
        )
        again = repeated if self._exchange.settings.repeat_sends_snapshot else []
        for channel in fresh + again:
            self._exchange.afterwards(partial(self._snapshot, session, channel))
        return accepted

    def unsubscribe(self, session: Session, channels: Sequence[str]) -> list[str]:
        """Stop serving these channels; the list of those that were served."""
        ended = [channel for channel in dict.fromkeys(channels) if channel in session.subscriptions]
        self.retire(session, ended)
        self._exchange.observe("unsubscribed", session.number, channels=ended)
        return ended

    def unsubscribe_private(self, session: Session) -> None:
        """Stop serving whatever needs authentication."""
        private = self._exchange.dialect.is_private
        self.unsubscribe(
            session, [channel for channel in session.subscriptions if private(channel)]
        )

    def retire(self, session: Session, channels: Sequence[str]) -> None:
        """Forget these subscriptions."""
        for channel in channels:
            session.subscriptions.pop(channel, None)
            session.snapshots_owed.discard(channel)
            self._listeners.get(channel, {}).pop(session.number, None)

    def served(self) -> list[str]:
        """The public channels that anybody gets, in the order in which they were asked for."""
        private = self._exchange.dialect.is_private
        return [c for c, listeners in self._listeners.items() if listeners and not private(c)]

    @property
    def subscriptions(self) -> int:
        """How many channels are being served, those of each connection by themselves."""
        return sum(map(len, self._listeners.values()))

    def flowing(self, channel: str) -> bool:
        """Whether anybody has had a message of this channel, so that a gap would show."""
        listeners = self._listeners.get(channel, {})
        return any(session.subscriptions[channel] for session in listeners.values())

    def _grants(self, channel: str, allowed: bool) -> bool:
        dialect = self._exchange.dialect
        return dialect.kind(channel) is not None and (allowed or not dialect.is_private(channel))

    def number(self, channel: str) -> int:
        """How many messages the channel has had."""
        feed = self._feed(channel)
        if not feed.running:
            feed.catch_up(self._exchange.now)
        return feed.number

    def restarted(self, channel: str) -> int | None:
        """The number of the message with which the channel began anew; None where it never did."""
        return self._feed(channel).restarted

    # --- steady traffic ---------------------------------------------------------------------------

    def _feed(self, channel: str) -> Feed:
        feed = self._feeds.get(channel)
        if feed is None:
            period = self._exchange.settings.tick
            feed = self._feeds[channel] = Feed(channel, self._exchange.origin, period)
        return feed

    def _start(self, feed: Feed) -> None:
        if not feed.running and self._exchange.dialect.flows(self._exchange, feed.channel):
            feed.running = True
            feed.catch_up(self._exchange.now)
            self._schedule(feed)

    def _schedule(self, feed: Feed) -> None:
        exchange, due, batch = self._exchange, feed.due, self._exchange.settings.batch_interval
        if batch:
            due = exchange.origin + math.ceil((due - exchange.origin) / batch) * batch
        exchange.agenda.at(due, lambda: self._publish(feed))

    def _publish(self, feed: Feed) -> None:
        listeners = self._listeners.get(feed.channel)
        if not listeners:
            self._listeners.pop(feed.channel, None)
            feed.running = False
            return
        feed.forgive(self._exchange.now - self._exchange.settings.batch_interval)
        for number in self._numbers(feed, listeners):
            self._catch_up(feed.channel, number, listeners)
            message = self._message(feed, number, listeners)
            self._deliver(feed.channel, message, *listeners.values())
        self._schedule(feed)

    def _numbers(self, feed: Feed, listeners: dict[int, Session]) -> list[int]:
        """The numbers of the messages to send now: the next one, where no fault interferes."""
        for injection in self._exchange.injections:
            fault = injection.fault
            if fault.silences(self._exchange, injection, feed.channel):
                feed.withhold()
                numbers = []
            elif (found := fault.renumber(self._exchange, injection, feed)) is not None:
                numbers = found
            else:
                continue
            for number in tuple(listeners):
                injection.bite(number)
            injection.spend()
            return numbers
        return [feed.advance()]

    def _message(self, feed: Feed, number: int, listeners: dict[int, Session]) -> Message:
        """Message `number`, or what a fault makes of it."""
        exchange, dialect = self._exchange, self._exchange.dialect
        message = dialect.data(exchange, feed.channel, number)
        for injection in exchange.injections:
            if (other := injection.fault.alter(exchange, injection, feed, number, message)) is None:
                continue
            for connection in tuple(listeners):
                injection.bite(connection)
            injection.spend()
            message = other
        return message

    # --- snapshots --------------------------------------------------------------------------------

    def _snapshot(self, session: Session, channel: str) -> None:
        if channel not in session.subscriptions:
            return
        for injection in self._exchange.injections:
            if injection.fault.silences(self._exchange, injection, channel):
                injection.bite(session.number)
                session.snapshots_owed.add(channel)
                return
        number = self.number(channel)
        message = self._exchange.dialect.snapshot(self._exchange, channel, number)
        if message is not None:
            self._deliver(channel, message, session)

    def _catch_up(self, channel: str, number: int, listeners: dict[int, Session]) -> None:
        """Send the snapshots that a silence held back, so that what follows makes sense."""
        for session in tuple(listeners.values()):
            if channel in session.snapshots_owed:
                session.snapshots_owed.discard(channel)
                message = self._exchange.dialect.snapshot(self._exchange, channel, number - 1)
                if message is not None:
                    self._deliver(channel, message, session)

    # --- single messages --------------------------------------------------------------------------

    def announce(self, *, locked: bool) -> list[Session]:
        """Tell those whom the venue tells of planned maintenance; the list of them."""
        exchange = self._exchange
        told = []
        for session in exchange.live_sessions():
            found = exchange.dialect.notice(exchange, session, locked)
            if found is not None and session.open:
                channel, text = found
                exchange.send(text, session)
                exchange.observe("sent", session.number, channel=channel, seq=None, snapshot=False)
                told.append(session)
        return told

    def order_changed(self, order: Order) -> None:
        """Tell those who follow the account's orders."""
        for channel, listeners in tuple(self._listeners.items()):
            message = self._exchange.dialect.order_message(self._exchange, channel, order)
            if message is not None:
                self._deliver(channel, message, *listeners.values())

    def _deliver(self, channel: str, message: Message, *sessions: Session) -> None:
        wordings: dict[str, list[Session]] = {}
        for session in sessions:
            text = self._exchange.dialect.envelope(session, channel, message.text)
            wordings.setdefault(text, []).append(session)
            session.subscriptions[channel] += 1
        for text, same in wordings.items():
            self._exchange.send(text, *same)
        # Only now: an observer may inject a fault that ends subscriptions.
        for session in sessions if self._exchange.observed else ():
            self._exchange.observe(
                "sent",
                session.number,
                channel=channel,
                seq=message.seq,
                snapshot=message.snapshot,
            )
