"""The report as one page: nothing is loaded from elsewhere, every text is escaped."""

from __future__ import annotations

from jinja2 import Environment, StrictUndefined

from seamline.models.dataset.report import SHOWN, Report

__all__ = ["page"]

_WIDTH, _HEIGHT, _BASELINE = 640, 160, 136

_TEMPLATE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1f24; background: #fff }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; width: 100% }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #d8dde3;
  vertical-align: top }
.n { text-align: right; font-variant-numeric: tabular-nums }
.warning { background: #fff4d6; padding: .4rem .7rem; margin: .3rem 0 }
pre { white-space: pre-wrap; margin: .2rem 0; max-height: 12rem; overflow: auto }
svg { max-width: 100%; height: auto } rect { fill: #3b6ea5 } text { font-size: 11px; fill: #444 }
</style>
<h1>{{ title }}</h1>
<p>{{ r.train.rows }} rows to train on, {{ r.held_out.rows }} held out
({{ r.split_by }}; seed {{ r.seed }}; folder {{ r.key }}).
{% if not r.applied %}The recipe has no <code>data</code> section: schema, contradictions and
leakage drop rows, the other steps only count.{% endif %}</p>
<p>Leakage was checked against: {{ r.compared|join(", ") or "nothing" }}.</p>
{% for one in r.warnings %}<p class="warning">{{ one }}</p>
{% endfor %}
<h2>Steps</h2>
<table><tr><th>step<th class="n">before<th class="n">after<th class="n">changed<th>found</tr>
{% for s in r.steps %}<tr><td>{{ s.name }}<td class="n">{{ s.before }}<td class="n">{{ s.after }}
<td class="n">{{ s.changed }}<td>{% for reason, n in s.reasons.items() %}{{ reason }}: {{ n }}<br>
{% endfor %}</tr>
{% endfor %}</table>
<h2>Labels</h2>
<table><tr><th>label<th class="n">train<th class="n">held out</tr>
{% for label in labels %}<tr><td>{{ label }}<td class="n">{{ r.train.labels.get(label, 0) }}
<td class="n">{{ r.held_out.labels.get(label, 0) }}</tr>
{% endfor %}<tr><td><em>rows that must be declined</em><td class="n">{{ r.train.declined }}
<td class="n">{{ r.held_out.declined }}</tr></table>
<h2>Sources</h2>
<table><tr><th>source<th>licence<th class="n">read<th class="n">train<th class="n">held out</tr>
{% for s in r.sources %}<tr><td>{{ s.title }}<td>{{ s.licence }}<td class="n">{{ s.rows }}
<td class="n">{{ r.train.sources.get(s.title, 0) }}
<td class="n">{{ r.held_out.sources.get(s.title, 0) }}</tr>
{% endfor %}</table>
<h2>Length in words</h2>
<svg viewBox="0 0 {{ width }} {{ height }}" role="img" aria-label="rows by length in words">
{% for bar in bars %}<rect x="{{ bar.x }}" y="{{ bar.y }}" width="{{ bar.w }}"
height="{{ bar.h }}"><title>{{ bar.title }}</title></rect>
<text x="{{ bar.x }}" y="{{ height - 6 }}">{{ bar.from }}</text>
{% endfor %}</svg>
<h2>Dropped rows</h2>
{% if not texts %}<p>By name and reason only, at most {{ shown }} a step; the texts may be
personal. <code>--show-texts</code> puts them in.</p>{% endif %}
{% for s in r.steps if s.findings %}<h3>{{ s.name }}</h3>
<table><tr><th>row<th>reason{% if texts %}<th>text{% endif %}</tr>
{% for f in s.findings %}<tr><td>{{ f.name }}<td>{{ f.reason }}
{% if texts %}<td><pre>{{ f.text or "" }}</pre>{% endif %}</tr>
{% endfor %}</table>
{% else %}<p>None.</p>
{% endfor %}
</html>
"""


def page(report: Report) -> str:
    """The report as HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    findings = [finding for step in report.steps for finding in step.findings]
    return environment.from_string(_TEMPLATE).render(
        r=report,
        title=f"Training data of {report.skill}@{report.version}",
        labels=list(dict.fromkeys([*report.train.labels, *report.held_out.labels])),
        texts=any(finding.text is not None for finding in findings),
        shown=SHOWN,
        bars=_bars(report),
        width=_WIDTH,
        height=_HEIGHT,
    )


def _bars(report: Report) -> list[dict[str, object]]:
    edges, counts = report.lengths.edges, report.lengths.counts
    top, step = max(counts, default=0) or 1, _WIDTH / max(1, len(counts))
    bars: list[dict[str, object]] = []
    for at, number in enumerate(counts):
        high = round((_BASELINE - 8) * number / top, 1)
        bars.append(
            {
                "x": round(at * step, 1),
                "y": round(_BASELINE - high, 1),
                "w": round(step - 3, 1),
                "h": high,
                "from": edges[at],
                "title": f"{edges[at]} to {edges[at + 1] - 1} words: {number} rows",
            }
        )
    return bars
