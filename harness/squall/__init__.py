"""Squall: a chaos-testing harness for WebSocket exchange adapters."""

from __future__ import annotations

__version__ = "0.1.0"
