"""The losses of a training: as numbers, and as a picture."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

__all__ = ["Curve", "Point"]


class Point(NamedTuple):
    """A loss after so many steps."""

    step: int
    loss: float


class Curve(BaseModel):
    """What a training showed.

    Attributes:
        train: The mean loss of the steps since the point before.
        held_out: The loss on the held-out rows.
        best: The step whose weights are kept; None where nothing was held out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: tuple[Point, ...]
    held_out: tuple[Point, ...]
    best: int | None

    @classmethod
    def of(cls, log: Iterable[Mapping[str, Any]], best: int | None) -> Curve:
        """The curve in a trainer's log, which a resumed training carries on."""
        log = list(log)
        return cls(
            train=tuple(Point(one["step"], round(one["loss"], 5)) for one in log if "loss" in one),
            held_out=tuple(
                Point(one["step"], round(one["eval_loss"], 5)) for one in log if "eval_loss" in one
            ),
            best=best,
        )

    def png(self) -> bytes:
        """The picture; needs matplotlib."""
        from matplotlib.figure import Figure

        # A figure of its own and no pyplot: no window, no state shared with the caller.
        figure = Figure(figsize=(6, 4.5), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        axes.plot(*_columns(self.train), label="train")
        if self.held_out:
            axes.plot(*_columns(self.held_out), marker=".", label="held out")
        if self.best is not None:
            axes.axvline(self.best, color="grey", linestyle=":", label="kept")
        axes.set(xlabel="steps", ylabel="loss")
        axes.legend()
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
        return stream.getvalue()


def _columns(points: Iterable[Point]) -> tuple[list[int], list[float]]:
    points = list(points)
    return [point.step for point in points], [point.loss for point in points]
