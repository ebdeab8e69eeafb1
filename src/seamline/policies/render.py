"""From a policy and its variables to the prompt a model reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from seamline.policies import schemas, templates
from seamline.policies.digest import canonical_json, digest_of
from seamline.policies.examples import EXAMPLES_VARIABLE
from seamline.policies.messages import policy_error
from seamline.policies.model import Example, Policy, Rule
from seamline.policies.similarity import likeness, trigrams
from seamline.wording import did_you_mean, listed

__all__ = ["Rendered", "render", "render_say"]


class Rendered(BaseModel):
    """A prompt ready for a model, with what made it.

    `digest` covers the policy's digest and both texts; `examples` holds the ids of the
    examples shown, in the order shown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str
    user: str
    variables: Mapping[str, Any]
    digest: str
    examples: tuple[str, ...] = ()


def render(
    policy: Policy, variables: Mapping[str, Any], *, examples: Sequence[Example] = ()
) -> Rendered:
    """The prompt of a policy for the given variables.

    Args:
        policy: What to render.
        variables: Must satisfy the policy's input schema.
        examples: Shown instead of the policy's own selection, for example those that a
            recorded run showed.

    Raises:
        PolicyError: The variables do not fit, or a template cannot be rendered with them.
    """
    values = dict(variables)
    try:
        canonical_json(values)
    except (ValueError, TypeError, RecursionError) as error:
        raise policy_error(policy.ref, f"variables are not JSON: {str(error)[:120]}") from None
    problem = schemas.value_problem(policy.input_schema, values)
    if problem is not None:
        raise policy_error(policy.ref, f"variables do not fit input.schema: {problem}")
    chosen = tuple(examples) or _select(policy, values)
    shown = [_shown_example(policy, example) for example in chosen]
    places_itself = any(
        name == EXAMPLES_VARIABLE
        for source in (policy.system, policy.user)
        for name, _ in templates.variables_of(source)
    )
    scope = {EXAMPLES_VARIABLE: shown, **values}
    system = _text(policy, "system", policy.system, scope)
    if shown and not places_itself:
        cases = "\n\n".join(str(example["text"]) for example in shown)
        system = f"{system}\n\n# Examples\n{cases}"
    user = _text(policy, "user", policy.user, scope)
    return Rendered(
        system=system,
        user=user,
        variables=values,
        digest=digest_of({"policy": policy.digest, "system": system, "user": user}),
        examples=tuple(example.id for example in chosen),
    )


def render_say(policy: Policy, rule: Rule | str, variables: Mapping[str, Any]) -> str:
    """The sentence a person reads: a rule's `say`, or a template, with the facts put in.

    A fact is reached by its name with `_` for every other character
    (`{{ codes_declined }}` for the fact `codes declined`), or as
    `{{ facts["codes declined"] }}`. A fact named `facts` is reached only the second way.

    Raises:
        PolicyError: A fact is missing or the template cannot be rendered.
    """
    template = rule.say if isinstance(rule, Rule) else rule
    facts = dict(variables)
    scope: dict[str, Any] = {}
    for name, value in facts.items():
        scope.setdefault(_identifier(name), value)
    # A fact whose name already is an identifier wins over one that is spelled into it.
    scope.update({name: value for name, value in facts.items() if name.isidentifier()})
    scope["facts"] = facts
    hint = ""
    try:
        for name, _ in templates.variables_of(template):
            hint = hint or ("" if name in scope else did_you_mean(name, scope))
        return templates.render_text(template, scope)
    except templates.TemplateFault as fault:
        raise policy_error(
            policy.ref, f"say: {fault}; the facts are: {listed(facts)}.{hint}"
        ) from None


def _identifier(name: str) -> str:
    return re.sub(r"\W+", "_", name.strip()).strip("_")


def _text(policy: Policy, part: str, source: str, scope: Mapping[str, Any]) -> str:
    try:
        return templates.render_text(source, scope)
    except templates.TemplateFault as fault:
        raise policy_error(policy.ref, f"{part}: {fault}") from None


def _shown_example(policy: Policy, example: Example) -> dict[str, Any]:
    question = _text(policy, "user", policy.user, {EXAMPLES_VARIABLE: [], **example.input})
    return {
        "id": example.id,
        "input": dict(example.input),
        "output": example.output,
        "note": example.note,
        "text": f"{question}\nAnswer: {example.output}",
    }


def _select(policy: Policy, variables: Mapping[str, Any]) -> tuple[Example, ...]:
    selection = policy.config.examples
    if selection.select == "static" or len(policy.examples) <= 1:
        return policy.examples[: selection.k]
    here = trigrams(_text(policy, "user", policy.user, {EXAMPLES_VARIABLE: [], **variables}))

    def score(index: int) -> tuple[float, int]:
        example = policy.examples[index]
        text = _text(policy, "user", policy.user, {EXAMPLES_VARIABLE: [], **example.input})
        return -likeness(here, trigrams(text)), index

    nearest = sorted(range(len(policy.examples)), key=score)[: selection.k]
    # The nearest goes last, where a small model reads it just before the question.
    return tuple(policy.examples[index] for index in reversed(nearest))
