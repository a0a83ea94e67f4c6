"""What the exchange says of a fleet: a user is whole when it is served, not when it says so.

The exchange's metrics are read while the storm lasts. Where it serves fewer channels than the users
hold who call themselves whole, and have done so for a while, those users have lost something and
not noticed.
"""

from __future__ import annotations

import http.client
import re
import urllib.request
from dataclasses import dataclass

from squall.load.tally import Tally
from squall.verdict import Verdict, failed, passed

TIME_OUT = 2.0
AROUND = 2.5
"""Seconds before and after a reading in which users must have been whole to count: both clocks,
and what is on its way, have room in them."""

_SUBSCRIPTIONS = re.compile(r"^squall_exchange_subscriptions(?:\{[^}]*\})? (\d+)", re.MULTILINE)
# A proxy of the environment leads away from this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Served:
    """So many channels, over all users, did the exchange serve at this time of the storm."""

    at: float
    channels: int

    def judge(self, tally: Tally, channels: int, until: float) -> Verdict:
        """Whether those who call themselves whole, with so many channels each, are served."""
        around = tally.levels(self.at - AROUND, min(self.at + AROUND, until))
        whole = min((whole for _, _, whole in around), default=0)
        seen = f"the exchange served {self.channels:,} channels at {self.at:.1f} s"
        if self.channels < whole * channels:
            return failed(
                f"{seen}; {whole:,} users called themselves whole, with {whole * channels:,}"
            )
        return passed(seen)


def channels_served(api: str) -> int | None:
    """How many channels the exchange serves now; None where it does not say."""
    try:
        with _OPENER.open(f"{api}/metrics", timeout=TIME_OUT) as answer:
            text = answer.read().decode()
    except (OSError, http.client.HTTPException, ValueError):
        return None
    found = _SUBSCRIPTIONS.findall(text)
    return sum(int(each) for each in found) if found else None
