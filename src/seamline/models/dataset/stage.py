"""The data stage of training: from declared sources to a folder of rows and its report.

The folder is named after a digest of everything that decides its content, so the same inputs
are prepared once. It appears in one rename: an interrupted run leaves nothing that could be
taken for a result.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seamline.errors import ConfigError
from seamline.models.dataset import duplicates, html, leakage, splitting
from seamline.models.dataset.cleaning import (
    Outcome,
    PiiFilter,
    check_schema,
    filter_pii,
    normalise,
    normalised,
)
from seamline.models.dataset.duplicates import Tick
from seamline.models.dataset.leakage import Evaluated
from seamline.models.dataset.report import (
    SHOWN,
    Finding,
    Report,
    SourceCount,
    Step,
    count,
    histogram,
)
from seamline.models.dataset.rows import Record, classes, prompt_text, to_json
from seamline.models.dataset.settings import DataSettings
from seamline.models.dataset.sources import read_source, whole_row
from seamline.models.digests import file_digest
from seamline.models.evaluation.declared import Evaluation
from seamline.models.recipes import Recipe
from seamline.writing import replace_file

__all__ = ["HELD_OUT", "REPORT", "REPORT_PAGE", "TRAIN", "Prepared", "prepare"]

TRAIN, HELD_OUT = "train.jsonl", "held_out.jsonl"
REPORT, REPORT_PAGE = "report.json", "report.html"
_DIGESTED = (TRAIN, HELD_OUT, REPORT_PAGE)
_STEPS_VERSION = 2
"""Raised whenever a step gives other rows, so that folders of before are not taken."""
_BUILDING = ".building-"


@dataclass(frozen=True)
class Prepared:
    """A finished folder.

    Attributes:
        folder: Holds `train.jsonl`, `held_out.jsonl`, `report.json` and `report.html`.
        report: What was done.
        cached: Whether it was there already.
    """

    folder: Path
    report: Report
    cached: bool

    def train_rows(self) -> Iterator[dict[str, Any]]:
        """The rows to train on, in the order of training."""
        return self._rows(TRAIN)

    def held_out_rows(self) -> Iterator[dict[str, Any]]:
        """The rows that were not trained on."""
        return self._rows(HELD_OUT)

    def _rows(self, name: str) -> Iterator[dict[str, Any]]:
        with (self.folder / name).open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def prepare(
    recipe: Recipe,
    *,
    data: Path,
    into: Path,
    pii: PiiFilter,
    build: Callable[[], Iterable[dict[str, Any]]] | None,
    evaluations: Mapping[str, Evaluation],
    show_texts: bool,
    tick: Tick,
) -> Prepared:
    """Read, clean and part the rows of a recipe, in a folder below `into`.

    Args:
        recipe: What to prepare.
        data: The folder of outside data.
        into: Where the prepared folders are.
        pii: How personal data is found.
        build: Gives the rows of the skill's `data.py`, where it has one.
        evaluations: What the skill's `evaluation.py` declares; no row of it is trained on.
        show_texts: Whether the report holds texts of dropped rows.
        tick: Gets (done, all, what) as the work goes on.

    Raises:
        ConfigError: The recipe, a source or an evaluation file is wrong, no row or one class
            is left, or the disk is full.
    """
    records = _read(recipe, data, build, tick)
    evaluated, warnings = _evaluated(recipe, evaluations, data, tick)
    key = _key(recipe, records, evaluated, warnings, show_texts)
    folder = into / key
    try:
        into.mkdir(parents=True, exist_ok=True)
        with FileLock(into / ".lock", timeout=0):
            found = _finished(folder)
            if found is not None:
                return Prepared(folder, found, cached=True)
            for left in into.glob(f"{_BUILDING}*"):
                shutil.rmtree(left, ignore_errors=True)
            stage = _Stage(recipe, evaluated, warnings, pii, show_texts, tick)
            report = stage.run(records, key)
            return Prepared(folder, _write(folder, *report), cached=False)
    except Timeout as error:
        raise ConfigError(
            f"another run is preparing data in {into}; wait for it, or give another --work"
        ) from error
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            why = "no space left on the device; free some, or give a --work on another one"
        raise ConfigError(f"{into} cannot be written: {why}; nothing was left there") from error


def _read(
    recipe: Recipe, data: Path, build: Callable[[], Iterable[dict[str, Any]]] | None, tick: Tick
) -> list[Record]:
    readable = [source for source in recipe.sources if source.readable]
    if not readable and build is None:
        raise ConfigError(
            f"{recipe.skill}@{recipe.version} has no rows to train on: no source in recipe.yaml "
            "names a `file`, and there is no data.py beside it"
        )
    records: list[Record] = []
    for done, source in enumerate(readable):
        tick(done, len(readable), f"reading {source.title}")
        records += read_source(source, data)
    if build is not None:
        tick(0, 1, "building the rows of data.py")
        records += _built(build)
    if not records:
        raise ConfigError(f"the sources of {recipe.skill}@{recipe.version} hold no row")
    return records


def _built(build: Callable[[], Iterable[dict[str, Any]]]) -> Iterator[Record]:
    try:
        for at, row in enumerate(build(), 1):
            name = f"row {at}"
            whole_row(row, f"{name} of data.py")
            yield Record(name, str(row.get("source") or "data.py"), row)
    except OSError as error:
        raise ConfigError(
            f"data.py cannot read {error.filename or 'its data'}: {error.strerror or error}; "
            "--data names the folder of outside data"
        ) from error


def _evaluated(
    recipe: Recipe, evaluations: Mapping[str, Evaluation], data: Path, tick: Tick
) -> tuple[list[Evaluated], list[str]]:
    """What rows are compared with, and what to tell of what they cannot be compared with."""
    named = recipe.data.evaluation if recipe.data else ()
    found, warnings = leakage.read_declared(evaluations.values(), recipe.contract, data, tick)
    found += [leakage.read_file(one, data) for one in named]
    if not found and not warnings:
        warnings.append(
            "the skill has no evaluation.py and the recipe names no evaluation file, so leakage "
            "was not checked"
        )
    return found, warnings


def _key(
    recipe: Recipe,
    records: Sequence[Record],
    evaluated: Sequence[Evaluated],
    warnings: Sequence[str],
    show_texts: bool,
) -> str:
    """A digest of all rows themselves: what a `data.py` reads only running it can tell."""
    settings = recipe.data
    stated = {
        "steps": _STEPS_VERSION,
        "skill": f"{recipe.skill}@{recipe.version}",
        "contract": recipe.contract.model_dump(mode="json"),
        "sources": [source.model_dump(mode="json") for source in recipe.sources],
        "data": settings.model_dump(mode="json") if settings else None,
        "seed": recipe.training.seed,
        "evaluated": [[one.name, one.variables, sorted(one.ids), one.texts] for one in evaluated],
        "warnings": warnings,
        "show_texts": show_texts,
    }
    digest = hashlib.sha256(json.dumps(stated, sort_keys=True).encode())
    for line in to_json(record.row for record in records):
        digest.update(line)
    return digest.hexdigest()[:16]


class _Stage:
    """The steps in their order, and what each of them did."""

    def __init__(
        self,
        recipe: Recipe,
        evaluated: Sequence[Evaluated],
        warnings: Sequence[str],
        pii: PiiFilter,
        show_texts: bool,
        tick: Tick,
    ) -> None:
        self._recipe, self._evaluated, self._pii, self._tick = recipe, evaluated, pii, tick
        self._show_texts = show_texts
        self._applied = recipe.data is not None
        self._settings = recipe.data or DataSettings()
        self._steps: list[Step] = []
        self._warnings = list(warnings)

    def run(self, records: list[Record], key: str) -> tuple[list[Record], list[Record], Report]:
        """The part to train on, the held-out part, and the report."""
        train, held, split_by = self._part(self._clean(records))
        if self._applied:
            before = len(train)
            outcome = splitting.balanced(train, self._settings.balance, self._seed)
            train = self._note("balance", before, outcome)
        self._check(train, held)
        train = splitting.shuffled(train, self._seed)
        labels = self._recipe.contract.labels
        none_label = self._recipe.contract.none_label
        report = Report(
            skill=self._recipe.skill,
            version=self._recipe.version,
            key=key,
            seed=self._seed,
            applied=self._applied,
            split_by=split_by,
            sources=self._sources(records),
            steps=tuple(self._steps),
            compared=tuple(dict.fromkeys(one.name for one in self._evaluated)),
            train=count(train, labels, none_label),
            held_out=count(held, labels, none_label),
            lengths=histogram([*train, *held]),
            warnings=tuple(self._warnings),
        )
        return train, held, report

    @property
    def _seed(self) -> int:
        return self._recipe.training.seed

    def _clean(self, records: list[Record]) -> list[Record]:
        """The rows that are left. Without a `data` section most steps only count."""
        settings, pii, tick = self._settings, self._pii, self._tick
        steps: list[tuple[str, bool, Callable[[list[Record]], Outcome]]] = [
            ("schema", True, lambda rows: check_schema(rows, self._recipe.contract, settings)),
            (
                "normalise",
                self._applied,
                lambda rows: normalise(rows) if settings.normalise else Outcome(rows),
            ),
            ("personal data", self._applied, lambda rows: filter_pii(rows, pii, settings.pii)),
            ("exact duplicates", self._applied, duplicates.exact_duplicates),
            (
                "contradictions",
                True,
                lambda rows: duplicates.resolve_contradictions(rows, settings.contradictions),
            ),
            (
                "near-duplicates",
                self._applied,
                lambda rows: duplicates.near_duplicates(rows, settings.near_duplicates, tick),
            ),
            ("leakage", True, self._leaks),
        ]
        for done, (name, applied, step) in enumerate(steps):
            tick(done, len(steps), name)
            before = len(records)
            outcome = step(records)
            records = self._note(name, before, outcome if applied else _counted(records, outcome))
            if before and not records:
                reasons = self._steps[-1].reasons
                told = ", ".join(f"{reason}: {number}" for reason, number in reasons.items())
                raise ConfigError(f"step {name!r} left no row of {before} ({told})")
        return records

    def _leaks(self, records: list[Record]) -> Outcome:
        settings = self._settings

        def prepared(text: str) -> str:
            """The text as the steps before left those of the rows."""
            if not self._applied:
                return text
            text = normalised(text) if settings.normalise else text
            return self._pii.mask(text) if settings.pii == "mask" else text

        return leakage.find_leaks(
            records,
            self._evaluated,
            threshold=settings.near_duplicates,
            prepare=prepared,
            tick=self._tick,
        )

    def _part(self, records: list[Record]) -> tuple[list[Record], list[Record], Any]:
        if any(record.row.get("split") == splitting.VALID for record in records):
            train, held = splitting.own_split(records)
            shared = splitting.shared_groups(train, held)
            if shared:
                self._warnings.append(
                    f"{len(shared)} groups stand in both parts, e.g. {shared[0]!r}: their held-out "
                    "rows are not new to the skill; let data.py hold out whole groups"
                )
            return train, held, "the rows' own split"
        if not self._applied or not self._settings.hold_out:
            self._warnings.append("no row is held out, so the skill cannot be calibrated on any")
            return records, [], "nothing held out"
        share = self._settings.hold_out
        train, held = splitting.hold_out(records, share, self._seed)
        got = len(held) / len(records)
        if abs(got - share) > 0.05:
            self._warnings.append(
                f"{got:.0%} of the rows are held out, not {share:.0%}: the groups are few or large"
            )
        trained, kept = ({c for r in part for c in classes(r.row)} for part in (train, held))
        for what, missing in (
            ("only held out, not trained on", kept - trained),
            ("no held-out row", trained - kept),
        ):
            if missing:
                self._warnings.append(f"{what}: {', '.join(sorted(missing))}")
        return train, held, "groups"

    def _check(self, train: Sequence[Record], held: Sequence[Record]) -> None:
        """That the training part can teach what the contract promises."""
        contract, name = self._recipe.contract, self._recipe.skill
        found = {one for record in train for one in classes(record.row)}
        if len(found) < 2:
            raise ConfigError(
                f"{name}: the {len(train)} training rows hold one class only "
                f"({', '.join(sorted(found)) or 'none'}); add rows of another one"
            )
        none = contract.none_label
        if none is not None and none not in found:
            raise ConfigError(
                f"{name}: the contract can answer {none!r}, but no training row does; add texts "
                "that must be declined, or remove none_label from the contract"
            )
        never = [label for label in contract.labels if label not in found]
        if never:
            self._warnings.append(f"labels without a training row: {', '.join(never)}")
        if contract.read == "branches" and not any(
            not any(branch["label"] for branch in record.row["branches"]) for record in train
        ):
            self._warnings.append("no training row must be declined: each has a right choice")
        texts = {prompt_text(record.row) for record in train}
        both = sum(prompt_text(record.row) in texts for record in held)
        if both:
            self._warnings.append(f"{both} held-out rows stand in the training rows as well")

    def _note(self, name: str, before: int, outcome: Outcome) -> list[Record]:
        reasons: dict[str, int] = {}
        for _, reason in outcome.dropped:
            reasons[reason] = reasons.get(reason, 0) + 1
        shown = [
            Finding(
                name=record.name,
                reason=reason,
                text=prompt_text(record.row) if self._show_texts else None,
            )
            for record, reason in outcome.dropped[:SHOWN]
        ]
        self._steps.append(
            Step(
                name=name,
                before=before,
                after=len(outcome.kept),
                changed=outcome.changed,
                reasons=reasons | dict(outcome.noticed or {}),
                findings=tuple(shown),
            )
        )
        return outcome.kept

    def _sources(self, records: Sequence[Record]) -> tuple[SourceCount, ...]:
        licences = {source.title: source.licence for source in self._recipe.sources}
        rows: dict[str, int] = {}
        for record in records:
            rows[record.source] = rows.get(record.source, 0) + 1
        return tuple(
            SourceCount(title=title, licence=licences.get(title, "see recipe.yaml"), rows=number)
            for title, number in rows.items()
        )


def _counted(records: list[Record], outcome: Outcome) -> Outcome:
    """What a step found, all rows kept as they were."""
    found = Counter(f"{reason} (kept)" for _, reason in outcome.dropped)
    if outcome.changed:
        found["would be changed (kept)"] = outcome.changed
    return Outcome(records, noticed={**found, **(outcome.noticed or {})})


def _finished(folder: Path) -> Report | None:
    """The report of a folder that is whole; None where it is not."""
    with contextlib.suppress(OSError, ValueError):
        report = Report.model_validate_json((folder / REPORT).read_text(encoding="utf-8"))
        if report.files == {name: file_digest(folder / name) for name in _DIGESTED}:
            return report
    return None


def _write(folder: Path, train: Sequence[Record], held: Sequence[Record], report: Report) -> Report:
    building = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=folder.parent))
    try:
        for name, records in ((TRAIN, train), (HELD_OUT, held)):
            replace_file(building / name, to_json(record.row for record in records))
        replace_file(
            building / REPORT_PAGE, [html.page(report).encode("utf-8", "backslashreplace")]
        )
        files = {name: file_digest(building / name) for name in _DIGESTED}
        whole = report.model_copy(update={"files": files})
        replace_file(building / REPORT, [whole.model_dump_json(indent=2).encode() + b"\n"])
        # Rows may be health data; mkdtemp lets nobody else in, and that stays so.
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return whole
