"""Training rows of `icd10_select`: a mention in its sentence, candidate titles, right or not.

Sources, all from files meant for training: terms of disease terminologies with their codes,
ICD-10-CM's own inclusion terms, clinical cases coded as whole documents, and abbreviations.
Candidates come from the same search the agent runs, so that the negatives are the ones the
skill will meet. `python data.py DATA_FOLDER OUT.jsonl` writes the rows and prints statistics.
"""

from __future__ import annotations

import json
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from seamline.loading import load_module

_TOOL = Path(__file__).resolve().parents[4] / "tools" / "icd10_search"
_index = load_module(_TOOL / "index.py")
_mentions = load_module(_TOOL / "mentions.py")
_terms = load_module(_TOOL / "terms.py")

__all__ = ["build"]

Row = dict[str, Any]

_BRANCHES = 6
# Shares of the rows at scale 1 (about 8,000).
_SYNONYMS, _INCLUSION, _DOCUMENTS, _NEGATED, _ABBREVIATED = 3400, 1200, 2600, 640, 260
_LEFT_OUT = 0.2  # of the rows with a known code, those whose code is not among the candidates

_PLAIN = (
    "History of {x}.",
    "Assessment: {x}",
    "Impression: {x}.",
    "The patient presents with {x}.",
    "Diagnosed with {x} and started on treatment.",
    "1. {x}.",
    "Past medical history: {x}, {y}.",
    "Past medical history significant for {y} and {x}.",
    "ASSESSMENT AND PLAN: {x}, stable on current therapy.",
    "She was admitted for management of {x}.",
    "Findings are consistent with {x}.",
    "He has a background of {x}, followed by his primary care physician.",
    "Known {x}. Denies {y}.",
    "Follow-up visit for {x}.",
    "Laboratory work and imaging confirmed {x}.",
    "Discharge diagnoses: {y}; {x}.",
)
_DENIED = (
    "Denies {x}.",
    "The patient denies {x} or {y}.",
    "No {x}.",
    "No evidence of {x}.",
    "Negative for {x}, {y}.",
    "There is no history of {x}.",
    "{x} was ruled out.",
    "Work-up was negative for {x}.",
    "Without {x}.",
    "Family history: {x} in the mother.",
    "His father had {x}.",
    "Her sister was diagnosed with {x}.",
    "Family history of {x} and {y}.",
    "Mother with {x}.",
)


def build(data: Path, *, seed: int = 0, scale: float = 1.0) -> Iterator[Row]:
    """Rows `{"context": {"text", "mention"}, "branches": [{"title", "label"}]}`, shuffled.

    Args:
        data: folder of outside data, with `icd10/synonyms.jsonl` and `icd10/codiesp_train.jsonl`.
        seed: the same seed and data give the same rows.
        scale: 1.0 gives about 8,000 rows.
    """
    with tempfile.TemporaryDirectory() as cache:
        index = _index.Icd10Index.open(Path(cache))
    pairs = _synonyms(data / "icd10" / "synonyms.jsonl", index, seed)
    fillers = [term for term, _ in pairs if 5 < len(term) < 40]
    rows: list[Row] = []
    rows += _coded(pairs, index, fillers, _n(_SYNONYMS, scale), f"{seed}:synonyms")
    own = _inclusion_terms(index, seed)
    rows += _coded(own, index, fillers, _n(_INCLUSION, scale), f"{seed}:inclusion")
    short = _abbreviated(index)
    rows += _coded(short * 2, index, fillers, _n(_ABBREVIATED, scale), f"{seed}:short")
    rows += _denied(pairs, index, fillers, _n(_NEGATED, scale), f"{seed}:denied")
    rows += _documents(
        data / "icd10" / "codiesp_train.jsonl", index, _n(_DOCUMENTS, scale), f"{seed}:documents"
    )
    random.Random(f"{seed}:order").shuffle(rows)
    kin = _Kin(data / "icd10" / "synonyms.jsonl", index)
    yield from (kin.removed(row) for row in rows)


def _n(rows: int, scale: float) -> int:
    return max(1, round(rows * scale))


