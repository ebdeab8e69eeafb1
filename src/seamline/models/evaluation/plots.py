"""Risk-coverage and reliability of the cells as PNG; needs the extra `eval`."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping
from typing import Any

from seamline.errors import ConfigError

__all__ = ["plots", "require_matplotlib"]


def require_matplotlib() -> None:
    """Tell before the work, and not after it, that plots cannot be drawn.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(
            "--png draws with matplotlib, which is not installed: pip install 'seamline[eval]', "
            "or leave --png out"
        )


def plots(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """File names to PNG, from the `risk_coverage` and `reliability` of every cell.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    found = {}
    for name, x, y in (
        ("risk_coverage", "coverage", "risk"),
        ("reliability", "confidence", "accuracy"),
    ):
        # A figure of its own and no pyplot: no window, no state shared with the caller.
        figure = Figure(figsize=(6, 4.5), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        for cell, numbers in cells.items():
            points = numbers[name]
            if name == "reliability":
                points = [(one["confidence"], one["accuracy"]) for one in points]
            axes.plot(*zip(*points, strict=True), marker=".", label=cell)
        if name == "reliability":
            axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="calibrated")
        axes.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(-0.02, 1.02))
        axes.legend()
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
        found[f"{name}.png"] = stream.getvalue()
    return found
