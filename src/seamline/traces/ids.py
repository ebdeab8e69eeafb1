"""Identifiers that sort by the time they were made."""

from __future__ import annotations

import secrets
import threading
import time
import uuid

__all__ = ["new_run_id", "uuid7"]

_lock = threading.Lock()
_last = 0


def uuid7() -> str:
    """A UUID of version 7 (RFC 9562): milliseconds first, strictly increasing in a process."""
    global _last
    with _lock:
        # Sub-millisecond order comes from counting on in the 12 bits behind the clock, as in
        # RFC 9562 section 6.2, method 1; an overrun borrows from the next millisecond.
        stamp = max(time.time_ns() // 1_000_000 << 12, _last + 1)
        _last = stamp
    value = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64
    value |= 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))


def new_run_id() -> str:
    """An identifier for a run that is about to start."""
    return uuid7()
