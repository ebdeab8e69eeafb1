"""The gate: a version against the released one, on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

from seamline.models.evaluation.declared import EvalRow, Prediction
from seamline.models.evaluation.metrics import mcnemar, paired_bootstrap
from seamline.models.evaluation.records import Collapsed, Gate, behaviour_digest
from seamline.models.skills import Skill

__all__ = ["judge", "slices_of"]

_LEAST_ROWS = 20
_FALL = 0.20
_SIGNIFICANT = 0.05


def judge(
    rows: Sequence[EvalRow], new: Sequence[Prediction], old: Sequence[Prediction], released: Skill
) -> Gate:
    """Whether `new` may replace what `released` answered, `old`.

    Not passed where the 95 % interval of the difference in accuracy lies wholly below 0, or
    where a slice of at least 20 rows falls by more than 20 points with p < 0.05.
    """
    after = [int(p.right(row.gold)) for row, p in zip(rows, new, strict=True)]
    before = [int(p.right(row.gold)) for row, p in zip(rows, old, strict=True)]
    difference = paired_bootstrap(
        [a - b for a, b in zip(after, before, strict=True)], [row.unit for row in rows]
    )
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
        difference=astuple(difference),
        p=mcnemar(after, before),
        collapsed=tuple(collapsed),
        passed=difference.high >= 0 and not collapsed,
    )


def slices_of(rows: Sequence[EvalRow]) -> dict[str, list[int]]:
    """The rows of every slice, by index; the slices sorted by name."""
    found: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        for name in row.slices:
            found.setdefault(name, []).append(i)
    return dict(sorted(found.items()))
