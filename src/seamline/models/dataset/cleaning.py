"""Steps on single rows: what cannot be trained on, how texts are written, personal data."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from seamline.errors import ConfigError
from seamline.models.contracts import SkillContract
from seamline.models.dataset.rows import PAIR, Record, Row, comparable, context_text, prompt_text
from seamline.models.dataset.settings import DataSettings

__all__ = [
    "Outcome",
    "PiiFilter",
    "check_schema",
    "filter_pii",
    "normalise",
    "normalised",
]

_NO_ANSWER = "no label, choice or text"
_KEPT_CONTROLS = frozenset("\n\t\r")


@dataclass(frozen=True)
class Outcome:
    """What a step leaves, what it dropped and why, and what else it found."""

    kept: list[Record]
    dropped: Sequence[tuple[Record, str]] = ()
    changed: int = 0
    noticed: Mapping[str, int] | None = None


@dataclass(frozen=True)
class PiiFilter:
    """How personal data is found; its patterns are those of the guard checks.

    Attributes:
        find: The kinds in a text, with how often each stands in it.
        mask: The text with every find replaced by its kind.
    """

    find: Callable[[str], Mapping[str, int]]
    mask: Callable[[str], str]


def check_schema(
    records: Sequence[Record], contract: SkillContract, settings: DataSettings
) -> Outcome:
    """Drops rows without text or answer, and those of unknown labels where the recipe says so.

    Raises:
        ConfigError: A row lacks a variable of the contract or a kind of answer that it reads,
            or a label is outside the set and the recipe does not drop such rows.
    """
    shape = _Shape(contract)
    known = set(contract.labels)
    unknown: Counter[str] = Counter()
    first: dict[str, str] = {}
    kept, dropped = [], []
    for record in records:
        shape.check(record)
        strange = set(record.row.get("labels", ())) - known
        unknown.update(strange)
        for label in strange:
            first.setdefault(label, record.name)
        reason = "unknown label" if strange else _unusable(record)
        if reason:
            dropped.append((record, reason))
        else:
            kept.append(record)
    if unknown and settings.unknown_labels == "error":
        told = ", ".join(
            f"{label[:60]!r} ({number} rows, first {first[label]})"
            for label, number in unknown.most_common(5)
        )
        raise ConfigError(
            f"{len(unknown)} labels are not in the skill's label set: {told}; expected one of: "
            f"{', '.join(contract.labels)}. Correct them, map them with the source's `labels`, "
            "or set data.unknown_labels: drop"
        )
    return Outcome(kept, dropped)


def normalised(text: str) -> str:
    """Unicode NFC, without control characters and without blanks at the ends."""
    plain = unicodedata.normalize("NFC", text)
    return "".join(
        c for c in plain if c in _KEPT_CONTROLS or unicodedata.category(c) != "Cc"
    ).strip()


def normalise(records: Sequence[Record]) -> Outcome:
    """Writes every text of a row in its normal form; drops no row."""
    kept = [_rewritten(record, normalised) for record in records]
    changed = sum(new is not old for new, old in zip(kept, records, strict=True))
    return Outcome(kept, changed=changed)


def filter_pii(records: Sequence[Record], pii: PiiFilter, action: str) -> Outcome:
    """Masks personal data, drops the rows that hold some, or only counts them.

    `noticed` counts finds by kind. Ids and groups are not searched: they are not trained on.
    """
    kept: list[Record] = []
    dropped: list[tuple[Record, str]] = []
    found: Counter[str] = Counter()
    changed = 0
    for record in records:
        kinds = pii.find(prompt_text(record.row))
        found.update(kinds)
        if kinds and action == "drop":
            dropped.append((record, "personal data"))
            continue
        new = _rewritten(record, pii.mask) if kinds and action == "mask" else record
        changed += new is not record
        kept.append(new)
    return Outcome(kept, dropped, changed, {f"found {kind}": n for kind, n in found.items()})


class _Shape:
    """What a contract needs of a row."""

    def __init__(self, contract: SkillContract) -> None:
        self._contract = contract
        self._context, self._choice = contract.variables, contract.choice_variables

    def check(self, record: Record) -> None:
        """Raises ConfigError where the contract cannot make a prompt of the row."""
        wrong = self._wrong(record.row)
        if wrong:
            raise ConfigError(f"row {record.name} {wrong}")

    def _wrong(self, row: Row) -> str:
        contract = self._contract
        wanted = "chosen" if contract.read == "text" else contract.read
        if wanted not in row:
            return f"has no {wanted!r}, but the contract reads {contract.read}"
        if "kind" in row and wanted == "branches":
            # It brings its whole prompt, rendered.
            if row["kind"] not in contract.frames:
                return (
                    f"asks {row['kind']!r}; the contract has frames: {', '.join(contract.frames)}"
                )
            whole = "instructions" in row and isinstance(row["context"], str)
            if not whole or not all("text" in branch for branch in row["branches"]):
                return "has a kind, so it needs instructions, a context text and texts of branches"
            return ""
        if not isinstance(row["context"], Mapping):
            return f"has a text as context; expected an object of: {', '.join(self._context)}"
        told = self._lacking("context", contract.context, self._context, row["context"])
        for branch in row.get("branches", ()):
            told = told or self._lacking("choice", contract.choice, self._choice, branch)
        return told

    @staticmethod
    def _lacking(part: str, template: str, needed: frozenset[str], given: Row) -> str:
        missing = sorted(needed - set(given))
        if not missing:
            return ""
        return (
            f"lacks {missing[0]!r}, a variable of the contract's {part} {template!r}; "
            f"it has: {', '.join(given) or 'none'}"
        )


def _unusable(record: Record) -> str:
    text = context_text(record.row)
    if not text.strip():
        return "no text"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "half of a surrogate pair"
    if "chosen" in record.row:
        return _undecided(record.row)
    if not record.row.get("labels", record.row.get("branches")):
        return _NO_ANSWER
    return ""


def _undecided(row: Row) -> str:
    chosen, rejected = (comparable(row[key]) for key in PAIR)
    if not chosen or not rejected:
        return _NO_ANSWER
    return "prefers a text to itself" if chosen == rejected else ""


def _rewritten(record: Record, change: Callable[[str], str]) -> Record:
    """The record with each text that is read by the base changed; itself where none is."""
    row: dict[str, Any] = dict(record.row)
    for key in ("context", "instructions", *PAIR):
        if isinstance(row.get(key), str):
            row[key] = change(row[key])
        elif isinstance(row.get(key), Mapping):
            row[key] = _changed(row[key], change)
    if "branches" in row:
        row["branches"] = [_changed(branch, change) for branch in row["branches"]]
    return record if row == record.row else replace(record, row=row)


def _changed(values: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    return {k: change(v) if isinstance(v, str) else v for k, v in values.items()}
