"""The data stage of training as tables on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seamline.cli import common

if TYPE_CHECKING:
    from seamline.models.dataset.stage import Prepared

__all__ = ["show_report"]


def show_report(prepared: Prepared) -> None:
    """Print the steps, the labels and what to look at."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    report, out = prepared.report, common.err()
    steps = Table(box=box.SIMPLE_HEAD, title="Data", title_justify="left")
    for heading in ("step", "before", "after", "changed", "found"):
        steps.add_column(heading, justify="left" if heading in ("step", "found") else "right")
    for step in report.steps:
        found = "\n".join(f"{reason}: {number}" for reason, number in step.reasons.items())
        numbers = (str(step.before), str(step.after), str(step.changed))
        steps.add_row(step.name, *numbers, Text(found))
    out.print(steps)
    labels = Table(box=box.SIMPLE_HEAD)
    for heading in ("label", "train", "held out"):
        labels.add_column(heading, justify="left" if heading == "label" else "right")
    for label in dict.fromkeys([*report.train.labels, *report.held_out.labels]):
        counts = (part.labels.get(label, 0) for part in (report.train, report.held_out))
        labels.add_row(Text(label), *map(str, counts))
    labels.add_row(
        Text("rows that must be declined", style="dim"),
        str(report.train.declined),
        str(report.held_out.declined),
    )
    out.print(labels)
    if not report.applied:
        out.print(
            "the recipe has no data section: schema, contradictions and leakage drop rows, the "
            "other steps only count",
            soft_wrap=True,
        )
    for warning in report.warnings:
        out.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)
    told = "as prepared before" if prepared.cached else "prepared"
    out.print(
        Text(
            f"{told}: {report.train.rows} rows to train on, {report.held_out.rows} held out "
            f"({report.split_by}); {prepared.folder / 'report.html'}"
        ),
        soft_wrap=True,
    )
