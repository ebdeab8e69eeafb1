"""Moments as they are typed: an age such as 90m, or a date."""

from __future__ import annotations

import re
import time

from seamline.errors import InputError

__all__ = ["moment"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def moment(text: str, option: str) -> float:
    """Seconds since the epoch for an age such as 90m, or a date such as 2026-01-31.

    Raises:
        InputError: It is neither; the message names the option.
    """
    age = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if age:
        return time.time() - int(age[1]) * _UNITS[age[2]]
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%d"))
    except (ValueError, OverflowError):
        raise InputError(
            f"{option} {text!r} is neither an age like 90m, 12h, 7d nor a date like 2026-01-31"
        ) from None
