"""Training rows of `clause_type`, built from CUAD as the tool will see contracts.

Rows are `{"context": {"text": ...}, "labels": [...], "group": company, "split": ...}`.
Three sources: annotated spans, pieces of whole contracts that overlap an annotated span,
and pieces that overlap none. The pieces come from the `split_clauses` tool and the text
from the `clause_type` tool, so that training reads what inference will read.

Run it to write a file and see what is in it:
`python data.py DATA OUT.jsonl [--dev] [--seed 7] [--scale 1.0]`
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["FIELDS", "NONE", "build", "dev"]

NONE = "None"
FIELDS = frozenset({"Parties", "Document Name", "Agreement Date", "Effective Date"})
"""CUAD categories that are fields of a contract, not clauses."""

ROWS = 11_000
SHARES = {"span": 0.60, "piece": 0.22, "none": 0.18}
CAP = 450
FLOOR = 60
VALID_SHARE = 0.12
SAME_SPAN = 0.6
OVERLAP = 0.5
PIECE_WORDS = (110, 60)
"""The tool's own setting, and a finer cut for variety."""
HARD = re.compile(
    r"\b(?:shall|terminat\w*|liab\w*|licen[sc]\w*|assign\w*|exclusiv\w*|expir\w*|renew\w*"
    r"|insur\w*|indemnif\w*|compet\w*|audit\w*|warrant\w*|days|notice|govern\w*)\b",
    re.IGNORECASE,
)

Row = dict[str, Any]


def _tool(name: str) -> ModuleType:
    path = Path(__file__).resolve().parents[4] / "tools" / name / "tool.py"
    key = f"_seamline_data_{name}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"cannot load {path}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[key] = module
        spec.loader.exec_module(module)
    return sys.modules[key]


def build(data: Path, *, seed: int = 7, scale: float = 1.0) -> Iterator[Row]:
    """Training rows from `data/contracts/cuad_*_train.jsonl`; the same seed, the same rows.

    Raises:
        FileNotFoundError: a file of the data set is missing.
    """
    rng = random.Random(seed)
    folder = data / "contracts"
    spans = _spans(folder / "cuad_spans_train.jsonl")
    contracts = {one["id"]: one["text"] for one in _read(folder / "cuad_contracts_train.jsonl")}
    gold, windows = _gold_rows(spans, contracts)
    pieces, none = _piece_rows(spans, contracts)
    total = round(ROWS * scale)
    chosen = _balanced(gold, windows, round(total * SHARES["span"]), rng)
    chosen += _take(pieces, round(total * SHARES["piece"]), rng)
    chosen += _take(_hard_first(none, rng), round(total * SHARES["none"]), rng, shuffle=False)
    rng.shuffle(chosen)
    valid = _valid_groups({row["group"] for row in chosen}, seed)
    for row in chosen:
        yield {**row, "split": "valid" if row["group"] in valid else "train"}


def dev(data: Path) -> Iterator[Row]:
    """The merged gold spans of the dev file, for evaluation only."""
    for spans in _spans(data / "contracts" / "cuad_spans_dev.jsonl").values():
        for span in spans:
            yield {**_row(span["text"], span["labels"], span["group"]), "split": "dev"}


