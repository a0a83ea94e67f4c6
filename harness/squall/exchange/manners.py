"""The rules of a venue where venues differ: who may come in, who may stay, who must say what.

A dialect has the venue's own; the settings of a scenario overrule them one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from squall.exchange.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """None where the venue has no such rule. Fields of the same name in `Settings` overrule."""

    credits: bool = False
    login_in_order: bool = False
    connections_per_address: int | None = None
    attempt_limit: int | None = None
    attempt_window: float = 300.0
    ban_lifetime: float = 0.0
    ban_status: int = 429
    message_limit: int | None = None
    channel_limit: int | None = None
    ping_interval: float | None = None
    ping_timeout: float = 60.0
    keepalive_interval: float | None = None
    idle_limit: float | None = None
    connection_lifetime: float | None = None
    shutdown_notice: float | None = None

    def under(self, settings: Settings) -> Manners:
        """These manners, where the settings say nothing else."""
        said = {field.name: getattr(settings, field.name, None) for field in fields(self)}
        return replace(self, **{name: value for name, value in said.items() if value is not None})
