"""Each shipped skill against the same base prompted without its adapter, on the dev files.

    python benchmarks/skills.py --data FOLDER [--limit N] [--json]

`--data` (or SEAMLINE_DATA) is a folder with `icd10/eicu_open.jsonl` and
`contracts/cuad_spans_dev.jsonl`; neither was trained on. Intervals are 95 % bootstrap
intervals of the paired difference, adapter minus base.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seamline.loading import load_module
from seamline.models.contracts import SkillContract
from seamline.models.engine import LocalModel
from seamline.models.protocol import Choice, DecideRequest
from seamline.project import Project, state_home

ROOT = Path(__file__).resolve().parents[1]
BASE_ICD10 = SkillContract(
    read="branches",
    system="You assign ICD-10-CM codes to clinical text. Answer Yes or No.",
    frames={"options": "Is {text} the right diagnosis for the mention?"},
)


def base_clause() -> SkillContract:
    """The clause question for the bare base: one yes/no question per type, by its real name."""
    return SkillContract(
        read="branches",
        system="You label contract clauses by type. Answer Yes or No.",
        frames={"options": "Is this a clause of the type {text}?"},
    )


def interval(differences: Sequence[int], *, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean."""
    rng = random.Random(seed)
    n = len(differences)
    means = sorted(sum(rng.choices(differences, k=n)) / n for _ in range(1000))
    return means[25], means[974]


def first(scores: Sequence[float]) -> int:
    """The index of the best score."""
    return max(range(len(scores)), key=lambda i: scores[i])


async def icd10(model: LocalModel, data: Path, limit: int | None) -> dict[str, Any]:
    """Exact code and category first, over pick-list entries of intensive care."""
    index = load_module(ROOT / "tools/icd10_search/index.py").Icd10Index.open(
        state_home() / "cache" / "icd10_search"
    )
    lines = (data / "icd10/eicu_open.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines][:limit]
    contract = Project.open(ROOT).skills.get("icd10_select").spec.contract
    asked, hits = [], []
    for row in rows:
        text = " ".join(row["text"].split("|")[-2:])
        found = index.candidates(text, 20)
        hits.append([hit.code for hit in found])
        asked.append(
            contract.request(
                {"text": text, "mention": text}, [{"title": hit.title} for hit in found]
            )
        )
    golds = [row["code"] for row in rows]
    picks = {
        "retrieval": [0] * len(rows),
        "base": [first(r.scores) for r in await model.decide_bare(asked, BASE_ICD10)],
        "adapter": [first(r.scores) for r in await model.decide(asked, skill="icd10_select")],
    }
    right = {
        way: [int(codes[i] == gold) for codes, i, gold in zip(hits, of, golds, strict=True)]
        for way, of in picks.items()
    }
    category = {
        way: sum(c[i][:3] == g[:3] for c, i, g in zip(hits, of, golds, strict=True)) / len(rows)
        for way, of in picks.items()
    }
    return {
        "file": "icd10/eicu_open.jsonl",
        "rows": len(rows),
        "measure": "exact code first",
        **{way: sum(of) / len(of) for way, of in right.items()},
        "category_first": category,
        "candidates_hold_gold_at_20": sum(g in c for g, c in zip(golds, hits, strict=True))
        / len(rows),
        "difference": paired(right),
    }


def paired(right: dict[str, list[int]]) -> list[float]:
    """Adapter minus base: low, mean, high."""
    differences = [a - b for a, b in zip(right["adapter"], right["base"], strict=True)]
    low, high = interval(differences)
    return [low, sum(differences) / len(differences), high]


async def clauses(model: LocalModel, data: Path, limit: int | None) -> dict[str, Any]:
    """First type in the gold set, over annotated spans of contracts not trained on."""
    contract = Project.open(ROOT).skills.get("clause_type").spec.contract
    reading = load_module(ROOT / "tools/clause_type/tool.py").model_text
    golds: dict[tuple[str, int, int], set[str]] = defaultdict(set)
    texts: dict[tuple[str, int, int], str] = {}
    lines = (data / "contracts/cuad_spans_dev.jsonl").read_text(encoding="utf-8").splitlines()
    for line in lines:
        row = json.loads(line)
        if row["category"] in contract.labels:
            key = (row["contract_id"], row["start"], row["end"])
            golds[key].add(row["category"])
            texts[key] = reading(row["text"])
    keys = sorted(golds)
    random.Random(0).shuffle(keys)
    keys = keys[:limit]
    asked = [contract.request({"text": texts[key]}) for key in keys]
    names = [name for name in contract.labels if name != contract.none_label]
    bare = [
        DecideRequest(
            ask="options",
            instructions="",
            context=request.context,
            choices=tuple(Choice(name=name, text=name) for name in names),
        )
        for request in asked
    ]
    labels = list(contract.labels)
    adapter = [labels[first(r.scores)] for r in await model.decide(asked, skill="clause_type")]
    base = [names[first(r.scores)] for r in await model.decide_bare(bare, base_clause())]
    right = {
        way: [int(name in golds[key]) for name, key in zip(of, keys, strict=True)]
        for way, of in (("base", base), ("adapter", adapter))
    }
    return {
        "file": "contracts/cuad_spans_dev.jsonl",
        "rows": len(keys),
        "measure": "first type in the gold set",
        **{way: sum(of) / len(of) for way, of in right.items()},
        "difference": paired(right),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("SEAMLINE_DATA"))
    parser.add_argument("--limit", type=int, help="rows per skill, for a quick look")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.data is None:
        parser.error("needs --data, or SEAMLINE_DATA: the folder of outside data")
    model = Project.open(ROOT).local_model

    async def both() -> dict[str, Any]:
        return {
            "icd10_select": await icd10(model, options.data, options.limit),
            "clause_type": await clauses(model, options.data, options.limit),
        }

    results = asyncio.run(both())
    if options.json:
        print(json.dumps(results, indent=2))
        return
    table = Table("skill", "measure", "rows", "retrieval", "base", "adapter", "adapter - base")
    for name, row in results.items():
        low, mean, high = row["difference"]
        retrieval = f"{row['retrieval']:.3f}" if "retrieval" in row else ""
        table.add_row(
            name, row["measure"], str(row["rows"]), retrieval, f"{row['base']:.3f}",
            f"{row['adapter']:.3f}", f"{mean:+.3f} ({low:+.3f} to {high:+.3f})",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
