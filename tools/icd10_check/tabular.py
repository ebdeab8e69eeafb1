"""What the tabular list says of one code: billable or not, 7th characters, notes, conflicts."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["Excluded", "Tabular", "codes_in"]

_PACKAGE = "simple_icd_10_cm"
_CODE = r"\b[A-Z]\d[0-9A-Z](?:\.[0-9A-Z]{1,4})?(?![0-9A-Za-z])"
_RANGE = re.compile(rf"({_CODE})(?:\.?-?)\s*(?:-|to)\s*({_CODE})|({_CODE})")
_EXAMPLES = 4
_UNCOMPLICATED = re.compile(r"(?i)\bwithout complications?\b|\buncomplicated\b")


@dataclass(frozen=True)
class Excluded:
    """A code, or the first and last of a range, that an Excludes note names."""

    first: str
    last: str

    def holds(self, code: str) -> bool:
        """Whether `code` is named: itself, beneath a named code, or within the range."""
        bare = code.replace(".", "")
        first, last = self.first.replace(".", ""), self.last.replace(".", "")
        return first <= bare[: len(first)] and bare[: len(last)] <= last


def codes_in(note: str) -> list[Excluded]:
    """The codes and ranges that a note names, e.g. in `neonatal disorders (P70.0-P70.2)`."""
    return [
        Excluded(single or first, single or last) for first, last, single in _RANGE.findall(note)
    ]


@lru_cache(maxsize=1)
def _tables() -> Any:
    import simple_icd_10_cm as icd

    return icd


class Tabular:
    """The installed release of ICD-10-CM."""

    def __init__(self) -> None:
        self._icd = _tables()
        self.release = _release()

    def find(self, code: str) -> str | None:
        """The code as the release writes it, or None where it has no such code."""
        name = code.strip().upper()
        if self._icd.is_valid_item(name) and self._icd.is_category_or_subcategory(name):
            return str(self._icd.add_dot(self._icd.remove_dot(name)))
        return None

    def description(self, code: str) -> str:
        """The official description."""
        return str(self._icd.get_description(code))

    def billable(self, code: str) -> bool:
        """Whether the code is complete: a leaf, 7th character included."""
        return bool(self._icd.is_leaf(code))

    def incomplete(self, code: str) -> str | None:
        """Why a code is not billable, and what would complete it; None for a billable one."""
        if self.billable(code):
            return None
        below = self._icd.get_children(code)
        if all(self._icd.is_extended_subcategory(child) for child in below):
            said = self._icd.get_seven_chr_def(code, search_in_ancestors=True)
            ways = [f"{child} ({said[child[-1]].split('/')[0]})" for child in below]
            return f"needs a 7th character: {_some(ways)}"
        ways = [f"{child} ({self.description(child)})" for child in below]
        return f"not billable, needs more characters: {_some(ways)}"

    def excludes1(self, code: str, other: str) -> str | None:
        """The Excludes1 note of `code` or what is above it that names `other`, if any."""
        own = {*self._icd.get_ancestors(other), other}
        for holder in (code, *self._icd.get_ancestors(code)):
            if holder in own:  # a note above both codes speaks of neither against the other
                break
            for note in self._icd.get_excludes1(holder):
                if any(e.holds(other) and not e.holds(code) for e in codes_in(note)):
                    return f"Excludes1 at {holder}: {note}"
        return None

    def uncomplicated(self, code: str, other: str) -> str | None:
        """Why `code` denies `other`: it says that its condition has no complications.

        `other` is then a code of the same condition, and says something else of it.
        """
        says = [bool(_UNCOMPLICATED.search(self.description(one))) for one in (code, other)]
        if says == [True, False] and self._icd.get_parent(code) in self._icd.get_ancestors(other):
            return f"{code} is for a case without complications"
        return None

    def notes(self, code: str) -> list[str]:
        """Code first, Use additional and Code also notes that hold for a code."""
        asked = (
            ("Code first", self._icd.get_code_first),
            ("Use additional", self._icd.get_use_additional_code),
            ("Code also", self._icd.get_code_also),
        )
        out = []
        for name, ask in asked:
            text = ask(code, search_in_ancestors=True)
            if text:
                out.append(f"{name}: {'; '.join(text.splitlines())}")
        return out


def _some(ways: Sequence[str]) -> str:
    more = len(ways) - _EXAMPLES
    return ", ".join(ways[:_EXAMPLES]) + (f" or {more} more" if more > 0 else "")


def _release() -> str:
    spec = importlib.util.find_spec(_PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        for path in sorted((Path(folder) / "data").glob("code-list-*.txt")):
            return path.stem.removeprefix("code-list-").replace("-", " ")
    return f"{_PACKAGE} {importlib.metadata.version(_PACKAGE)}"
