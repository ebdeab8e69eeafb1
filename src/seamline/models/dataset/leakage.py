"""Training rows that stand in an evaluation file: by id, by text, or nearly."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from seamline.errors import ConfigError
from seamline.models.dataset.cleaning import Outcome
from seamline.models.dataset.duplicates import NearIndex, Tick
from seamline.models.dataset.rows import Record, comparable, context_text
from seamline.models.dataset.settings import EvaluationFile
from seamline.models.dataset.sources import declared_file, read_columns

__all__ = ["find_leaks"]

Prepare = Callable[[str], str]


@dataclass(frozen=True)
class _Evaluated:
    """What of one evaluation file training rows are compared with."""

    name: str
    variables: Collection[str] | None
    ids: frozenset[str]
    texts: frozenset[str]
    index: NearIndex


def find_leaks(
    records: Sequence[Record],
    files: Sequence[EvaluationFile],
    data: Path,
    *,
    threshold: float,
    prepare: Prepare,
    tick: Tick,
) -> Outcome:
    """Drops the rows that an evaluation file holds, whatever their answer.

    Args:
        records: The rows so far.
        files: The evaluation files.
        data: The folder they lie in.
        threshold: Least similarity that counts, as for near-duplicates.
        prepare: What the training texts went through, e.g. masking, so that like meets like.
        tick: Gets (rows done, all, what).

    Raises:
        ConfigError: A file cannot be read, or holds no text.
    """
    evaluated = [_read(one, data, threshold, prepare, tick) for one in files]
    kept: list[Record] = []
    dropped: list[tuple[Record, str]] = []
    for at, record in enumerate(records):
        tick(at, len(records), "leakage")
        for one in evaluated:
            how = _leak(record, one)
            if how:
                dropped.append((record, f"{how} in {one.name}"))
                break
        else:
            kept.append(record)
    return Outcome(kept, dropped)


def _leak(record: Record, file: _Evaluated) -> str:
    if record.own_id is not None and record.own_id in file.ids:
        return "same id"
    text = comparable(context_text(record.row, file.variables))
    if not text:
        return ""
    if text in file.texts:
        return "same text"
    return "near-duplicate" if file.index.near(text) else ""


def _read(
    file: EvaluationFile, data: Path, threshold: float, prepare: Prepare, tick: Tick
) -> _Evaluated:
    fields = file.fields
    ids, texts = set(), dict[str, None]()
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
        text = comparable(prepare(context_text({"context": context})))
        if text:
            texts[text] = None
    if not texts:
        raise ConfigError(f"evaluation file {file.file!r} holds no text; nothing was compared")
    index = NearIndex(threshold)
    for at, text in enumerate(texts):
        tick(at, len(texts), f"reading {file.file}")
        index.add(at, text)
    return _Evaluated(
        file.file,
        None if fields is None else fields.context,
        frozenset(ids),
        frozenset(texts),
        index,
    )
