"""The gate: a version against the released one, on the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, replace

import numpy as np

from seamline.errors import ConfigError
from seamline.models.evaluation.declared import EvalRow, Evaluation, Prediction
from seamline.models.evaluation.metrics import (
    exact_match,
    macro_f1,
    mcnemar,
    micro_f1,
    paired_bootstrap,
)
from seamline.models.evaluation.records import Collapsed, Gate, Judged, behaviour_digest
from seamline.models.skills import Skill

__all__ = ["judge", "slices_of"]

_LEAST_ROWS = 20
_FALL = 0.20
_SIGNIFICANT = 0.05
_RESAMPLES = 1_000
_OF_SETS = {"macro_f1": macro_f1, "micro_f1": micro_f1, "exact_match": exact_match}


def judge(
    evaluation: Evaluation,
    rows: Sequence[EvalRow],
    new: Sequence[Prediction],
    old: Sequence[Prediction],
    released: Skill,
) -> Gate:
    """Whether `new` may replace what `released` answered, `old`.

    Not passed where the 95 % interval of the difference in accuracy, or in one of the numbers
    `gate_on`, lies wholly below 0, or where a slice of at least 20 rows falls by more than 20
    points with p < 0.05.

    Raises:
        ConfigError: `gate_on` names a number that there is not.
    """
    after = [int(p.right(row.gold)) for row, p in zip(rows, new, strict=True)]
    before = [int(p.right(row.gold)) for row, p in zip(rows, old, strict=True)]
    difference = paired_bootstrap(
        [a - b for a, b in zip(after, before, strict=True)], [row.unit for row in rows]
    )
    numbers = tuple(_judged(evaluation, rows, new, old))
    collapsed = []
    for name, own in slices_of(rows).items():
        now, then = [after[i] for i in own], [before[i] for i in own]
        fall, p = (sum(then) - sum(now)) / len(own), mcnemar(now, then)
        if len(own) >= _LEAST_ROWS and fall > _FALL and p < _SIGNIFICANT:
            mean_before, mean_after = sum(then) / len(own), sum(now) / len(own)
            found = Collapsed(slice=name, rows=len(own), before=mean_before, after=mean_after, p=p)
            collapsed.append(found)
    return Gate(
        against=released.ref,
        against_digest=behaviour_digest(released),
        cell=evaluation.gate_cell,
        difference=astuple(difference),
        p=mcnemar(after, before),
        numbers=numbers,
        collapsed=tuple(collapsed),
        passed=difference.high >= 0 and not collapsed and not any(one.fell for one in numbers),
    )


def slices_of(rows: Sequence[EvalRow]) -> dict[str, list[int]]:
    """The rows of every slice, by index; the slices sorted by name."""
    found: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        for name in row.slices:
            found.setdefault(name, []).append(i)
    return dict(sorted(found.items()))


def _judged(
    evaluation: Evaluation,
    rows: Sequence[EvalRow],
    new: Sequence[Prediction],
    old: Sequence[Prediction],
) -> Iterator[Judged]:
    """The numbers `gate_on`, each with a bootstrap over units of the difference itself.

    Such a number is no mean of rows, so each resample computes it anew, on both sides.
    """
    names = evaluation.gate_on
    if not names:
        return
    after, before = (_numbers(evaluation, rows, said) for said in (new, old))
    for name in names:
        if name not in after or name not in before:
            known = ", ".join(sorted({*_OF_SETS, *(after.keys() & before.keys())}))
            raise ConfigError(
                f"gate_on of the evaluation on {evaluation.file} names {name!r}, which is no "
                f"number of it; use some of: {known}"
            )
    drawn: dict[str, list[float]] = {name: [] for name in names}
    for own, places in _resamples(rows):
        now, then = (_numbers(evaluation, own, [said[i] for i in places]) for said in (new, old))
        for name in names:
            # A number of what no row of the resample has is left out there.
            if name in now and name in then:
                drawn[name].append(now[name] - then[name])
    for name in names:
        low, high = np.percentile(drawn[name], [2.5, 97.5])
        difference = (float(low), after[name] - before[name], float(high))
        yield Judged(name=name, before=before[name], after=after[name], difference=difference)


def _numbers(
    evaluation: Evaluation, rows: Sequence[EvalRow], said: Sequence[Prediction]
) -> dict[str, float]:
    """Those numbers that `gate_on` may name."""
    found = dict(evaluation.further(rows, said))
    gold, labels = [row.gold for row in rows], [one.labels for one in said]
    wanted = {name: of for name, of in _OF_SETS.items() if name in evaluation.gate_on}
    return found | {name: of(gold, labels) for name, of in wanted.items()}


def _resamples(rows: Sequence[EvalRow]) -> Iterator[tuple[list[EvalRow], list[int]]]:
    """Rows drawn by whole units, with their places; the same ones every time.

    A unit that is drawn again counts as another: its rows get a group of their own.
    """
    units: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        units.setdefault(row.unit, []).append(i)
    of_units = list(units.values())
    again: dict[tuple[int, int], EvalRow] = {}
    rng = np.random.default_rng(0)
    for _ in range(_RESAMPLES):
        own: list[EvalRow] = []
        places: list[int] = []
        times: dict[int, int] = {}
        for unit in rng.integers(len(of_units), size=len(of_units)).tolist():
            time = times[unit] = times.get(unit, -1) + 1
            for i in of_units[unit]:
                row = rows[i]
                if time and row.group:
                    copy = again.get((i, time)) or replace(row, group=f"{row.group} ({time})")
                    row = again[i, time] = copy
                own.append(row)
                places.append(i)
        yield own, places
