"""The stage "calibrate" of training: from held-out rows to a skill's `Calibration`.

What the adapter says of rows that it was not trained on decides what its scores are worth. Every
number of the report is cross-fitted: a row's score comes from a calibration that has not seen the
row's group.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.stats import binomtest

from seamline.errors import ConfigError
from seamline.models.contracts import SkillContract
from seamline.models.evaluation.calibration import (
    fit_knots,
    fit_scale,
    log_loss,
    scaled,
    threshold_for_accuracy,
    threshold_for_f1,
    threshold_for_precision,
)
from seamline.models.evaluation.metrics import (
    accuracy_at_coverage,
    calibration_error,
    reliability,
    risk_coverage,
)
from seamline.models.protocol import DecideRequest
from seamline.models.skills import Calibration

__all__ = ["LEAST_ROWS", "CalibrationReport", "HeldOut", "calibrate", "read_logits"]

LEAST_ROWS = 50
"""Held-out rows without which nothing is fitted."""
_ISOTONIC_ROWS = 1000
"""Below about so many, isotonic regression overfits (Niculescu-Mizil and Caruana 2005)."""
_CLEARLY = 2.0
_FOLDS = 5
_CHUNK = 16

Floats = NDArray[np.float64]
Method = Literal["as trained", "temperature", "isotonic"]
Tick = Callable[[int, int, str], None]


class Reads(Protocol):
    """What gives the adapter's logits: `LocalModel`."""

    async def logits(
        self, requests: Sequence[DecideRequest], *, skill: str
    ) -> list[NDArray[np.float32]]:
        """One array a request, of shape (questions, answer tokens)."""
        ...


@dataclass(frozen=True)
class HeldOut:
    """One held-out row.

    Attributes:
        request: What the skill is asked.
        gold: 0 or 1 a choice, or a label of the contract.
        group: What the row belongs to; rows of one group are never on both sides of a fit.
    """

    request: DecideRequest
    gold: tuple[int, ...]
    group: str


