"""From the cells' answers to one report of plain data, and its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from jinja2 import Environment, StrictUndefined

from seamline.models.endpoints import Prices
from seamline.models.evaluation.declared import EvalRow, Evaluation
from seamline.models.evaluation.gate import slices_of
from seamline.models.evaluation.grid import CellRun
from seamline.models.evaluation.metrics import (
    accuracy_at_coverage,
    calibration_error,
    exact_match,
    macro_f1,
    mcnemar,
    micro_f1,
    paired_bootstrap,
    reliability,
    risk_coverage,
)

__all__ = ["COLUMNS", "cell_report", "page", "pairs", "slice_table", "told_p", "told_threshold"]

COLUMNS = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "exact_match": "exact match",
    "calibration_error": "calibration error",
    "accuracy_at_80": "accuracy at 80 % coverage",
    "tokens_per_item": "tokens an item",
    "seconds_per_item": "seconds an item",
    "cost_per_thousand": "cost per 1,000",
}
"""The numbers of a cell, in the order of the tables."""

_POINTS = 100
_LEAST_P = 0.0001


def cell_report(
    evaluation: Evaluation, rows: Sequence[EvalRow], run: CellRun, prices: Prices | None = None
) -> dict[str, Any]:
    """The numbers of one cell; `cost_per_thousand` only where prices are declared."""
    gold = [row.gold for row in rows]
    said = [prediction.labels for prediction in run.predictions]
    sure = [prediction.confidence for prediction in run.predictions]
    right = _right(rows, run)
    coverage, risk = risk_coverage(sure, right)
    found: dict[str, Any] = {
        "accuracy": sum(right) / len(right),
        "macro_f1": macro_f1(gold, said),
        "micro_f1": micro_f1(gold, said),
        "exact_match": exact_match(gold, said),
        "calibration_error": calibration_error(sure, right),
        "accuracy_at_80": accuracy_at_coverage(sure, right, coverage=0.8),
        "tokens_per_item": (run.input_tokens + run.output_tokens) / len(rows),
        "seconds_per_item": run.seconds / len(rows),
        "further": dict(evaluation.further(rows, run.predictions)),
        "reliability": [asdict(one) for one in reliability(sure, right)],
        "risk_coverage": _thinned(list(zip(coverage.tolist(), risk.tolist(), strict=True))),
    }
    if prices is not None:
        cost = prices.cost(run.input_tokens, run.output_tokens)
        found |= {"cost_per_thousand": 1000 * cost / len(rows), "currency": prices.currency}
    return found


def pairs(rows: Sequence[EvalRow], runs: Mapping[str, CellRun]) -> dict[str, dict[str, Any]]:
    """Every other cell against the adapter (without it, the first): differences in accuracy.

    The name is `adapter - base`; low, mean and high are of the 95 % paired bootstrap interval,
    p of McNemar's exact test.
    """
    first = "adapter" if "adapter" in runs else next(iter(runs))
    own = _right(rows, runs[first])
    units = [row.unit for row in rows]
    found = {}
    for name, run in runs.items():
        if name == first:
            continue
        other = _right(rows, run)
        interval = paired_bootstrap([a - b for a, b in zip(own, other, strict=True)], units)
        found[f"{first} - {name}"] = {**asdict(interval), "p": mcnemar(own, other)}
    return found


def slice_table(rows: Sequence[EvalRow], runs: Mapping[str, CellRun]) -> list[dict[str, Any]]:
    """One line a slice: its rows, and every cell's accuracy on it."""
    rights = {name: _right(rows, run) for name, run in runs.items()}
    return [
        {
            "slice": name,
            "rows": len(own),
            "accuracy": {
                cell: sum(right[i] for i in own) / len(own) for cell, right in rights.items()
            },
        }
        for name, own in slices_of(rows).items()
    ]


def told_p(p: float) -> str:
    """A p as tables tell it."""
    return f"p {p:.4f}" if p >= _LEAST_P else f"p < {_LEAST_P}"


