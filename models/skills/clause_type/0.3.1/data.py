"""Training rows of `clause_type` 0.3.1: those of 0.1.0, and at its scale of 2 more windows."""

from __future__ import annotations

from pathlib import Path

from seamline.loading import load_module

_earlier = load_module(Path(__file__).parents[1] / "0.1.0" / "data.py")
build = _earlier.build
dev = _earlier.dev
