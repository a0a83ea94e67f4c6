"""mitmproxy as a hop of the line: CONNECT, TLS and the upgrade are its business, frames are not.

    adapter ──▶ Proxy ──▶ mitmproxy ──▶ Proxy ──▶ exchange
                TCP       TLS           HTTP, WebSocket

mitmproxy's own WebSocket layer turns a FIN or RST into a clean Close 1000, and shows no pings. It
is switched off: after the upgrade mitmproxy passes on decrypted bytes. It runs in a process of
its own, because its `ctx` is global to a process and its loop is not to be shared. That process
and the harness tell each other JSON lines: it asks what to do with a handshake and says which of
its connections belong together.
"""

from squall_proxy.mitm.process import Mitmproxy, MitmproxyError, available

__all__ = ["Mitmproxy", "MitmproxyError", "available"]