def told_threshold(cell: str, found: Mapping[str, float]) -> str:
    """The threshold of a cell of the base, and what it was chosen on."""
    on = f"chosen on {found['rows']:.0f} training rows" if found["rows"] else "not fitted"
    return f"{cell} answers from a score of {found['threshold']:.3f} on, {on}"


def page(report: Mapping[str, Any], images: Mapping[str, str]) -> str:
    """The report as one HTML page that needs nothing else; `images` are titles to PNG base64."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["p"] = told_p
    environment.filters["threshold"] = told_threshold
    return environment.from_string(_PAGE).render(report=report, columns=COLUMNS, images=images)


def _right(rows: Sequence[EvalRow], run: CellRun) -> list[int]:
    return [int(p.right(row.gold)) for row, p in zip(rows, run.predictions, strict=True)]


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """About a hundred of the points, the last of them kept."""
    return points[:: -max(1, len(points) // _POINTS)][::-1]


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ report.skill }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { border-bottom: 1px solid #ccc; padding: .25rem .6rem; text-align: right }
td:first-child, th:first-child { text-align: left }
code { background: #f2f2f2; padding: .1rem .3rem }
</style></head><body>
<h1>{{ report.skill }}</h1>
<p>{{ report.measure }}, {{ report.rows }} rows of {{ report.file }}{% if report.sampled %}
 (a sample){% endif %}{% if report.measured_with %}, with {{ report.measured_with }}{% endif %},
{{ report.date }}.<br><code>{{ report.command }}</code></p>
<p>Adapter {{ report.adapter_digest }}<br>Rows {{ report.rows_digest }}</p>
{% if report.gate %}
<h2>Gate: {{ "passed" if report.gate.passed else "not passed" }}</h2>
<p>The cell {{ report.gate.cell }} against {{ report.gate.against }}: accuracy
{{ "%+.3f (%+.3f to %+.3f)"|format(report.gate.difference[1], report.gate.difference[0],
report.gate.difference[2]) }}, {{ report.gate.p|p }}.
{% for one in report.gate.numbers %}
{{ one.name }} {{ "%+.3f (%+.3f to %+.3f)"|format(one.difference[1], one.difference[0],
one.difference[2]) }}.
{% endfor %}
{% for one in report.gate.collapsed %}
Slice {{ one.slice }} ({{ one.rows }} rows) fell from {{ "%.3f"|format(one.before) }} to
{{ "%.3f"|format(one.after) }}.
{% endfor %}</p>
{% endif %}
<h2>Cells</h2>
<table><tr><th>cell</th>{% for title in columns.values() %}<th>{{ title }}</th>{% endfor %}</tr>
{% for name, cell in report.cells.items() %}
<tr><td>{{ name }}</td>
{% for key in columns %}<td>{{ "%.3f"|format(cell[key]) if key in cell }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% for name, cell in report.cells.items() if cell.further %}
<p>{{ name }}: {% for key, value in cell.further.items() %}{{ key }} {{ "%.3f"|format(value) }}{{
", " if not loop.last }}{% endfor %}</p>
{% endfor %}
{% for name, found in report.base_threshold.items() %}
<p>{{ name|threshold(found) }}</p>
{% endfor %}
<h2>Differences in accuracy</h2>
<table><tr><th>pair</th><th>difference</th><th>95 % interval</th><th>McNemar p</th></tr>
{% for name, pair in report.pairs.items() %}
<tr><td>{{ name }}</td><td>{{ "%+.3f"|format(pair.mean) }}</td>
<td>{{ "%+.3f to %+.3f"|format(pair.low, pair.high) }}</td><td>{{ pair.p|p }}</td></tr>
{% endfor %}</table>
<h2>Slices</h2>
<table><tr><th>slice</th><th>rows</th>{% for name in report.cells %}<th>{{ name }}</th>{% endfor %}
</tr>
{% for one in report.slices %}
<tr><td>{{ one.slice }}</td><td>{{ one.rows }}</td>{% for name in report.cells %}
<td>{{ "%.3f"|format(one.accuracy[name]) }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% for title, image in images.items() %}
<h2>{{ title }}</h2><img alt="{{ title }}" src="data:image/png;base64,{{ image }}">
{% endfor %}
</body></html>
"""