class CalibrationReport(BaseModel):
    """What the stage found.

    Attributes:
        adapter: The digest of the adapter whose scores these are.
        data: The key of the data stage's folder that held the rows out.
        measure: What `value` and `value_before` are, at the threshold and at 0.5.
        method: Where no temperature lowers the log loss, the scores stay as trained.
        losses: Mean log loss a row by each method; isotonic where it was tried.
        error_before: Expected calibration error of the scores as trained, over all rows.
        error: The same after calibration.
        accuracy_at_80: Accuracy on the 80 % of the rows with the surest first answer.
        precision: Share of right ones among the answers kept, with its 95 % interval (Wilson);
            None where every answer was abstained from.
        coverage: Share of the answers kept.
        warnings: What to look at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    skill: str
    adapter: str
    data: str
    rows: int
    groups: int
    method: Method
    losses: Mapping[str, float]
    error_before: float
    error: float
    accuracy: float
    accuracy_at_80: float
    measure: Literal["micro-F1", "accuracy"]
    value_before: float
    value: float
    target_precision: float
    precision: tuple[float, float, float] | None
    coverage: float
    calibration: Calibration
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Read:
    """A row with its margins: logits of the labels, or yes minus no of each choice."""

    ask: str
    margins: Floats
    gold: Floats
    group: str

    @property
    def each(self) -> bool:
        """Whether every choice is a question of its own, and not one among others."""
        return self.ask == "rules"

    def scores(self, calibration: Calibration) -> Floats:
        scale = calibration.temperature, calibration.bias
        if self.ask == "labels":
            found = scaled(self.margins[None], *scale)[0]
        else:
            found = scaled(self.margins, *scale)
        return np.asarray(calibration.mapped(found.tolist())) if calibration.knots else found


async def _logits(
    model: Reads, rows: Sequence[HeldOut], skill: str, file: Path, key: str, tick: Tick
) -> list[list[list[float]]]:
    """The logits of all rows, gone on with from `file` where it holds some of them."""
    found = list(_noted(file, key))[: len(rows)]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as out:
        out.write(json.dumps({"key": key}) + "\n")
        out.writelines(json.dumps(one) + "\n" for one in found)
        out.flush()
        while len(found) < len(rows):
            tick(len(found), len(rows), "held-out rows read")
            chunk = rows[len(found) : len(found) + _CHUNK]
            logits = await model.logits([row.request for row in chunk], skill=skill)
            fresh = [one.astype(float).round(5).tolist() for one in logits]
            out.writelines(json.dumps(one) + "\n" for one in fresh)
            out.flush()
            found += fresh
    return found


def _noted(file: Path, key: str) -> Iterator[list[list[float]]]:
    """The whole lines of a file of logits; none where they are of other rows."""
    with suppress(OSError, ValueError, AttributeError):
        lines = file.read_text(encoding="utf-8").split("\n")
        if json.loads(lines[0]).get("key") == key:
            # What stands behind the last line break was cut off.
            for line in lines[1:-1]:
                yield json.loads(line)


def read_logits(
    model: Reads,
    rows: Sequence[HeldOut],
    contract: SkillContract,
    *,
    skill: str,
    adapter: str,
    work: Path,
    tick: Tick,
) -> list[_Read]:
    """The adapter's margins on held-out rows; an interrupted reading goes on where it was.

    Args:
        model: Answers with the adapter.
        rows: What to ask.
        contract: The skill's contract.
        skill: The reference under which `model` knows the adapter.
        adapter: Its digest.
        work: Where the logits are kept.
        tick: Gets (done, all, what).
    """
    rows = [row for row in rows if row.gold]
    digest = hashlib.sha256(f"{adapter}\n{contract.model_dump_json()}".encode())
    for row in rows:
        digest.update(row.request.model_dump_json().encode("utf-8", "backslashreplace"))
    file = work / "calibration" / "logits.jsonl"
    logits = asyncio.run(_logits(model, rows, skill, file, digest.hexdigest(), tick))
    found = []
    for row, one in zip(rows, logits, strict=True):
        values = np.asarray(one, dtype=np.float64)
        margins = values[0] if contract.read == "labels" else values[:, 0] - values[:, 1]
        found.append(_Read(row.request.ask, margins, np.asarray(row.gold, float), row.group))
    return found


def calibrate(
    rows: Sequence[_Read],
    contract: SkillContract,
    *,
    skill: str,
    adapter: str,
    data: str,
    target_precision: float,
) -> tuple[CalibrationReport, dict[str, Any]]:
    """The calibration of an adapter, and curves before and after it for `plots`.

    Raises:
        ConfigError: There are fewer than 50 rows or than 2 groups, or only right or only wrong
            answers.
    """
    fits = _Fits(contract, several=any(row.gold.sum() > 1 for row in rows))
    folds = _folds(rows)
    _check(rows, folds, fits, skill)
    losses: dict[Method, Floats] = {}
    crossed: dict[Method, list[Calibration]] = {}
    methods: tuple[Method, ...] = ("as trained", "temperature", "isotonic")
    for method in methods if len(rows) >= _ISOTONIC_ROWS else methods[:2]:
        crossed[method] = fits.crossed(rows, folds, method, target_precision)
        losses[method] = fits.losses(rows, crossed[method])
    judged: dict[Method, _Judged] = {
        method: fits.judged(rows, one) for method, one in crossed.items()
    }
    errors: dict[Method, float] = {method: one.error for method, one in judged.items()}
    chosen = _best(rows, losses, errors, several=fits.several)
    calibration = fits.fit(rows, chosen, target_precision)
    before = fits.judged(rows, [Calibration()] * len(rows))
    after = judged[chosen]
    kept = [right for score, right, least in after.answers if score >= least]
    error_before, error = (round(one.error, 4) for one in (before, after))
    report = CalibrationReport(
        skill=skill,
        adapter=adapter,
        data=data,
        rows=len(rows),
        groups=len({row.group for row in rows}),
        method=chosen,
        losses={name: round(float(each.mean()), 4) for name, each in losses.items()},
        error_before=error_before,
        error=error,
        accuracy=round(float(np.mean(after.right)), 4),
        accuracy_at_80=round(accuracy_at_coverage(after.sure, after.right, coverage=0.8), 4),
        measure="micro-F1" if fits.several else "accuracy",
        value_before=round(before.value, 4),
        value=round(after.value, 4),
        target_precision=target_precision,
        precision=_share(kept),
        coverage=round(len(kept) / max(len(after.answers), 1), 4),
        calibration=calibration,
        warnings=tuple(_warnings(calibration, target_precision, error_before, error)),
    )
    return report, {"as trained": before.curves(), "after calibration": after.curves()}


@dataclass(frozen=True)
class _Judged:
    """What rows came out as.

    `sure` and `right` are of the best name of each row, or of each rule's likelier answer.
    `answers` are (score, right, least score that is not abstained from).
    """

    sure: list[float]
    right: list[float]
    answers: list[tuple[float, float, float]]
    value: float

    @property
    def error(self) -> float:
        """The expected calibration error."""
        return calibration_error(self.sure, self.right)

    def curves(self) -> dict[str, Any]:
        coverage, risk = risk_coverage(self.sure, self.right)
        points = list(zip(coverage.tolist(), risk.tolist(), strict=True))
        return {
            "reliability": [asdict(one) for one in reliability(self.sure, self.right)],
            "risk_coverage": points,
        }


class _Fits:
    """Fits and judges calibrations of one contract."""

    def __init__(self, contract: SkillContract, *, several: bool) -> None:
        self.several = several and contract.read == "labels"
        names = list(contract.labels)
        none = contract.none_label
        self._none = names.index(none) if none is not None and names else None

    def fit(self, rows: Sequence[_Read], method: Method, target: float) -> Calibration:
        stated = [self._stated(row, row.margins) for row in rows]
        if rows[0].ask == "labels":
            margins, gold = (np.stack(part) for part in zip(*stated, strict=True))
        else:
            margins, gold = (np.concatenate(part) for part in zip(*stated, strict=True))
        temperature, bias = 1.0, 0.0
        if method != "as trained":
            temperature, bias = (round(one, 4) for one in fit_scale(margins, gold))
        found = Calibration(temperature=temperature, bias=bias)
        if method == "isotonic":
            flat = scaled(margins, temperature, bias).ravel()
            found = found.model_copy(update={"knots": fit_knots(flat, gold.ravel())})
        scores = [row.scores(found) for row in rows]
        threshold = round(self._threshold(rows, scores), 6)
        answers = [
            answer
            for row, own in zip(rows, scores, strict=True)
            for answer in self._answers(row, own, threshold)
        ]
        sure, right = (list(part) for part in zip(*answers, strict=True)) if answers else ([], [])
        least = threshold_for_precision(sure, right, target)
        # Down, so that a score of six digits that is equal to it counts.
        least = 1.0 if least is None else np.floor(least * 1e6) / 1e6
        return found.model_copy(update={"threshold": threshold, "abstain_below": float(least)})

    def crossed(
        self, rows: Sequence[_Read], folds: Sequence[int], method: Method, target: float
    ) -> list[Calibration]:
        """For every row the calibration that was fitted without its fold."""
        fitted = {
            fold: self.fit(
                [row for row, own in zip(rows, folds, strict=True) if own != fold], method, target
            )
            for fold in sorted(set(folds))
        }
        return [fitted[fold] for fold in folds]

    def losses(self, rows: Sequence[_Read], by: Sequence[Calibration]) -> Floats:
        """The log loss of each row's statements."""
        found = []
        for row, calibration in zip(rows, by, strict=True):
            scores, gold = self._stated(row, row.scores(calibration))
            found.append(float(log_loss(scores, gold).mean()))
        return np.asarray(found)

    def judged(self, rows: Sequence[_Read], by: Sequence[Calibration]) -> _Judged:
        sure: list[float] = []
        right: list[float] = []
        answers: list[tuple[float, float, float]] = []
        correct: list[float] = []
        for row, calibration in zip(rows, by, strict=True):
            scores = row.scores(calibration)
            if row.each:
                sure += [float(max(one, 1 - one)) for one in scores]
                right += [float(x) for x in (scores >= 0.5) == (row.gold == 1)]
            else:
                sure.append(float(scores.max()))
                right.append(float(row.gold[np.argmax(scores)]))
            least = calibration.abstain_below or 0.0
            given = self._answers(row, scores, calibration.threshold)
            answers += [(score, hit, least) for score, hit in given]
            correct += self._correct(row, scores, calibration.threshold)
        wanted = sum(float(self._names(row, row.gold).sum()) for row in rows)
        hits = sum(hit for _, hit, _ in answers)
        if self.several:
            value = 2 * hits / max(len(answers) + wanted, 1)
        else:
            value = float(np.mean(correct))
        return _Judged(sure, right, answers, value)

    def _stated(self, row: _Read, values: Floats) -> tuple[Floats, Floats]:
        """What a row states: of each label or rule, or of the best choice alone."""
        if row.ask != "options":
            return values, row.gold
        best = int(np.argmax(values))
        return values[best : best + 1], row.gold[best : best + 1]

    def _names(self, row: _Read, values: Floats) -> Floats:
        """The values of what can be answered: not those of "none of these"."""
        skip = row.ask == "labels" and self._none is not None
        return np.delete(values, self._none) if skip else values  # type: ignore[arg-type]

    def _answers(
        self, row: _Read, scores: Floats, threshold: float
    ) -> Iterator[tuple[float, float]]:
        """The names that are answered, each with its score and whether it is right."""
        if self.several or row.each:
            own, gold = self._names(row, scores), self._names(row, row.gold)
            for i in np.flatnonzero(own >= threshold):
                yield float(own[i]), float(gold[i])
            return
        best = int(np.argmax(scores))
        none = row.ask == "labels" and best == self._none
        if scores[best] >= threshold and not none:
            yield float(scores[best]), float(row.gold[best])

    def _correct(self, row: _Read, scores: Floats, threshold: float) -> list[float]:
        """Whether the row, or each of its questions, is answered or declined rightly."""
        if row.each:
            return [float(x) for x in (scores >= threshold) == (row.gold == 1)]
        answers = [hit for _, hit in self._answers(row, scores, threshold)]
        return [answers[0] if answers else self._declined(row)]

    def _declined(self, row: _Read) -> float:
        return float(not self._names(row, row.gold).any())

    def _threshold(self, rows: Sequence[_Read], scores: Sequence[Floats]) -> float:
        pairs = list(zip(rows, scores, strict=True))
        if self.several:
            own = np.concatenate([self._names(row, one) for row, one in pairs])
            gold = np.concatenate([self._names(row, row.gold) for row in rows])
            return threshold_for_f1(own, gold)
        sure: list[float] = []
        right: list[float] = []
        declined: list[float] = []
        for row, one in pairs:
            for i in range(len(one)) if row.each else [int(np.argmax(one))]:
                sure.append(float(one[i]))
                right.append(float(row.gold[i]))
                declined.append(1 - float(row.gold[i]) if row.each else self._declined(row))
        return threshold_for_accuracy(sure, right, declined)


