"""What is said on one connection, from the upgrade to its end: authentication first, then
subscriptions, then the user's requests.

A conversation lives and dies with its connection, so nothing of an old one can act on its
successor. What must outlive it is handed to it: the login, the feeds, and the count of ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from squall_reference import jsonrpc
from squall_reference.actions import Actions, GiveUp, Log, Loss, OpenOrders, Reply, StateChanged
from squall_reference.client import Client
from squall_reference.feeds import Feeds, subscription_data
from squall_reference.login import Login
from squall_reference.requests import (
    AnswerTestRequest,
    Authenticate,
    CancelOnDisconnect,
    Command,
    Purpose,
    QueryOrders,
    Requests,
    SetHeartbeat,
    Subscription,
)
from squall_reference.settings import Settings

_TOKEN_INVALID = {jsonrpc.AUTHORIZATION_REQUIRED, jsonrpc.UNAUTHORIZED}


class Conversation:
    """One connection's requests, answers and notifications.

    `restored`: everything was in place once, so the user's requests are let through.
    `limited_until`: the exchange wants no new connection before.
    """

    def __init__(
        self,
        client: Client,
        login: Login | None,
        feeds: Feeds,
        requests: Requests,
        settings: Settings,
    ) -> None:
        self.restored = False
        self.limited_until: float | None = None
        self._client = client
        self._login = login
        self._feeds = feeds
        self._requests = requests
        self._settings = settings
        self._live = False
        self._protected = False

    @property
    def deadline(self) -> float | None:
        """When `tick` is due."""
        due = [self._requests.deadline, self._feeds.look_due]
        due.append(self._login.deadline if self._login is not None else None)
        due.append(self._feeds.ask_due if self._may_subscribe else None)
        return min((at for at in due if at is not None), default=None)

    def begin(self, now: float) -> Actions:
        """The connection is up: ask for heartbeats and for a token."""
        actions: Actions = []
        if self._settings.heartbeat_interval is not None:
            # Before authentication: a connection that hangs there must be noticed too.
            actions += self._ask(SetHeartbeat(), now)
        if self._login is not None:
            self._login.connected(now)
        return actions + self.proceed(now)

    def end(self, loss: Loss) -> Actions:
        """The connection is of no use any more: whoever waits for an answer learns it now."""
        if self._login is not None:
            self._login.disconnected()
        self._feeds.disconnected()
        error = f"the connection was lost: {loss.reason}"
        return [
            Reply(purpose.tag, ok=False, error=error, indefinite=True)
            for purpose in self._requests.lost()
            if isinstance(purpose, Command)
        ]

    def tick(self, now: float) -> Actions:
        """Do what is due."""
        actions: Actions = []
        for purpose in self._requests.overdue(now):
            actions += self._unanswered(purpose, now)
        return actions + self._feeds.look(now) + self.proceed(now)

    def request(self, tag: Any, method: str, params: Mapping[str, Any], now: float) -> Actions:
        """Send a request of the user, or fail it at once where it is not time for it."""
        private = method.startswith("private/")
        if private and not self._may_trade:
            return [Reply(tag, ok=False, error="not sent: the connection is not authenticated")]
        timeout = self._settings.request_timeout
        return self._issue(Command(tag, private), method, params, now + timeout)

    def proceed(self, now: float) -> Actions:
        """Ask for what is due, a token before subscriptions; be live where nothing is missing."""
        if not self._client.is_up:
            return []
        actions: Actions = []
        asked = self._login.ask(now) if self._login is not None else None
        if asked is not None:
            grant, params = asked
            due = now + self._settings.ack_timeout
            actions += self._issue(Authenticate(grant), "public/auth", params, due)
        if not self._may_subscribe:
            return actions
        ask = self._feeds.next(now)
        if ask is not None:
            actions += self._ask(Subscription(ask), now)
        if self._feeds.complete and not self._live:
            self._live = self.restored = True
            actions.append(StateChanged("live"))
        return actions

    @property
    def _authenticated(self) -> bool:
        return self._login is not None and self._login.authenticated

    @property
    def _may_subscribe(self) -> bool:
        """Authentication comes first, and is acknowledged."""
        return self._login is None or self._login.authenticated

    @property
    def _may_trade(self) -> bool:
        """Authenticated, and protected by cancel-on-disconnect where that is wanted."""
        return self._authenticated and (self._protected or not self._settings.cancel_on_disconnect)

    # Out.

    def _ask(self, purpose: Purpose, now: float) -> Actions:
        """Send a request of our own."""
        method, params = self._wording(purpose)
        return self._issue(purpose, method, params, now + self._settings.ack_timeout)

    def _wording(self, purpose: Purpose) -> tuple[str, dict[str, Any]]:
        match purpose:
            case SetHeartbeat():
                return "public/set_heartbeat", {"interval": self._heartbeat_interval}
            case CancelOnDisconnect():
                return "private/enable_cancel_on_disconnect", {"scope": "connection"}
            case QueryOrders():
                return "private/get_open_orders", {}
            case Subscription(ask):
                return ask.method, {"channels": list(ask.channels)}
            case _:
                return "public/test", {}

    @property
    def _heartbeat_interval(self) -> float:
        interval = self._settings.heartbeat_interval
        assert interval is not None
        return int(interval) if interval == int(interval) else interval

    def _issue(
        self, purpose: Purpose, method: str, params: Mapping[str, Any], due: float
    ) -> Actions:
        return self._client.send(self._requests.issue(purpose, method, params, due))

    # In.

    def understand(self, message: str | bytes, now: float) -> Actions:
        """Act on a message of the exchange."""
        match jsonrpc.decode(message):
            case jsonrpc.Answer(id, result, error):
                return self._answered(self._requests.answered(id), result, error, now)
            case jsonrpc.Notification("subscription", params):
                found = subscription_data(params)
                if found is None:
                    return [Log("ignored a subscription message without channel or data")]
                return self._feeds.data(*found, now) + self.proceed(now)
            case jsonrpc.Notification("heartbeat", params):
                self._client.heartbeat(now)
                return (
                    self._ask(AnswerTestRequest(), now)
                    if params.get("type") == "test_request"
                    else []
                )
            case jsonrpc.Notification(method, _):
                return [Log(f"ignored a notification of kind {method[:80]!r}")]
            case None:
                return [Log(f"ignored a message of {len(message)} characters: no JSON-RPC")]

    def _answered(
        self, purpose: Purpose | None, result: Any, error: jsonrpc.Error | None, now: float
    ) -> Actions:
        if error is not None:
            actions = self._refused(purpose, error, now)
        else:
            actions = self._granted(purpose, result, now)
        return actions + self.proceed(now)

    def _granted(self, purpose: Purpose | None, result: Any, now: float) -> Actions:
        match purpose:
            case SetHeartbeat():
                self._client.expect_heartbeats(self._heartbeat_interval, now)
            case Authenticate():
                return self._logged_in(result, now)
            case Subscription(ask):
                return self._feeds.answered(ask, result, now)
            case CancelOnDisconnect():
                self._protected = True
            case QueryOrders() if isinstance(result, list):
                return [OpenOrders(result)]
            case Command(tag):
                return [Reply(tag, ok=True, result=result)]
        return []

    def _logged_in(self, result: Any, now: float) -> Actions:
        assert self._login is not None
        refreshed = self._login.authenticated
        if not self._login.granted(result, now):
            return self._client.drop("the answer to authentication holds no token")
        if refreshed:
            return []
        actions: Actions = [StateChanged("authenticated")]
        if self._settings.cancel_on_disconnect:
            actions += self._ask(CancelOnDisconnect(), now)
        orders = any(c.startswith(("user.orders.", "user.changes.")) for c in self._feeds.wanted)
        if orders and self._settings.reconcile_orders:
            # An order may have been filled while nobody listened.
            actions += self._ask(QueryOrders(), now)
        return actions

    def _refused(self, purpose: Purpose | None, error: jsonrpc.Error, now: float) -> Actions:
        if error.code == jsonrpc.TOO_MANY_REQUESTS:
            # Deribit ends the session along with this answer.
            self.limited_until = now + self._settings.limit_wait
        match purpose:
            case Authenticate(grant):
                return self._login_refused(grant, error, now)
            case Subscription(ask):
                actions = self._token_refused(error, now) if ask.private else []
                return actions + self._feeds.failed(ask, str(error), now)
            case Command(tag, private):
                actions = self._token_refused(error, now) if private else []
                # The exchange itself does not know what became of the request.
                indefinite = error.code == jsonrpc.TIMED_OUT
                return [*actions, Reply(tag, ok=False, error=str(error), indefinite=indefinite)]
            case SetHeartbeat() | CancelOnDisconnect() | QueryOrders():
                self._requests.remind(purpose, now + self._settings.ack_timeout)
                return [Log(f"{self._wording(purpose)[0]}: {error}; asking again")]
            case AnswerTestRequest():
                return [Log(f"public/test: {error}")]
            case None:
                return [Log(f"an error that answers no request: {error}")]

    def _login_refused(self, grant: str, error: jsonrpc.Error, now: float) -> Actions:
        assert self._login is not None
        why = self._login.refused(grant, error, now)
        if why is not None:
            return [GiveUp(why)]
        return [Log(f"authentication by {grant} refused: {error}; trying again")]

    def _token_refused(self, error: jsonrpc.Error, now: float) -> Actions:
        """Where the exchange no longer takes our token, ask for another."""
        if error.code not in _TOKEN_INVALID or not self._authenticated:
            return []
        assert self._login is not None
        self._login.expired(now)
        self._live = self._protected = False
        return [StateChanged("connected", f"the token is no longer taken: {error}")]

    def _unanswered(self, purpose: Purpose, now: float) -> Actions:
        waited = f"no answer within {self._settings.ack_timeout:g} s"
        match purpose:
            case Authenticate(grant):
                assert self._login is not None
                if self._login.unanswered(grant, now):
                    return [Log(f"authentication by {grant}: {waited}; trying in full")]
                return self._client.drop(f"authentication: {waited}")
            case Subscription(ask):
                return self._feeds.failed(ask, waited, now)
            case Command(tag):
                error = f"no answer within {self._settings.request_timeout:g} s"
                return [Reply(tag, ok=False, error=error, indefinite=True)]
            case SetHeartbeat() | CancelOnDisconnect() | QueryOrders():
                return self._ask(purpose, now)
            case AnswerTestRequest():
                return []  # Pongs tell whether the way out is open.
