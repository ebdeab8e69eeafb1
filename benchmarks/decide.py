"""How well `decide` follows policies: the committed suite, and public tool-choice rows.

    python benchmarks/decide.py [--skill decide@production] [--data FOLDER] [--json]

The suite lies in tests/decisions. `--data` (or SEAMLINE_DATA) is a folder with
`tooluse/bfcl_*.jsonl`; without it that part is skipped. Nothing measured here was trained on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from seamline.agents.facts import fact_lines
from seamline.models.bases import load_bases
from seamline.models.engine import LocalModel
from seamline.models.protocol import Choice, DecideRequest
from seamline.models.skills import SkillStore
from seamline.policies import render
from seamline.project import Project

ROOT = Path(__file__).resolve().parents[1]
THRESHOLD = 0.5
Case = tuple[DecideRequest, list[str], str]
"""A request, the choice that each of its rules or options means (then `otherwise`), the gold."""


def rules_case(case: Mapping[str, Any], rules: list[dict[str, str]], expect: str) -> Case:
    """One decision by ordered rules."""
    request = DecideRequest(
        ask="rules",
        instructions=case["instructions"].strip(),
        context=case["context"].strip(),
        choices=tuple(Choice(name=str(i), text=rule["when"]) for i, rule in enumerate(rules)),
    )
    return request, [*(rule["then"] for rule in rules), case["otherwise"]], expect


def options_case(
    instructions: str, context: str, options: list[dict[str, str]], expect: str
) -> Case:
    """One choice among described options, or none."""
    request = DecideRequest(
        ask="options",
        instructions=instructions.strip(),
        context=context.strip(),
        choices=tuple(Choice(name=o["name"], text=o["description"]) for o in options),
    )
    return request, [*(o["name"] for o in options), "none"], expect


def edited(rules: list[dict[str, str]], edit: Mapping[str, Any]) -> list[dict[str, str]]:
    """The rules after the one small edit of a pair."""
    after = [dict(rule) for rule in rules]
    rule = after.pop(edit["rule"])
    if edit.get("delete"):
        return after
    rule |= {key: edit[key] for key in ("when", "then") if key in edit}
    after.insert(edit.get("move_to", edit["rule"]), rule)
    return after


def agents_cases() -> Iterator[Case]:
    """The shipped agents' own policies, rendered as in a run."""
    project = Project.open(ROOT)
    for case in yaml.safe_load((ROOT / "tests/decisions/agents.yaml").read_text()):
        policy = project.policies.get(f"{case['policy']}@production")
        if "step" in case:
            prompt = render(policy, {"step": case["step"]})
            options = [
                {"name": name, "description": project.tools.spec(name).description}
                for name in policy.tools
            ]
            yield options_case(prompt.system, prompt.user, options, case["expect"])
            continue
        prompt = render(policy, {"facts": fact_lines(case["facts"])})
        rules = [{"when": rule.when, "then": rule.then} for rule in policy.rules]
        filled = {
            "instructions": prompt.system, "context": prompt.user, "otherwise": policy.otherwise
        }  # fmt: skip
        yield rules_case(filled, rules, case["expect"])


def suite(name: str) -> Iterator[Case]:
    """The cases of one file of tests/decisions; a pair gives two, before and after."""
    if name == "agents":
        yield from agents_cases()
        return
    for case in yaml.safe_load((ROOT / "tests/decisions" / f"{name}.yaml").read_text()):
        if "options" in case:
            yield options_case(
                case["instructions"], case["context"], case["options"], case["expect"]
            )
            continue
        yield rules_case(case, case["rules"], case["expect"])
        if "edit" in case:
            yield rules_case(case, edited(case["rules"], case["edit"]), case["expect_after"])


def bfcl(file: Path) -> Iterator[Case]:
    """Tool choice from the Berkeley Function Calling Leaderboard."""
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        turns = [turn for turn in row["question"][0] if turn["role"] == "user"]
        gold = row["ground_truth"]
        yield options_case(
            "Choose the tool that can do what is requested. If no tool fits, choose none.",
            "Request: " + " ".join(turns[-1]["content"].split())[:1500],
            [
                {"name": f["name"], "description": re.sub(r"\s+", " ", f["description"])[:200]}
                for f in row["function"]
            ],
            next(iter(gold[0])) if gold else "none",
        )


def choose(request: DecideRequest, scores: tuple[float, ...]) -> int:
    """The index of the choice: first rule met, or best option; the last index is neither."""
    if request.ask == "rules":
        met = [i for i, score in enumerate(scores) if score >= THRESHOLD]
        return met[0] if met else len(scores)
    best = max(range(len(scores)), key=lambda i: scores[i])
    return best if scores[best] >= THRESHOLD else len(scores)


async def measure(model: LocalModel, skill: str, cases: list[Case], wrong: list[str]) -> list[bool]:
    """Right or wrong, case by case."""
    right: list[bool] = []
    for at in range(0, len(cases), 16):
        part = cases[at : at + 16]
        responses = await model.decide([request for request, _, _ in part], skill=skill)
        for (request, meanings, expect), response in zip(part, responses, strict=True):
            got = meanings[choose(request, response.scores)]
            right.append(got == expect)
            if got != expect:
                scored = zip(request.choices, response.scores, strict=True)
                told = "; ".join(f"{s:.2f} {c.text[:60]}" for c, s in scored)
                wrong.append(f"{request.context[:200]!r}\n   -> {got}, not {expect}: {told}")
    return right


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skill", default="decide@production")
    parser.add_argument("--skills", type=Path, default=ROOT / "models/skills")
    parser.add_argument("--data", type=Path, default=os.environ.get("SEAMLINE_DATA"))
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--limit", type=int, help="cases per file, for a quick look")
    parser.add_argument("--wrong", action="store_true", help="print the decisions that are wrong")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    base = load_bases(ROOT / "models/bases")["smollm2-135m-instruct"]
    model = LocalModel(base, SkillStore(options.skills), dtype=options.dtype)
    files: dict[str, Iterator[Case]] = {n: suite(n) for n in ("agents", "general", "pairs")}
    if options.data:
        for name in ("bfcl_multiple", "bfcl_live_multiple", "bfcl_irrelevance"):
            files[name] = bfcl(options.data / "tooluse" / f"{name}.jsonl")
    results: dict[str, dict[str, float]] = {}
    for name, found in files.items():
        cases = list(found)[: options.limit]
        wrong: list[str] = []
        right = asyncio.run(measure(model, options.skill, cases, wrong))
        results[name] = {"cases": len(right), "right": sum(right) / len(right)}
        if name == "pairs":
            both = [a and b for a, b in zip(right[::2], right[1::2], strict=True)]
            results[name]["both_right"] = sum(both) / len(both)
        if options.wrong:
            print(f"== {name}", *wrong, sep="\n", file=sys.stderr)
    if options.json:
        print(json.dumps({"skill": options.skill, "results": results}, indent=2))
        return
    table = Table("file", "cases", "right", "both sides right", title=options.skill)
    for name, row in results.items():
        both_right = f"{row['both_right']:.3f}" if "both_right" in row else ""
        table.add_row(name, str(int(row["cases"])), f"{row['right']:.3f}", both_right)
    Console().print(table)


if __name__ == "__main__":
    main()
