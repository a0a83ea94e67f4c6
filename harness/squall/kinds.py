"""The kinds of events that a run can record, by the source that reports them.

`docs/history.md` says what each means; a test asserts that both agree. A scenario that waits for
an event is checked against this table, so that a misspelt kind is an error and no endless wait.
"""

from __future__ import annotations

from collections.abc import Mapping

EVENT_KINDS: Mapping[str, tuple[str, ...]] = {
    "scenario": (
        "run_started",
        "wanted",
        "steady",
        "step",
        "step_ended",
        "healed",
        "settled",
        "not_settled",
        "calm",
        "stopping",
        "stalled",
        "aborted",
        "interrupted",
        "unsupported",
        "not_run",
        "run_ended",
    ),
    "proxy": (
        "listening",
        "dialled",
        "dial_lost",
        "tunnel_requested",
        "tls_established",
        "tls_failed",
        "upgrade_requested",
        "upgraded",
        "upgrade_refused",
        "fault_started",
        "fault_fired",
        "fault_ended",
        "client_closed",
        "server_closed",
        "closed",
    ),
    "exchange": (
        "opened",
        "request",
        "auth_requested",
        "auth_succeeded",
        "auth_failed",
        "token_expired",
        "subscribe_requested",
        "subscribed",
        "unsubscribe_requested",
        "unsubscribed",
        "sent",
        "error",
        "heartbeat_set",
        "test_requested",
        "test_answered",
        "heartbeat_missed",
        "order_placed",
        "order_cancelled",
        "limit_exceeded",
        "closed",
        "rest",
        "fault_started",
        "fault_fired",
        "fault_ended",
        "descriptors_exhausted",
        "descriptors_free",
    ),
    "adapter": (
        "started",
        "ready",
        "message",
        "state",
        "command",
        "reply",
        "log",
        "garbage",
        "crash_reported",
        "secret_printed",
        "stop_requested",
        "exited",
    ),
    "system": ("sample",),
}


def sources_of(kind: str) -> tuple[str, ...]:
    """The sources that report events of this kind; none where there is no such kind."""
    return tuple(source for source, kinds in EVENT_KINDS.items() if kind in kinds)
