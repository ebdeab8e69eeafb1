"""What changed between two versions."""

from __future__ import annotations

import json
from collections.abc import Callable

from rich.console import Console

from seamline.policies import Policy, diff

Parse = Callable[[str], Policy]


def test_a_policy_does_not_differ_from_itself(plan: Policy) -> None:
    found = diff(plan, plan)
    assert found.same
    assert (found.fields, found.rules, found.body) == ((), (), ())
    assert "no difference" in str(found)


def test_fields_are_told_one_by_one(plan: Policy, plan_text: str, parse: Parse) -> None:
    text = plan_text.replace("threshold: 0.5", "threshold: 0.7").replace("note: first", "note: b")
    text = text.replace("otherwise: finish", "otherwise: ask\nvalues: {top: {k: 3}}")
    found = diff(plan, parse(text))
    assert {(f.field, str(f.before), str(f.after)) for f in found.fields} >= {
        ("config.threshold", "0.5", "0.7"),
        ("otherwise", "finish", "ask"),
        ("values.top.k", "None", "3"),
    }
    assert [f.field for f in found.fields if "changelog" in f.field] == ["changelog[1.0.0]"]
    assert not found.same


def rules(plan: Policy, *rows: tuple[str, str]) -> Policy:
    made = [{"when": when, "then": then} for when, then in rows]
    return plan.model_validate({**plan.model_dump(), "rules": made})


A = ("The catalogue has not been searched yet", "search")
B = ("The search found nothing", "ask")
C = ("The reader has gone home", "finish")


def changes(before: Policy, after: Policy) -> list[tuple[str, int | None, int | None]]:
    return [(r.change, r.before_index, r.after_index) for r in diff(before, after).rules]


def test_rules_are_added_removed_changed_and_moved(plan: Policy) -> None:
    edited = ("The search found nothing at all", "ask")
    assert changes(rules(plan, A, B), rules(plan, A, B, C)) == [("added", None, 2)]
    assert changes(rules(plan, A, B, C), rules(plan, A, C)) == [("removed", 1, None)]
    assert changes(rules(plan, A, B), rules(plan, A, edited)) == [("changed", 1, 1)]
    assert changes(rules(plan, A, B), rules(plan, A, (B[0], "finish"))) == [("changed", 1, 1)]
    assert changes(rules(plan, A, B, C), rules(plan, C, A, B)) == [("moved", 2, 0)]
    assert changes(rules(plan, A, B), rules(plan, C, A, B)) == [("added", None, 0)]
    both = diff(rules(plan, A, B, C), rules(plan, edited, A, C)).rules
    assert [(r.change, r.moved) for r in both] == [("changed", True)] or [
        (r.change, r.moved) for r in both
    ] == [("moved", True), ("changed", False)]


def test_the_body_is_a_unified_diff(plan: Policy, plan_text: str, parse: Parse) -> None:
    found = diff(plan, parse(plan_text.replace("One step.", "Two steps.")))
    assert "-One step." in found.body
    assert "+Two steps." in found.body
    assert found.fields == ()


def test_a_diff_renders_as_text_and_json(plan: Policy, plan_text: str, parse: Parse) -> None:
    found = diff(plan, parse(plan_text.replace("One step.", "[red]Two[/red] steps.")))
    console = Console(width=120, record=True, file=None, quiet=True)
    with console.capture():
        console.print(found)
    assert json.loads(json.dumps(found.to_json()))["body"] == list(found.body)
    assert found.__rich__().plain == str(found)
    assert "+[red]Two[/red] steps." in found.__rich__().plain