def _folds(rows: Sequence[_Read]) -> list[int]:
    """A fold a row: whole groups, in the order of their hash, each to the emptiest fold."""
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row.group] = sizes.get(row.group, 0) + 1
    filled = [0] * _FOLDS
    place: dict[str, int] = {}
    for group in sorted(sizes, key=lambda one: hashlib.sha256(one.encode()).hexdigest()):
        place[group] = filled.index(min(filled))
        filled[place[group]] += sizes[group]
    return [place[row.group] for row in rows]


def _check(rows: Sequence[_Read], folds: Sequence[int], fits: _Fits, skill: str) -> None:
    if len(rows) < LEAST_ROWS or len(set(folds)) < 2:
        groups = len({row.group for row in rows})
        raise ConfigError(
            f"{skill} has {len(rows)} held-out rows in {groups} groups, and its calibration needs "
            f"{LEAST_ROWS} in 2 or more; hold out more, or set calibration.fixed in recipe.yaml"
        )
    right = fits.judged(rows, [Calibration()] * len(rows)).right
    if len(set(right)) < 2:
        what = "right" if right[0] else "wrong"
        raise ConfigError(
            f"{skill} is {what} on all {len(rows)} held-out rows, so nothing can be fitted; "
            "hold out harder rows, or set calibration.fixed in recipe.yaml"
        )


