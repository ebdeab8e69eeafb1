"""Bindings, facts, checkpoints, budgets: the small parts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.types import Interrupt

from seamline import Budget, BudgetExceededError, ToolError
from seamline.agents.bindings import (
    MISSING,
    Reference,
    dig,
    references,
    resolve_binding,
    stale_after_answer,
)
from seamline.agents.budgets import Meter, model_usage
from seamline.agents.checkpoint import JsonSerializer
from seamline.agents.facts import fact_lines

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "kind", "source", "path"),
    [
        ("$input.text", "input", "input", ("text",)),
        ("$answer", "answer", "answer", ()),
        ("$find_words.words", "tool", "find_words", ("words",)),
        ("$find_words", "tool", "find_words", ()),
        ("$policy.plan.values.least", "policy", "plan", ("least",)),
    ],
)
def test_references(text: str, kind: str, source: str, path: tuple[str, ...]) -> None:
    assert Reference.parse(text) == Reference(text, kind, source, path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["$", "$.x", "$input", "$input.words", "$answer.x", "$policy.plan.least", "$a..b"]
)
def test_malformed_references_are_named(text: str) -> None:
    with pytest.raises(ToolError, match="binding"):
        Reference.parse(text)


def test_bindings_resolve_inside_lists_and_mappings() -> None:
    value = {"all": ["$input.text", "$$5", 3], "one": {"deep": "$answer"}}

    assert [one.text for one in references(value)] == ["$input.text", "$answer"]
    assert resolve_binding(value, lambda one: one.text.upper()) == {
        "all": ["$INPUT.TEXT", "$5", 3],
        "one": {"deep": "$ANSWER"},
    }
    assert resolve_binding(value, lambda one: MISSING) is MISSING


@settings(deadline=None)
@given(JSON)
def test_bindings_without_a_dollar_are_literals(value: Any) -> None:
    def never(reference: Reference) -> Any:
        raise AssertionError(reference)

    def dollar(part: Any) -> bool:
        if isinstance(part, str):
            return part.startswith("$")
        if isinstance(part, dict):
            return any(map(dollar, part.values()))
        return isinstance(part, list) and any(map(dollar, part))

    if not dollar(value):
        assert resolve_binding(value, never) == value


def test_a_field_that_is_not_there_is_named() -> None:
    with pytest.raises(ToolError, match=r"find_words gives no 'size'; it has: words"):
        dig({"words": []}, ("size",), Reference.parse("$find_words.size"))


def test_an_answer_makes_its_readers_stale_and_theirs() -> None:
    tools: dict[str, dict[str, Any]] = {
        "find": {"text": "$input.text"},
        "rate": {"words": "$find.words", "preferred": "$answer"},
        "check": {"nested": {"ratings": ["$rate.ratings"]}},
        "other": {"words": "$find.words"},
    }

    assert stale_after_answer(tools) == ["rate", "check"]


def test_facts_are_one_line_each() -> None:
    facts = {"found": True, "none": None, "share": 0.5, "name": "a\nb", "n": 3, "long": "x" * 500}

    lines = fact_lines(facts).splitlines()
    assert lines[:5] == ["- found: yes", "- none: none", "- share: 0.5", "- name: a b", "- n: 3"]
    assert len(lines[5]) < 140


@settings(deadline=None)
@given(JSON)
def test_checkpoints_hold_plain_data(value: Any) -> None:
    serde = JsonSerializer()

    if isinstance(value, dict) and set(value) == {"seamline:interrupt"}:
        return
    assert serde.loads_typed(serde.dumps_typed(value)) == value


def test_checkpoints_hold_the_interrupt_and_no_other_object() -> None:
    serde = JsonSerializer()
    waiting = Interrupt(value={"question": "which?"}, id="1")

    assert serde.loads_typed(serde.dumps_typed([waiting])) == [waiting]
    with pytest.raises(TypeError, match="plain JSON data, but holds a set"):
        serde.dumps_typed({"words": {"a"}})
    with pytest.raises(ValueError, match="only JSON is read"):
        serde.loads_typed(("pickle", b""))


def test_the_meter_leaves_out_the_time_in_which_a_person_was_waited_for() -> None:
    meter = Meter(Budget(seconds=10))
    meter.tick(100.0)
    meter.tick(105.0)
    meter.tick(9_000.0, waited=True)
    meter.tick(9_002.0)

    assert meter.seconds == pytest.approx(7.0)
    meter.check()
    meter.tick(9_005.5)
    with pytest.raises(BudgetExceededError, match="10 seconds is used up"):
        meter.check()


def test_usage_is_read_from_one_response_or_many() -> None:
    one = {"text": "x", "usage": {"input_tokens": 3, "output_tokens": 2}}

    assert model_usage(one) == {"calls": 1, "input_tokens": 3, "output_tokens": 2}
    assert model_usage({"responses": [one, one]})["input_tokens"] == 6
    assert model_usage({"responses": [{}]})["output_tokens"] == 0
