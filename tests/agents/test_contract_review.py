"""What the shipped `contract_review` reads from titles, keeps when a tool fails, and tells."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from seamline import Project, ScriptedModel
from seamline.agents.facts import fact_lines
from seamline.models.protocol import Choice, DecideRequest, DecideResponse, Usage, WriteRequest
from seamline.policies.checks import run_checks
from seamline.policies.decide import resolve_rules
from seamline.policies.model import Policy
from seamline.policies.render import render, render_say
from seamline.tools.contract import FactValue
from seamline.traces.store import SqliteTraceStore

if TYPE_CHECKING:
    from seamline.models.engine import LocalModel

NDA, TERMS = "title of a confidentiality agreement", "title of terms of service"
QUESTIONS = "answer the usual questions on a confidentiality agreement"
UNFAIR = "find the terms that are unfair to consumers"
TYPES = "tell the type of each clause"


@pytest.fixture
def packaged(root: Path) -> Project:
    return Project.open(root)


def policy(project: Project, slot: str) -> Policy:
    return project.policies.get(f"contract_review/{slot}@production")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Terms-of-Use\n\nWelcome.", [TERMS]),
        ("Paperboat Ltd\n# Terms and Conditions\n\nWelcome.", [TERMS]),
        ("END-USER LICENSE AGREEMENT\n\nWelcome.", [TERMS]),
        ("Mutual NDA\n\nBetween A and B.", [NDA]),
        ("CONFIDENTIAL DISCLOSURE AGREEMENT\r\n\r\nBetween A and B.", [NDA]),
        ("Exhibit 4\nNON\u2011DISCLOSURE AGREEMENT\nBetween A and B.", [NDA]),
        ("**Non\u2013Disclosure Agreement**\nBetween A and B.", [NDA]),
        ("Annex A\nThis Mutual Non-Disclosure Agreement is made by A and B.", [NDA]),
        ("Confidentiality Agreement and Terms of Use\n\nWelcome.", [NDA, TERMS]),
        ("LEASE\n\nThis lease is made upon the following terms and conditions:\n", []),
        ("LEASE of a house made upon the following terms and conditions: 1. Rent.\n", []),
        ("LOAN AGREEMENT\n\nThe data are lent under the terms of use of the data.\n", []),
        ("SUPPLY AGREEMENT\n\nThe confidentiality provisions of this agreement go on.\n", []),
        ("SUPPLY AGREEMENT\n\nA and B keep to the\nconfidentiality agreement.\n", []),
        ("LEASE\n1. Terms of Use\nThe house is lived in.", []),
    ],
)
def test_a_title_is_a_short_line_at_the_start(
    packaged: Project, text: str, expected: list[str]
) -> None:
    found = {one.name: one.value for one in run_checks(policy(packaged, "guard_input"), text)}
    assert [name for name in (NDA, TERMS) if found[name] == "found"] == expected


NO_CLAUSE = "No clause of a known type was found."
REVIEWED = {"typed clauses": 0, "risks": 1, "high risks": 1, "missing clauses": 4,
            "unfair terms": 3, "statements checked": 17}  # fmt: skip


def test_high_risks_are_told_before_a_lack_of_clauses(packaged: Project) -> None:
    answer = policy(packaged, "answer")
    assert [rule.then for rule in answer.rules] == ["high risks", "nothing found"]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (REVIEWED, f"{NO_CLAUSE} Unfair terms: 3. Statements checked: 17."),
        ({"unfair terms": 3}, "The clauses were not typed. Unfair terms: 3."),
        ({"statements checked": 17}, "The clauses were not typed. Statements checked: 17."),
        (
            {**REVIEWED, "unfair terms": 0, "statements checked": 0},
            f"{NO_CLAUSE} Check that this is a contract and that its text is complete.",
        ),
    ],
)
def test_a_lack_of_clauses_is_told_with_what_was_found(
    packaged: Project, facts: dict[str, Any], expected: str
) -> None:
    answer = policy(packaged, "answer")
    assert render_say(answer, answer.rules[1], facts) == expected
    if "typed clauses" not in facts:
        assert render_say(answer, answer.otherwise_say, facts) == expected


class Broken(ScriptedModel):
    """Follows the policies, finds every term unfair, and breaks on the types of clauses."""

    async def decide(
        self, requests: Sequence[DecideRequest], *, skill: str | None = None
    ) -> list[DecideResponse]:
        if skill == "clause_type":
            raise RuntimeError("broken")
        if skill == "unfair_term":
            one = DecideResponse(scores=(0.9, 0.1), labels=("Arbitration", "Fair"))
            return [one for _ in requests]
        return await super().decide(requests, skill=skill)


def follow(request: DecideRequest | WriteRequest, _: str | None) -> Any:
    """What the policies say of terms of service whose clauses could not be typed."""
    assert isinstance(request, DecideRequest)
    if request.ask == "options":
        step = request.context.removeprefix("Step: ").strip()
        tools = {"split the contract into clauses": "split_clauses", UNFAIR: "unfair_terms"}
        return tools.get(step, "clause_type")
    met = {
        "split_clauses has not been run": "- split_clauses: not run" in request.context,
        "clause_type has failed and is not done": "- clause_type: failed" in request.context,
        "unfair_terms is done": "- unfair_terms: done" in request.context,
        "title of terms of service was found": f"- {TERMS}: found" in request.context,
    }
    return tuple(float(met.get(choice.text, False)) for choice in request.choices)


def test_what_was_found_is_kept_where_the_types_fail(root: Path, tmp_path: Path) -> None:
    text = (root / "examples/contracts/terms_of_service.md").read_text(encoding="utf-8")
    with SqliteTraceStore(tmp_path / "traces.sqlite") as store:
        agent = Project.open(root, store=store).agent("contract_review", model=Broken(follow))
        result = agent.run(text)
    assert result.status == "done", result.error
    assert result.output is not None
    assert {one["type"] for one in result.output["terms"]} == {"Arbitration"}
    assert result.needs_review
    assert any(reason.startswith("clause_type failed: ") for reason in result.reasons)
    assert result.message.startswith("The clauses were not typed. Unfair terms: ")


class Costly(ScriptedModel):
    """Follows the policies; each of its skills reads 10 tokens a question."""

    async def decide(
        self, requests: Sequence[DecideRequest], *, skill: str | None = None
    ) -> list[DecideResponse]:
        scores = {"clause_type": {"Governing Law": 1.0}, "unfair_term": {"Arbitration": 1.0}}
        if skill not in scores:
            return await super().decide(requests, skill=skill)
        found = scores[skill]
        one = DecideResponse(
            scores=tuple(found.values()), labels=tuple(found), usage=Usage(input_tokens=10)
        )
        return [one for _ in requests]


LAWS = "\n\n".join(f"{n}. Law. The laws of Utopia govern matter {n} alone." for n in range(1, 90))


@pytest.mark.parametrize(
    ("title", "found", "stopped"),
    [
        ("# Supply Agreement", "clauses", "clause_type stopped at 64 of "),
        ("# Terms of Service", "terms", "unfair_terms stopped at 64 of 90 sentences"),
    ],
)
def test_a_budget_used_up_inside_a_tool_keeps_what_the_tool_had_done(
    root: Path, tmp_path: Path, title: str, found: str, stopped: str
) -> None:
    with SqliteTraceStore(tmp_path / "traces.sqlite") as store:
        agent = Project.open(root, store=store).agent("contract_review", model=Costly(follow))
        budget = agent.spec.budget.replaced(tokens=600)
        result = agent.run(f"{title}\n\n{LAWS}", budget=budget)
        replay = result.trace.replay()
    assert result.status == "budget_exceeded"
    assert result.message.startswith("Stopped: the budget of 600 tokens is used up (640 tokens")
    assert result.needs_review
    assert result.reasons[0].startswith(stopped)
    assert result.reasons[1] == result.error
    assert result.output is not None
    assert result.output[found]
    assert all(one["text"] for one in result.output[found])
    assert not result.output.get("missing")
    assert replay.identical


def state(nda: str, unfair: str, types: str, titles: tuple[str, ...]) -> dict[str, str]:
    """The variables of the plan once the contract is split."""
    tools = {"nda_check": nda, "unfair_terms": unfair, "clause_type": types}
    failed = [name for name, status in tools.items() if status == "failed"]
    answers = {"statements checked": 17, "statements entailed": 9, "statements contradicted": 2,
               "statements not mentioned": 6}  # fmt: skip
    facts: dict[str, FactValue] = {
        "split_clauses": "done",
        **tools,
        "clauses found": 34,
        **(answers if nda == "done" else {}),
        **({"unfair terms": 3} if unfair == "done" else {}),
        "failed tools": ", ".join(failed) or "none",
        "answer from a person": "none",
        "steps left": 21,
    }
    checks = {
        "readable text": "yes",
        "words": "enough",
        "language": "English",
        "instructions to the reader": "none",
        **{name: "found" if name in titles else "none" for name in (NDA, TERMS)},
    }
    return {"facts": fact_lines(facts), "checks": fact_lines(checks)}


@pytest.mark.model
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("not run", "not run", "not run", (NDA,)), QUESTIONS),
        (("done", "not run", "not run", (NDA,)), TYPES),
        (("failed", "not run", "not run", (NDA,)), TYPES),
        (("not run", "not run", "not run", (TERMS,)), UNFAIR),
        (("not run", "failed", "not run", (TERMS,)), TYPES),
        (("not run", "not run", "not run", (NDA, TERMS)), QUESTIONS),
        (("done", "not run", "not run", (NDA, TERMS)), UNFAIR),
        (("failed", "not run", "not run", (NDA, TERMS)), UNFAIR),
        (("done", "done", "not run", (NDA, TERMS)), TYPES),
        (("failed", "failed", "not run", (NDA, TERMS)), TYPES),
        (("not run", "done", "failed", (TERMS,)), "finish"),
        (("failed", "not run", "failed", (NDA,)), "finish"),
        (("not run", "failed", "failed", (TERMS,)), "finish"),
        (("failed", "failed", "failed", (NDA, TERMS)), "finish"),
    ],
)
def test_the_plan_by_titles_and_failures(
    packaged: Project,
    resident: LocalModel,
    given: tuple[str, str, str, tuple[str, ...]],
    expected: str,
) -> None:
    plan = policy(packaged, "plan")
    prompt = render(plan, state(*given))
    rules = tuple(
        Choice(name=f"rule {number}", text=rule.when) for number, rule in enumerate(plan.rules, 1)
    )
    request = DecideRequest(
        ask="rules", instructions=prompt.system, context=prompt.user, choices=rules
    )
    [response] = asyncio.run(resident.decide([request], skill="decide@production"))
    assert resolve_rules(plan, response.scores).choice == expected