def _warnings(calibration: Calibration, target: float, before: float, after: float) -> list[str]:
    found = []
    if calibration.abstain_below == 1.0:
        found.append(
            f"no score reaches a precision of {target:g}, so every answer is reported as not "
            "sure; lower calibration.target_precision, or train a better adapter"
        )
    if after > before:
        found.append(
            f"calibration did not lower the calibration error ({before:g} to {after:g}); with few "
            "rows that may be chance, otherwise look at reliability.png"
        )
    return found


def _best(
    rows: Sequence[_Read],
    losses: Mapping[Method, Floats],
    errors: Mapping[Method, float],
    *,
    several: bool,
) -> Method:
    """The method of the lowest loss; isotonic only where it wins clearly.

    That is by two standard errors, groups taken as what was drawn. Where several labels can hold
    at once, it is enough that it lowers both the loss and the calibration error: they share one
    softmax, and no temperature gives each its own probability.
    """
    scale: Method = "temperature"
    if losses["temperature"].mean() >= losses["as trained"].mean():
        scale = "as trained"
    if "isotonic" not in losses:
        return scale
    gain: dict[str, float] = {}
    for row, one in zip(rows, losses[scale] - losses["isotonic"], strict=True):
        gain[row.group] = gain.get(row.group, 0.0) + float(one)
    each = np.asarray(list(gain.values()))
    spread = np.sqrt(len(each) * each.var(ddof=1)) if len(each) > 1 else np.inf
    clearly = each.sum() > _CLEARLY * spread
    both = each.sum() > 0 and errors["isotonic"] < errors[scale]
    return "isotonic" if clearly or (several and both) else scale


def _share(hits: Sequence[float]) -> tuple[float, float, float] | None:
    """Low, share and high of right ones."""
    if not hits:
        return None
    found: Any = binomtest(int(sum(hits)), len(hits)).proportion_ci(method="wilson")
    low, high = float(found.low), float(found.high)
    return round(low, 4), round(sum(hits) / len(hits), 4), round(high, 4)
