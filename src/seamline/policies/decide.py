"""What a policy decides, given how sure a model is of each of its parts. No model is called."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from seamline.policies.messages import policy_error
from seamline.policies.model import NONE, Policy
from seamline.wording import listed

__all__ = [
    "Decision",
    "Taken",
    "best_option",
    "first_met",
    "resolve_options",
    "resolve_rules",
]


class Decision(BaseModel):
    """A choice and what led to it.

    `rule_index` counts from 0; None is `otherwise`, or an option. `confidence` is the
    probability of the path taken; `margin` is how far the nearest score on that path
    stands from turning the choice. `say` is the template of text for people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    choice: str
    rule_index: int | None = None
    confidence: float
    because: str = ""
    margin: float
    say: str = ""


@dataclass(frozen=True)
class Taken:
    """Which of several scored parts counts (None: none does), how surely, and by how much."""

    index: int | None
    confidence: float
    margin: float


def first_met(scores: Sequence[float], threshold: float) -> Taken:
    """The first of ordered rules whose p(met) reaches the threshold."""
    confidence, margin = 1.0, 1.0
    for index, score in enumerate(scores):
        margin = min(margin, abs(score - threshold))
        if score >= threshold:
            return Taken(index, confidence * score, margin)
        confidence *= 1.0 - score
    return Taken(None, confidence, margin)


def best_option(scores: Sequence[float], threshold: float) -> Taken:
    """The best-scored option, if it reaches the threshold; of equal ones the first."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    best = scores[order[0]] if order else 0.0
    if not order or best < threshold:
        return Taken(None, 1.0 - best, threshold - best)
    runner_up = scores[order[1]] if len(order) > 1 else 0.0
    return Taken(order[0], best, min(best - runner_up, best - threshold))


def resolve_rules(policy: Policy, scores: Sequence[float]) -> Decision:
    """The first rule whose p(met) reaches the threshold, else `otherwise`.

    Raises:
        PolicyError: There is not one score per rule, each in 0..1.
    """
    _check_scores(policy, scores, len(policy.rules), "rules")
    return _by_rule(policy, first_met(scores, policy.config.threshold))


def resolve_options(policy: Policy, names: Sequence[str], scores: Sequence[float]) -> Decision:
    """The option with the best score, or `otherwise` (none) when that is below the threshold.

    Equal scores go to the option that stands first.

    Raises:
        PolicyError: An option is not one that the policy names, or the scores do not fit.
    """
    _check_options(policy, names)
    _check_scores(policy, scores, len(names), "options")
    taken = best_option(scores, policy.config.threshold)
    if taken.index is None:
        return _by_rule(policy, taken)
    return Decision(choice=names[taken.index], confidence=taken.confidence, margin=taken.margin)


def _by_rule(policy: Policy, taken: Taken) -> Decision:
    if taken.index is None:
        choice, because, say = policy.otherwise, policy.otherwise_because, policy.otherwise_say
    else:
        rule = policy.rules[taken.index]
        choice, because, say = rule.then, rule.because, rule.say
    return Decision(
        choice=choice,
        rule_index=taken.index,
        confidence=taken.confidence,
        because=because,
        margin=taken.margin,
        say=say,
    )


def _check_scores(policy: Policy, scores: Sequence[float], count: int, what: str) -> None:
    if len(scores) != count:
        raise policy_error(policy.ref, f"{len(scores)} scores for {count} {what}")
    for score in scores:
        if math.isnan(score) or not 0.0 <= score <= 1.0:
            raise policy_error(policy.ref, f"a score is {score}, expected 0..1")


def _check_options(policy: Policy, names: Sequence[str]) -> None:
    known = [name for name in policy.choices if name != NONE]
    odd = [name for name in names if name not in known]
    if odd:
        raise policy_error(
            policy.ref, f"does not name the option {listed(odd)}; it names {listed(known)}"
        )
    if len(set(names)) != len(names):
        raise policy_error(policy.ref, "an option is given twice")
