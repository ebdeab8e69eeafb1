"""How `decide` is evaluated: the decision suite, and tool choice from public rows.

The suite lies in `suite/` beside this file; see its README. The public rows are those of the
Berkeley Function Calling Leaderboard. Nothing of either was trained on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from seamline.agents.facts import fact_lines
from seamline.models.contracts import SkillContract
from seamline.models.evaluation.declared import EvalRow, Evaluation, Prediction
from seamline.models.protocol import Choice, DecideRequest
from seamline.policies import render
from seamline.policies.decide import best_option, first_met
from seamline.policies.model import NONE
from seamline.project import Project

__all__ = ["bfcl_rows", "evaluation", "suite_rows"]

_THRESHOLD = 0.5
_HERE = Path(__file__).resolve().parent
_PROJECT = _HERE.parents[2]
_SUITE = ("agents", "general", "pairs")
_BFCL = ("bfcl_multiple", "bfcl_live_multiple", "bfcl_irrelevance")
_BARE = SkillContract(
    read="branches",
    frames={
        "rules": "Is it true that {text}?",
        "options": "Is the right choice {name}: {text}?",
    },
)
_CHOOSE = "Choose the tool that can do what is requested. If no tool fits, choose none."


def evaluation(contract: SkillContract) -> Mapping[str, Evaluation]:  # noqa: ARG001
    """The evaluation for a version with this contract, and the same beside the bare base.

    A policy holds its own examples, so there are no others to prompt with.
    """
    main = Evaluation(
        file="models/skills/decide/suite/*.yaml, tooluse/bfcl_*.jsonl",
        measure="right decision",
        several=False,
        bare=_BARE,
        rows=lambda data: [*suite_rows(), *bfcl_rows(data)],
        read=_decision,
        further=_both_sides,
        cells=("adapter",),
    )
    return {"main": main, "prompted": replace(main, cells=("base", "adapter"))}


def suite_rows() -> list[EvalRow]:
    """The committed cases; a pair gives two rows of one group, before and after its edit."""
    found = [*_agents_rows()]
    for name in ("general", "pairs"):
        for case in _read(name):
            place = f"{name}/{case['id']}"
            if "options" in case:
                asked = _options(case["instructions"], case["context"], case["options"])
                found.append(_row(place, name, asked, case["expect"]))
                continue
            group = place if "edit" in case else ""
            found.append(_rules_row(place, name, case, case["rules"], case["expect"], group))
            if "edit" in case:
                after = _edited(case["rules"], case["edit"])
                expect = case["expect_after"]
                found.append(_rules_row(f"{place}/after", name, case, after, expect, group))
    return found


def bfcl_rows(data: Path) -> list[EvalRow]:
    """Tool choice from the files of the leaderboard in a data folder."""
    found = []
    for name in _BFCL:
        text = (data / "tooluse" / f"{name}.jsonl").read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            row = json.loads(line)
            turns = [turn for turn in row["question"][0] if turn["role"] == "user"]
            gold = row["ground_truth"]
            options = [
                {"name": f["name"], "description": re.sub(r"\s+", " ", f["description"])[:200]}
                for f in row["function"]
            ]
            request = "Request: " + " ".join(turns[-1]["content"].split())[:1500]
            expect = next(iter(gold[0])) if gold else NONE
            asked = _options(_CHOOSE, request, options)
            found.append(_row(f"{name}/{number}", name, asked, expect))
    return found


def _agents_rows() -> Iterator[EvalRow]:
    """The shipped agents' own policies, rendered as in a run.

    A project that holds only some of the agents is measured on the cases of those.
    """
    project = Project.open(_PROJECT)
    held = set(project.agents())
    for number, case in enumerate(_read("agents"), 1):
        if case["policy"].partition("/")[0] not in held:
            continue
        place = f"agents/{number}"
        policy = project.policies.get(f"{case['policy']}@production")
        if "step" in case:
            prompt = render(policy, {"step": case["step"]})
            options = [
                {"name": name, "description": project.tools.spec(name).description}
                for name in policy.tools
            ]
            asked = _options(prompt.system, prompt.user, options)
            yield _row(place, "agents", asked, case["expect"])
            continue
        told_of = {key: fact_lines(case[key]) for key in ("facts", "checks") if key in case}
        prompt = render(policy, told_of)
        rules = [{"when": rule.when, "then": rule.then} for rule in policy.rules]
        told = {
            "instructions": prompt.system, "context": prompt.user, "otherwise": policy.otherwise
        }  # fmt: skip
        yield _rules_row(
            place, "agents", told, rules, case["expect"], threshold=policy.config.threshold
        )


def _read(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(
        (_HERE / "suite" / f"{name}.yaml").read_text(encoding="utf-8")
    )
    return found


def _edited(rules: Sequence[Mapping[str, str]], edit: Mapping[str, Any]) -> list[dict[str, str]]:
    """The rules after the one small edit of a pair."""
    after = [dict(rule) for rule in rules]
    rule = after.pop(edit["rule"])
    if edit.get("delete"):
        return after
    rule |= {key: edit[key] for key in ("when", "then") if key in edit}
    after.insert(edit.get("move_to", edit["rule"]), rule)
    return after


def _options(
    instructions: str, context: str, options: Sequence[Mapping[str, str]]
) -> DecideRequest:
    return DecideRequest(
        ask="options",
        instructions=instructions.strip(),
        context=context.strip(),
        choices=tuple(Choice(name=o["name"], text=o["description"]) for o in options),
    )


def _rules_row(
    place: str,
    name: str,
    case: Mapping[str, Any],
    rules: Sequence[Mapping[str, str]],
    expect: str,
    group: str = "",
    threshold: float = _THRESHOLD,
) -> EvalRow:
    asked = DecideRequest(
        ask="rules",
        instructions=case["instructions"].strip(),
        context=case["context"].strip(),
        choices=tuple(Choice(name=str(i), text=rule["when"]) for i, rule in enumerate(rules)),
    )
    meanings = (*(rule["then"] for rule in rules), case["otherwise"])
    return _row(place, name, asked, expect, meanings, group, threshold)


def _row(
    place: str,
    name: str,
    asked: DecideRequest,
    expect: str,
    meanings: tuple[str, ...] = (),
    group: str = "",
    threshold: float = _THRESHOLD,
) -> EvalRow:
    """A row whose names are what each choice means, and last what it means that none counts."""
    return EvalRow(
        id=place,
        context={"threshold": threshold},
        gold=frozenset({expect}),
        text=asked.context,
        slices=(name,),
        names=meanings or (*(choice.name for choice in asked.choices), NONE),
        group=group,
        asked=asked,
    )


def _decision(row: EvalRow, scores: Sequence[float]) -> Prediction:
    """As the agents decide: the first rule that is met, or the best option, by the threshold."""
    assert row.asked is not None
    take = first_met if row.asked.ask == "rules" else best_option
    taken = take(scores, row.context["threshold"])
    choice = row.names[-1 if taken.index is None else taken.index]
    return Prediction(choice, taken.confidence, frozenset({choice}))


def _both_sides(rows: Sequence[EvalRow], said: Sequence[Prediction]) -> dict[str, float]:
    """The share of pairs where both sides of the edit are right."""
    pairs: dict[str, list[bool]] = {}
    for row, prediction in zip(rows, said, strict=True):
        if row.group:
            pairs.setdefault(row.group, []).append(prediction.right(row.gold))
    return {"pairs_both_right": sum(map(all, pairs.values())) / len(pairs)} if pairs else {}
