"""What a policy decides, given how sure a model is of each of its parts. No model is called."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from seamline.errors import ModelError
from seamline.policies.messages import listed, policy_error, shown
from seamline.policies.model import NONE, Policy
from seamline.policies.render import Rendered

__all__ = [
    "Decision",
    "SingleShot",
    "option_branches",
    "resolve_answer",
    "resolve_options",
    "resolve_rules",
    "rule_branches",
    "single_shot",
]

_OTHERWISE = "otherwise"
_SECTIONS = ("Role", "Constraints", "Output", "Examples")


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


class SingleShot(NamedTuple):
    """A whole decision as one structured-output call."""

    system: str
    user: str
    json_schema: dict[str, Any]


def rule_branches(policy: Policy) -> list[tuple[str, str]]:
    """For each rule, its name (`rule 1`, …) and the condition as a model reads it."""
    return [
        (_rule_name(index), f"Condition: {rule.when}\nIs it met?")
        for index, rule in enumerate(policy.rules)
    ]


def option_branches(policy: Policy, options: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """For each `(name, description)`, the name and the option as a model reads it.

    Raises:
        PolicyError: An option is not one that the policy names.
    """
    _check_options(policy, [name for name, _ in options])
    return [
        (name, f"Option: {name}: {description}\nIs this the right choice?")
        for name, description in options
    ]


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


def single_shot(
    policy: Policy, rendered: Rendered, options: Sequence[tuple[str, str]] = ()
) -> SingleShot:
    """The same decision for a model that follows a whole policy in one call.

    The rules or the options (`(name, description)`) are written out under the prompt's own
    Constraints; the answer is one JSON object, read by `resolve_answer`.

    Raises:
        PolicyError: An option is not one that the policy names.
    """
    sections = _sections(rendered.system)
    if policy.config.resolve == "best":
        _check_options(policy, [name for name, _ in options])
        lines = ["Options:", *(f"- {name}: {description}" for name, description in options)]
        lines.append(f"Choose the one right option; {policy.otherwise!r} when none is right.")
        key, allowed = "choice", list(dict.fromkeys([*(n for n, _ in options), policy.otherwise]))
    else:
        lines = ["Rules, in order; the first whose condition is met decides:"]
        lines += [
            f"{_rule_name(index)}. If {rule.when}: {rule.then}"
            for index, rule in enumerate(policy.rules)
        ]
        lines.append(f"{_OTHERWISE}. If no condition above is met: {policy.otherwise}")
        key = "rule"
        allowed = [*(_rule_name(index) for index in range(len(policy.rules))), _OTHERWISE]
    quoted = ", ".join(f'"{name}"' for name in allowed)
    answer = f'Answer with one JSON object, {{"{key}": …}}, where {key} is one of: {quoted}.'
    extra = {"Constraints": "\n".join(lines), "Output": answer}
    for title, text in extra.items():
        sections[title] = f"{sections[title]}\n\n{text}" if sections.get(title) else text
    titles = [*_SECTIONS[:-1], *(t for t in sections if t not in _SECTIONS), _SECTIONS[-1]]
    system = "\n\n".join(f"# {t}\n{sections[t]}" for t in titles if sections.get(t))
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {key: {"type": "string", "enum": allowed}},
        "required": [key],
        "additionalProperties": False,
    }
    return SingleShot(system=system, user=rendered.user, json_schema=schema)


def resolve_answer(
    policy: Policy, answer: Mapping[str, Any], *, confidence: float = 1.0
) -> Decision:
    """The decision that the answer to a `single_shot` call means.

    Args:
        policy: The policy that was asked.
        answer: The JSON object that the model gave.
        confidence: The model's own probability of that answer, where the server tells it.

    Raises:
        ModelError: The answer is outside the closed set.
    """
    if policy.config.resolve == "best":
        choice = answer.get("choice")
        if choice == policy.otherwise:
            return _by_rule(policy, None, confidence=confidence, margin=confidence)
        if isinstance(choice, str) and choice in policy.choices:
            return Decision(choice=choice, confidence=confidence, margin=confidence)
        allowed = policy.choices
    else:
        allowed = (*(_rule_name(index) for index in range(len(policy.rules))), _OTHERWISE)
        name = answer.get("rule")
        if isinstance(name, str) and name in allowed:
            at = allowed.index(name)
            index = at if at < len(policy.rules) else None
            return _by_rule(policy, index, confidence=confidence, margin=confidence)
    raise ModelError(
        f"{policy.ref}: the model answered {shown(dict(answer))}, expected one of {listed(allowed)}"
    )


def _rule_name(index: int) -> str:
    return f"rule {index + 1}"


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


def _sections(text: str) -> dict[str, str]:
    """The text by its first-level headings; what stands before the first is the Role."""
    found: dict[str, str] = {}
    title = "Role"
    for line in text.split("\n"):
        heading = re.fullmatch(r"# +(\S.*)", line)
        if heading:
            title = heading[1].strip()
        else:
            found[title] = f"{found[title]}\n{line}" if title in found else line
    return {title: body.strip() for title, body in found.items()}
