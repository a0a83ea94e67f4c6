"""The machine that is measured on: what it allows, and what a page says of it."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import resource
from pathlib import Path


def open_files() -> int:
    """So many may be open from now on: as many as this process can have."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def described() -> str:
    """When and on what it is, and how busy that has been for a quarter of an hour."""
    when = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"{os.cpu_count()} x {_processor()}, {platform.system()} {platform.release()}"
    load = f"load average {os.getloadavg()[2]:.1f}"
    return f"{when}, {machine}, Python {platform.python_version()}, {load}"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
