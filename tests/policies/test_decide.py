"""What a policy decides, from scores alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seamline.errors import PolicyError
from seamline.policies import (
    Policy,
    resolve_options,
    resolve_rules,
)


def test_the_first_rule_met_wins(plan: Policy) -> None:
    first = resolve_rules(plan, [0.5, 0.9])
    assert (first.choice, first.rule_index, first.because) == ("search", 0, "nothing looked up")
    assert (first.confidence, first.margin) == (0.5, 0.0)
    second = resolve_rules(plan, [0.25, 0.75])
    assert (second.choice, second.rule_index) == ("ask", 1)
    assert second.say == "Nothing under {{ search_word }}."
    assert second.confidence == pytest.approx(0.75 * 0.75)
    assert second.margin == pytest.approx(0.25)
    none = resolve_rules(plan, [0.1, 0.2])
    assert (none.choice, none.rule_index) == ("finish", None)
    assert none.confidence == pytest.approx(0.9 * 0.8)
    assert none.margin == pytest.approx(0.3)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rules_in_order_for_any_scores(plan: Policy, scores: list[float]) -> None:
    decision = resolve_rules(plan, scores)
    met = [index for index, score in enumerate(scores) if score >= 0.5]
    assert decision.rule_index == (met[0] if met else None)
    assert 0 <= decision.confidence <= 1
    assert 0 <= decision.margin <= 1


def test_the_best_option_wins_or_none(choose: Policy) -> None:
    names = ["catalogue", "phone"]
    best = resolve_options(choose, names, [0.6, 0.9])
    assert (best.choice, best.confidence) == ("phone", 0.9)
    assert best.margin == pytest.approx(0.3)
    assert resolve_options(choose, names, [0.7, 0.7]).choice == "catalogue"
    below = resolve_options(choose, names, [0.4, 0.2])
    assert (below.choice, below.rule_index) == ("none", None)
    assert below.confidence == pytest.approx(0.6)
    assert below.margin == pytest.approx(0.1)
    assert resolve_options(choose, [], []).choice == "none"


def test_a_choose_policy_may_fall_back_to_a_tool(
    choose_text: str, parse: Callable[[str], Policy]
) -> None:
    policy = parse(choose_text.replace("tools:", "otherwise: phone\ntools:"))
    assert resolve_options(policy, ["catalogue"], [0.1]).choice == "phone"


@pytest.mark.parametrize("scores", [[0.5], [0.5, 1.5], [0.5, -0.1], [0.5, math.nan], []])
def test_scores_that_do_not_fit_are_refused(
    plan: Policy, choose: Policy, scores: list[float]
) -> None:
    with pytest.raises(PolicyError, match="score"):
        resolve_rules(plan, scores)
    with pytest.raises(PolicyError, match="score"):
        resolve_options(choose, ["catalogue", "phone"], scores)


def test_options_that_are_not_the_policys_are_refused(choose: Policy) -> None:
    with pytest.raises(PolicyError, match="does not name the option fax"):
        resolve_options(choose, ["fax"], [0.9])
    with pytest.raises(PolicyError, match="given twice"):
        resolve_options(choose, ["phone", "phone"], [0.9, 0.9])