def _read(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def company(contract_id: str) -> str:
    """The company part of a CUAD contract id, the group of a split."""
    head = re.split(r"_|\s-\s|(?<=[a-z])-(?=[A-Z])", contract_id, maxsplit=1)[0]
    return re.sub(r"[^a-z0-9]", "", head.lower())[:14]


def _spans(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Per contract, spans with all their labels; strongly overlapping spans are one."""
    by_contract: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in _read(path):
        if row["category"] not in FIELDS and row["text"].strip():
            by_contract[row["contract_id"]].append(row)
    merged: dict[str, list[dict[str, Any]]] = {}
    for contract, rows in by_contract.items():
        rows.sort(key=lambda row: (row["start"], row["end"], row["category"]))
        groups: list[dict[str, Any]] = []
        for row in rows:
            for old in reversed(groups[-6:]):
                if _same(old, row):
                    old["labels"].add(row["category"])
                    break
            else:
                groups.append(
                    {
                        "start": row["start"],
                        "end": row["end"],
                        "text": row["text"],
                        "labels": {row["category"]},
                        "group": company(contract),
                    }
                )
        merged[contract] = groups
    return merged


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    shared = min(a["end"], b["end"]) - max(a["start"], b["start"])
    union = max(a["end"], b["end"]) - min(a["start"], b["start"])
    return bool(shared > 0 and shared >= SAME_SPAN * union)


def _row(text: str, labels: Iterable[str], group: str) -> Row:
    return {
        "context": {"text": _tool("clause_type").model_text(text)},
        "labels": sorted(labels),
        "group": group,
    }


def _gold_rows(
    spans: dict[str, list[dict[str, Any]]], contracts: dict[str, str]
) -> tuple[list[Row], dict[int, list[Row]]]:
    """One row a span, and per span other windows of the text around it."""
    rows: list[Row] = []
    windows: dict[int, list[Row]] = {}
    for contract, groups in spans.items():
        for span in groups:
            row = _row(span["text"], span["labels"], span["group"])
            if len(row["context"]["text"]) < 12:
                continue
            extra = []
            for text in _windows(span, contracts.get(contract, "")):
                other = _row(text, span["labels"], span["group"])
                if other != row:
                    extra.append(other)
            windows[len(rows)] = extra
            rows.append(row)
    return rows, windows


def _windows(span: dict[str, Any], contract: str) -> Iterator[str]:
    """The same clause as a splitter with other habits would cut it."""
    words = span["text"].split()
    if contract:
        start, end = span["start"], span["end"]
        left = contract[max(0, start - 120) : start].split(" ")
        right = contract[end : end + 160].split(" ")
        left = left[1:]
        yield " ".join(left[-9:]) + span["text"]
        yield span["text"] + " ".join(right[:12])
        yield " ".join(left[-6:]) + span["text"] + " ".join(right[:10])
    if len(words) > 30:
        yield " ".join(words[: max(25, len(words) * 3 // 4)])
        yield " ".join(words[len(words) // 8 :])
    digest = hashlib.sha256(span["text"].encode()).digest()
    yield f"{digest[0] % 20 + 1}.{digest[1] % 9 + 1} {span['text']}"
    yield f"({'abcdefgh'[digest[2] % 8]}) {span['text']}"


def _piece_rows(
    spans: dict[str, list[dict[str, Any]]], contracts: dict[str, str]
) -> tuple[list[Row], list[Row]]:
    """The pieces of annotated contracts: those that carry a type, and those that carry none."""
    typed: list[Row] = []
    none: list[Row] = []
    for contract in sorted(contracts):
        if contract not in spans:
            continue
        text = contracts[contract]
        groups = spans[contract]
        cuts = [
            piece
            for max_words in PIECE_WORDS
            for piece in _tool("split_clauses").split(text, max_words=max_words).clauses
        ]
        for start, end in dict.fromkeys((piece.start, piece.end) for piece in cuts):
            labels: set[str] = set()
            touched = False
            for span in groups:
                shared = min(end, span["end"]) - max(start, span["start"])
                if shared <= 0:
                    continue
                touched = True
                least = min(end - start, span["end"] - span["start"])
                if shared >= OVERLAP * least:
                    labels |= span["labels"]
            row = _row(text[start:end], labels or {NONE}, company(contract))
            if labels:
                typed.append(row)
            elif not touched and len(row["context"]["text"].split()) >= 4:
                none.append(row)
    return typed, none


def _balanced(
    rows: Sequence[Row], windows: dict[int, list[Row]], count: int, rng: random.Random
) -> list[Row]:
    """Rows of all labels: frequent ones capped, rare ones repeated in other windows."""
    seen: Counter[str] = Counter()
    order = list(range(len(rows)))
    rng.shuffle(order)
    chosen: list[Row] = []
    for index in order:
        if min(seen[label] for label in rows[index]["labels"]) < CAP:
            chosen.append(rows[index])
            seen.update(rows[index]["labels"])
    pools = {index: rng.sample(windows[index], len(windows[index])) for index in order}
    for target in (2 * FLOOR, 200, 300, CAP):
        grown = True
        while grown and len(chosen) < count:
            grown = False
            for index in order:
                rare = min(seen[label] for label in rows[index]["labels"])
                if len(chosen) < count and rare < target and pools[index]:
                    chosen.append(pools[index].pop())
                    seen.update(rows[index]["labels"])
                    grown = True
    rng.shuffle(chosen)
    return chosen[:count]


def _hard_first(rows: Sequence[Row], rng: random.Random) -> list[Row]:
    """Pieces without a type, four in five of them with the words that typed clauses use."""
    hard = [row for row in rows if len(HARD.findall(row["context"]["text"])) >= 2]
    easy = [row for row in rows if len(HARD.findall(row["context"]["text"])) < 2]
    rng.shuffle(hard)
    rng.shuffle(easy)
    mixed: list[Row] = []
    while hard or easy:
        mixed += hard[:4] + easy[:1]
        hard, easy = hard[4:], easy[1:]
    return mixed


def _take(
    rows: Sequence[Row], count: int, rng: random.Random, *, shuffle: bool = True
) -> list[Row]:
    picked = rng.sample(rows, len(rows)) if shuffle else list(rows)
    return picked[:count]


def _valid_groups(groups: Iterable[str], seed: int) -> frozenset[str]:
    """A tenth of the companies, by hash, so that adding data moves none of them."""
    return frozenset(
        group
        for group in groups
        if int(hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()[:8], 16) % 1000
        < VALID_SHARE * 1000
    )


def _report(rows: Sequence[Row]) -> None:
    labels = Counter(label for row in rows for label in row["labels"])
    words = [len(row["context"]["text"].split()) for row in rows]
    print(f"{len(rows)} rows, {sum(words) / len(words):.1f} words on average, max {max(words)}")
    print("splits", dict(Counter(row["split"] for row in rows)))
    print("labels a row", dict(Counter(len(row["labels"]) for row in rows)))
    print("distinct texts", len({row["context"]["text"] for row in rows}))
    for label, number in labels.most_common():
        print(f"{number:6d} {label}")
    for row in rows[:12]:
        print(row["labels"], "|", row["context"]["text"][:160])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dev", action="store_true")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    made = list(
        dev(given.data) if given.dev else build(given.data, seed=given.seed, scale=given.scale)
    )
    with given.out.open("w", encoding="utf-8") as target:
        target.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
    _report(made)
