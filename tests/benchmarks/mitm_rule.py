"""mitmproxy with a rule for every message, as lean as it can be embedded; runs in its own venv.

`python mitm_rule.py UPSTREAM_PORT PORT`. Messages are let go again, or memory grows with each.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from mitmproxy.addons.core import Core
from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.addons.tlsconfig import TlsConfig
from mitmproxy.master import Master
from mitmproxy.options import Options


class Rule:
    """Drops messages of the order books, of which there are none."""

    def websocket_message(self, flow: Any) -> None:
        """Look into the message."""
        message = flow.websocket.messages[-1]
        del flow.websocket.messages[:-1]
        if not message.from_client:
            said = json.loads(message.content)
            if said.get("params", {}).get("channel", "").startswith("book."):
                message.drop()


async def main(upstream: str, port: int) -> None:
    """Relay until killed."""
    mode = f"reverse:http://127.0.0.1:{upstream}@127.0.0.1:{port}"
    master = Master(Options(mode=[mode]), with_termlog=False)
    master.addons.add(Core(), Proxyserver(), NextLayer(), TlsConfig(), Rule())
    await master.run()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
