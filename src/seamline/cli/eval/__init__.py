"""`seamline eval`: one grid for a skill or for all of them, the gate, and the records."""

from __future__ import annotations

from seamline.cli.eval.command import app

__all__ = ["app"]
