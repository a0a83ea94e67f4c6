"""Toxiproxy's HTTP API on this proxy, so that every client of Toxiproxy can drive it unchanged.

    server     the control port: which request goes where, and who is refused
    routes     Toxiproxy's own routes               own       ours: faults, connections, events
    proxies    proxies by name, up or down          toxics    what each toxic is as a fault
    go_json    JSON as Go reads and writes it       addresses host:port as Go reads it
    http       requests in, answers out             events    the history

What differs on purpose from Toxiproxy is listed in docs/toxiproxy.md.
"""

from squall_proxy.toxiproxy.errors import APIError
from squall_proxy.toxiproxy.events import EventLog
from squall_proxy.toxiproxy.own import Order
from squall_proxy.toxiproxy.proxies import Wish
from squall_proxy.toxiproxy.server import LIKE_VERSION, ToxiproxyServer

__all__ = ["LIKE_VERSION", "APIError", "EventLog", "Order", "ToxiproxyServer", "Wish"]
