"""A WebSocket exchange adapter that reconnects as it should, speaking Deribit's JSON-RPC.

Three ways in: `Adapter` on asyncio, `SyncAdapter` for threads and greenlets, and the state
machines without I/O, `Session` and `Client`, for a shell of your own (`Shell` runs either on
asyncio). What a core or an adapter tells its owner are the values listed here.
"""

from squall_reference.actions import (
    Abort,
    Action,
    Actions,
    Close,
    Core,
    Deliver,
    Dial,
    Down,
    Finished,
    GiveUp,
    LineObserver,
    Log,
    Loss,
    OpenOrders,
    Ping,
    Received,
    Reply,
    Send,
    StateChanged,
    Up,
)
from squall_reference.aio import Adapter, Shell
from squall_reference.blocking import SyncAdapter
from squall_reference.client import Client
from squall_reference.endpoint import VERSION as __version__
from squall_reference.endpoint import Endpoint
from squall_reference.login import Credentials
from squall_reference.protocol import ConfigurationError, adapter
from squall_reference.session import Health, Session
from squall_reference.settings import Settings, SettingsError

__all__ = [
    "Abort",
    "Action",
    "Actions",
    "Adapter",
    "Client",
    "Close",
    "ConfigurationError",
    "Core",
    "Credentials",
    "Deliver",
    "Dial",
    "Down",
    "Endpoint",
    "Finished",
    "GiveUp",
    "Health",
    "LineObserver",
    "Log",
    "Loss",
    "OpenOrders",
    "Ping",
    "Received",
    "Reply",
    "Send",
    "Session",
    "Settings",
    "SettingsError",
    "Shell",
    "StateChanged",
    "SyncAdapter",
    "Up",
    "__version__",
    "adapter",
]