def _read(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def _synonyms(path: Path, index: Any, seed: int) -> list[tuple[str, str]]:
    """Terms with the code to propose for each; at most four a code, few bare symbols."""
    rng = random.Random(f"{seed}:pick")
    rows = [(row["term"].strip(), index.default(row["code"])) for row in _read(path)]
    rng.shuffle(rows)
    held: Counter[str] = Counter()
    symbols = 0
    out: list[tuple[str, str]] = []
    for term, code in dict.fromkeys(rows):
        if code is None or held[code] >= 4 or not 3 <= len(term) <= 90:
            continue
        if re.fullmatch(r"[A-Z0-9 .-]{2,9}", term):
            symbols += 1
            if symbols > 150:
                continue
        held[code] += 1
        out.append((_as_written(term, rng), code))
    return out


def _as_written(term: str, rng: random.Random) -> str:
    """A term as a clinician would set it: mostly lower case, acronyms kept."""
    term = _bare(term)
    if rng.random() < 0.7:
        return " ".join(w if w.isupper() and len(w) < 6 else w.lower() for w in term.split())
    return term


def _inclusion_terms(index: Any, seed: int) -> list[tuple[str, str]]:
    """ICD-10-CM's own inclusion terms; the branch shows the title, which reads differently."""
    import simple_icd_10_cm as icd

    rng = random.Random(f"{seed}:own")
    out = []
    for code in index.codes:
        if code[0] in "VWXY":
            continue
        for term in icd.get_inclusion_term(code):
            bare = re.sub(r"\s*\([^)]*\)|,? NOS$|,? NEC$", "", term).strip()
            if "classifiable" in bare or "codable" in bare:
                continue
            if 4 < len(bare) < 80 and bare.lower() != index.title(code).lower():
                out.append((_as_written(bare, rng), index.default(code) or code))
    rng.shuffle(out)
    return out


def _abbreviated(index: Any) -> list[tuple[str, str]]:
    """Abbreviations and lay phrases whose expansion is as good as a title."""
    out = []
    for short in sorted(_terms.ABBREVIATIONS) + sorted(_terms.PHRASES):
        mention = short.upper() if short in _terms.ABBREVIATIONS else short
        best = index.candidates(mention, 1)
        if best and best[0].score >= 0.93:
            out.append((mention, best[0].code))
    return out


def _coded(
    pairs: Sequence[tuple[str, str]], index: Any, fillers: Sequence[str], count: int, seed: str
) -> Iterable[Row]:
    """One row a pair: the pair's code against what the search finds for the term."""
    rng = random.Random(seed)
    chosen = list(pairs[:count])
    found = index.candidates_of([_index.normalise(term) for term, _ in chosen], 8)
    for (term, gold), hits in zip(chosen, found, strict=True):
        codes = [hit.code for hit in hits]
        leave_out = rng.random() < _LEFT_OUT
        if not leave_out and gold not in codes and rng.random() < 0.75:
            codes.insert(0, gold)
        branches = []
        for code in codes:
            if code == gold and not leave_out:
                branches.append((code, 1))
            elif not _too_close(code, gold, strict=leave_out):
                branches.append((code, 0))
        row = _row(_in_context(term, _PLAIN, fillers, rng), term, branches, index, rng)
        if row is not None:
            yield row


def _too_close(code: str, gold: str, *, strict: bool) -> bool:
    """Candidates of which nobody could say that they are wrong: kin of the right code."""
    if code == gold or code.startswith(gold) or gold.startswith(code):
        return True
    return strict and code[:3] == gold[:3]


class _Kin:
    """Candidates beneath a term's own code: a term coded by its category rules none out."""

    def __init__(self, path: Path, index: Any) -> None:
        self._categories: dict[str, set[str]] = {}
        parents = {code[:n].rstrip(".") for code in index.codes for n in range(3, len(code))}
        for row in _read(path):
            if row["code"] in parents and row["code"] in index.position:
                self._categories.setdefault(_bare(row["term"]).lower(), set()).add(row["code"])
        self._codes: dict[str, list[str]] = {}
        for code, title in zip(index.codes, index.titles, strict=True):
            self._codes.setdefault(title, []).append(code)

    def removed(self, row: Row) -> Row:
        """The row without wrong branches that its term's category holds."""
        above = tuple(self._categories.get(row["context"]["mention"].lower(), ()))
        if not above or not any(branch["label"] for branch in row["branches"]):
            return row
        kept = [
            branch
            for branch in row["branches"]
            if branch["label"]
            or not any(code.startswith(above) for code in self._codes[branch["title"]])
        ]
        return {**row, "branches": kept}


def _bare(term: str) -> str:
    return re.sub(r"\s*\[[^\]]*\]|\s*\((?:disorder|finding|NOS)\)", "", term.strip())


def _denied(
    pairs: Sequence[tuple[str, str]], index: Any, fillers: Sequence[str], count: int, seed: str
) -> Iterable[Row]:
    """Mentions that the sentence denies or gives to a relative: no candidate is right."""
    rng = random.Random(seed)
    symptoms = [
        "chest pain", "shortness of breath", "fever", "chills", "nausea", "vomiting", "headache",
        "abdominal pain", "dizziness", "cough", "diarrhea", "rash", "weight loss", "edema",
        "palpitations", "syncope", "hematuria", "dysuria", "depression", "anxiety",
        "hypertension", "diabetes", "breast cancer", "colon cancer", "stroke", "heart attack",
        "asthma", "COPD", "pneumonia", "seizures",
    ]  # fmt: skip
    terms = [rng.choice(symptoms) if rng.random() < 0.5 else t for t, _ in pairs[-count:]]
    found = index.candidates_of([_index.normalise(term) for term in terms], 8)
    for term, hits in zip(terms, found, strict=True):
        text = _fill(rng.choice(_DENIED), term, fillers, rng)
        row = _row(text, term, [(hit.code, 0) for hit in hits], index, rng)
        if row is not None:
            yield row


def _documents(path: Path, index: Any, count: int, seed: str) -> Iterable[Row]:
    """Mentions of whole cases: right if the case was given that very code."""
    rng = random.Random(seed)
    right: list[Row] = []
    wrong: list[Row] = []
    for document in _read(path):
        text = document["text"]
        gold = {index.default(code) or code for code in document["codes"]} | set(document["codes"])
        kin = {code[:3] for code in gold}
        mentions = _mentions.find_mentions(text, index, limit=14)
        found = index.candidates_of([m.words for m in mentions], 8)
        for mention, hits in zip(mentions, found, strict=True):
            denied = mention.assertion in ("negated", "family")
            branches = [
                (hit.code, int(hit.code in gold and not denied))
                for hit in hits
                if denied or hit.code in gold or hit.code[:3] not in kin
            ]
            sentence = _mentions.around(text, mention)
            row = _row(sentence, text[mention.start : mention.end], branches, index, rng)
            if row is not None:
                (right if any(b["label"] for b in row["branches"]) else wrong).append(row)
    rng.shuffle(right)
    rng.shuffle(wrong)
    positive = min(len(right), round(count * 0.45))
    yield from right[:positive]
    yield from wrong[: count - positive]


def _in_context(
    term: str, templates: Sequence[str], fillers: Sequence[str], rng: random.Random
) -> str:
    return term if rng.random() < 0.5 else _fill(rng.choice(templates), term, fillers, rng)


def _fill(template: str, term: str, fillers: Sequence[str], rng: random.Random) -> str:
    text = template.format(x=term, y=rng.choice(fillers))
    return text[:1].upper() + text[1:]


def _row(
    text: str,
    mention: str,
    coded: Sequence[tuple[str, int]],
    index: Any,
    rng: random.Random,
) -> Row | None:
    """A row of at most six branches: the right ones, then the hardest of the wrong."""
    kept = [pair for pair in coded if pair[1]][:2]
    kept += [pair for pair in coded if not pair[1]][: _BRANCHES - len(kept)]
    if not kept:
        return None
    rng.shuffle(kept)
    return {
        "context": {"text": text, "mention": mention},
        "branches": [{"title": index.title(code), "label": label} for code, label in kept],
    }


def _main(data: Path, out: Path) -> None:
    rows = list(build(data, seed=0, scale=1.0))
    with out.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    branches = [b for row in rows for b in row["branches"]]
    some = sum(any(b["label"] for b in row["branches"]) for row in rows)
    size = sum(
        len(r["context"]["text"]) + len(r["context"]["mention"]) + 20
        + sum(len(b["title"]) + 32 for b in r["branches"])
        for r in rows
    )  # fmt: skip
    print(f"rows {len(rows)}  with a right branch {some / len(rows):.3f}")
    print(f"branches {len(branches)}  right {sum(b['label'] for b in branches)}")
    print(f"characters/4 a row {size / len(rows) / 4:.0f}")
    for row in random.Random(1).sample(rows, 20):
        print(json.dumps(row, ensure_ascii=False))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
