"""What a policy decides, given how sure a model is of each of its parts. No model is called."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from seamline.policies.messages import listed, policy_error
from seamline.policies.model import NONE, Policy

__all__ = ["Decision", "resolve_options", "resolve_rules"]


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


def resolve_rules(policy: Policy, scores: Sequence[float]) -> Decision:
    """The first rule whose p(met) reaches the threshold, else `otherwise`.

    Raises:
        PolicyError: There is not one score per rule, each in 0..1.
    """
    _check_scores(policy, scores, len(policy.rules), "rules")
    threshold = policy.config.threshold
    confidence, margin = 1.0, 1.0
    for index, score in enumerate(scores):
        margin = min(margin, abs(score - threshold))
        if score >= threshold:
            return _by_rule(policy, index, confidence=confidence * score, margin=margin)
        confidence *= 1.0 - score
    return _by_rule(policy, None, confidence=confidence, margin=margin)


def resolve_options(policy: Policy, names: Sequence[str], scores: Sequence[float]) -> Decision:
    """The option with the best score, or `otherwise` (none) when that is below the threshold.

    Equal scores go to the option that stands first.

    Raises:
        PolicyError: An option is not one that the policy names, or the scores do not fit.
    """
    _check_options(policy, names)
    _check_scores(policy, scores, len(names), "options")
    threshold = policy.config.threshold
    order = sorted(range(len(names)), key=lambda index: -scores[index])
    if not order or scores[order[0]] < threshold:
        best = scores[order[0]] if order else 0.0
        return _by_rule(policy, None, confidence=1.0 - best, margin=threshold - best)
    best = scores[order[0]]
    runner_up = scores[order[1]] if len(order) > 1 else 0.0
    return Decision(
        choice=names[order[0]],
        confidence=best,
        margin=min(best - runner_up, best - threshold),
    )


def _by_rule(policy: Policy, index: int | None, *, confidence: float, margin: float) -> Decision:
    if index is None:
        choice, because, say = policy.otherwise, policy.otherwise_because, policy.otherwise_say
    else:
        rule = policy.rules[index]
        choice, because, say = rule.then, rule.because, rule.say
    return Decision(
        choice=choice,
        rule_index=index,
        confidence=confidence,
        because=because,
        margin=margin,
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
