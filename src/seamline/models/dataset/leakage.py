"""Training rows that stand in an evaluation: by id, by text, or nearly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seamline.errors import ConfigError, SeamlineError
from seamline.models.contracts import SkillContract
from seamline.models.dataset.cleaning import Outcome
from seamline.models.dataset.duplicates import NearIndex, Tick
from seamline.models.dataset.rows import Record, comparable, context_text
from seamline.models.dataset.settings import EvaluationFile
from seamline.models.dataset.sources import declared_file, read_columns
from seamline.models.evaluation.declared import EvalRow, Evaluation

__all__ = ["Evaluated", "find_leaks", "read_declared", "read_file"]

Prepare = Callable[[str], str]
Variables = tuple[str, ...] | None


@dataclass(frozen=True)
class Evaluated:
    """What of one evaluation training rows are compared with.

    Attributes:
        name: Its file, as reports name it.
        variables: The variables of a row's context that are compared; all of them without.
        texts: What each row of the evaluation is about.
        ids: Ids that mean the same row in the training data.
    """

    name: str
    variables: Variables
    texts: tuple[str, ...]
    ids: frozenset[str] = frozenset()


def read_declared(
    evaluations: Iterable[Evaluation], contract: SkillContract, data: Path, tick: Tick
) -> tuple[list[Evaluated], list[str]]:
    """The rows that a skill's `evaluation.py` declares, and a warning for each unreadable file.

    Their ids are not compared: they tell a row from the others of its file only.
    """
    # Evaluations of the same rows differ in how they are measured.
    distinct = {one.rows: one for one in evaluations}.values()
    found, warnings = [], []
    for at, one in enumerate(distinct):
        tick(at, len(distinct), f"reading {one.file}")
        texts: tuple[str, ...] = ()
        try:
            texts = tuple(_asked(row, contract) for row in one.rows(data))
            why = "" if any(text.strip() for text in texts) else "it holds no text"
        except (OSError, SeamlineError, ValueError, KeyError, TypeError) as error:
            why = _why(error, one.file, data)
        if why:
            warnings.append(f"leakage was not checked against {one.file}: {why}")
        else:
            found.append(Evaluated(one.file, tuple(sorted(contract.variables)), texts))
    return found, warnings


def read_file(file: EvaluationFile, data: Path) -> Evaluated:
    """The rows of a file that the recipe names.

    Raises:
        ConfigError: It cannot be read, or holds no text.
    """
    fields = file.fields
    ids, texts = set(), []
    for at, row in read_columns(declared_file(data, file.file)):
        column = "id" if fields is None else fields.id
        if column is not None and row.get(column) not in (None, ""):
            ids.add(str(row[column]))
        if fields is not None:
            missing = [c for c in fields.context.values() if c not in row]
            if missing:
                raise ConfigError(
                    f"{file.file}:{at} has no column {missing[0]!r}, which recipe.yaml names; "
                    f"it has: {', '.join(map(str, row)) or 'none'}"
                )
            context: object = {name: row[c] for name, c in fields.context.items()}
        else:
            context = row.get("context")
        if not isinstance(context, str | dict):
            raise ConfigError(
                f'{file.file}:{at} has no "context"; say with `fields` which column is the text'
            )
        texts.append(context_text({"context": context}))
    if not any(text.strip() for text in texts):
        raise ConfigError(f"evaluation file {file.file!r} holds no text; nothing was compared")
    variables = None if fields is None else tuple(sorted(fields.context))
    return Evaluated(file.file, variables, tuple(texts), frozenset(ids))


def find_leaks(
    records: Sequence[Record],
    evaluated: Sequence[Evaluated],
    *,
    threshold: float,
    prepare: Prepare,
    tick: Tick,
) -> Outcome:
    """Drops the rows that an evaluation holds, whatever their answer.

    Args:
        records: The rows so far.
        evaluated: What they are compared with.
        threshold: Least similarity that counts, as for near-duplicates.
        prepare: What the training texts went through, e.g. masking, so that like meets like.
        tick: Gets (rows done, all, what).
    """
    named = {one: evaluation.name for evaluation in evaluated for one in evaluation.ids}
    known: dict[Variables, _Texts] = {}
    for evaluation in evaluated:
        texts = known.setdefault(evaluation.variables, _Texts(evaluation.variables, threshold))
        for at, text in enumerate(evaluation.texts):
            tick(at, len(evaluation.texts), f"reading {evaluation.name}")
            texts.add(comparable(prepare(text)), evaluation.name)
    kept: list[Record] = []
    dropped: list[tuple[Record, str]] = []
    for at, record in enumerate(records):
        tick(at, len(records), "leakage")
        name = named.get(record.own_id or "")
        how = f"same id in {name}" if name else ""
        how = how or next(filter(None, (texts.leak(record) for texts in known.values())), "")
        if how:
            dropped.append((record, how))
        else:
            kept.append(record)
    return Outcome(kept, dropped)


class _Texts:
    """The texts of the evaluations that compare the same variables."""

    def __init__(self, variables: Variables, threshold: float) -> None:
        self._variables = variables
        self._index = NearIndex(threshold)
        self._places: dict[str, int] = {}
        self._names: list[str] = []

    def add(self, text: str, name: str) -> None:
        """Take in a text of the evaluation with this name."""
        if text and text not in self._places:
            self._index.add(len(self._names), text)
            self._places[text] = len(self._names)
            self._names.append(name)

    def leak(self, record: Record) -> str:
        """How the row stands in which evaluation; empty where it does not."""
        text = comparable(context_text(record.row, self._variables))
        if not text:
            return ""
        if text in self._places:
            return f"same text in {self._names[self._places[text]]}"
        near = self._index.near(text)
        return f"near-duplicate in {self._names[near[0]]}" if near else ""


def _asked(row: EvalRow, contract: SkillContract) -> str:
    """What a row is about; where it brings its whole question, the context of that."""
    if row.asked is not None:
        return row.asked.context
    return context_text({"context": row.context}, contract.variables)


def _why(error: Exception, file: str, data: Path) -> str:
    if not isinstance(error, FileNotFoundError) or error.filename is None:
        return f"{type(error).__name__}: {error}"
    missing = Path(str(error.filename))
    if not missing.is_relative_to(data):
        return f"{missing} is missing"
    name = missing.relative_to(data).as_posix()
    return f"{'it' if name == file else name} is not in the folder given as --data"
