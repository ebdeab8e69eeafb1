"""Policies decide: from a slot and its variables to a choice, by one recorded model effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seamline.agents.runs import Run
from seamline.errors import ConfigError, PolicyError
from seamline.models.protocol import Choice, DecideRequest, DecideResponse, Model, PromptRef
from seamline.policies.checks import run_checks
from seamline.policies.decide import Decision as PolicyDecision
from seamline.policies.decide import resolve_options, resolve_rules
from seamline.policies.model import NONE, Policy
from seamline.policies.render import Rendered, render, render_say
from seamline.tools.contract import FactValue

__all__ = ["Case", "Decider", "Decision"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing to decide: the variables of the prompt, and the facts a `say` may name."""

    variables: Mapping[str, Any]
    facts: Mapping[str, FactValue]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a policy said of one case.

    `value` is None where a choose policy found that no option fits. `say` is rendered; where it
    cannot be, it is empty and `unsaid` tells why: a sentence for people is worth no run.
    """

    policy: str
    value: str | None
    because: str
    say: str
    confidence: float
    unsaid: str = ""

    def told(self) -> dict[str, Any]:
        """The decision for listeners."""
        told = {
            "policy": self.policy,
            "decision": self.value or NONE,
            "because": self.because,
            "confidence": round(self.confidence, 3),
            "unsaid": self.unsaid,
        }
        return {key: value for key, value in told.items() if value != ""}


class Decider:
    """Asks the orchestrating model what the policies say.

    Args:
        policies: Slot to policy.
        model: The local base or an endpoint.
        skill: The adapter that follows policies; None on an endpoint, which needs none.
        tools: What each bound tool does, for choose policies.
    """

    def __init__(
        self,
        *,
        policies: Mapping[str, Policy],
        model: Model,
        skill: str | None,
        tools: Mapping[str, str],
    ) -> None:
        self.policies = policies
        self.model = model
        self.skill = skill
        self._tools = tools

    def has(self, slot: str) -> bool:
        """Whether the agent binds a policy to the slot."""
        return slot in self.policies

    def checks(self, slot: str, text: str) -> dict[str, FactValue]:
        """What the deterministic checks of a guard say of a text."""
        return {found.name: found.value for found in run_checks(self._policy(slot), text)}

    def value(self, slot: str, name: str) -> Any:
        """A setting that a policy carries under `values`.

        Raises:
            PolicyError: The policy has no such setting.
        """
        policy = self._policy(slot)
        if name not in policy.values:
            raise PolicyError(
                f"policy {policy.ref} has no value {name!r}; "
                f"it has: {', '.join(policy.values) or 'none'}"
            )
        return policy.values[name]

    async def decide(self, run: Run, slot: str, path: str, cases: Sequence[Case]) -> list[Decision]:
        """One decision a case, asked in one batch and recorded as one model effect at `path`.

        Raises:
            ModelError: The model could not answer.
            PolicyError: The policy does not render with these variables.
            BudgetExceededError: Nothing is left for a model call.
        """
        policy = self._policy(slot)
        choices = self._choices(policy)
        rendered = [render(policy, _wanted(policy, case.variables)) for case in cases]
        if not choices:
            responses = [DecideResponse(scores=()) for _ in cases]
        else:
            responses = await self._ask(run, path, policy, choices, rendered)
        decisions = [self._resolve(policy, choices, response) for response in responses]
        return [
            _told(policy, decision, case) for decision, case in zip(decisions, cases, strict=True)
        ]

    async def _ask(
        self,
        run: Run,
        path: str,
        policy: Policy,
        choices: tuple[Choice, ...],
        rendered: Sequence[Rendered],
    ) -> list[DecideResponse]:
        prompt = PromptRef(name=policy.name, version=policy.version, digest=policy.digest)
        requests = [
            DecideRequest(
                ask="options" if policy.config.resolve == "best" else "rules",
                instructions=one.system,
                context=one.user,
                choices=choices,
                prompt=prompt,
            )
            for one in rendered
        ]
        asked = {
            "identity": dict(self.model.identity(self.skill)),
            "policy": prompt.model_dump(),
            "prompts": [
                {"digest": one.digest, "variables": one.variables, "examples": list(one.examples)}
                for one in rendered
            ],
            "requests": [request.model_dump(mode="json") for request in requests],
        }

        async def live() -> Any:
            answers = await self.model.decide(requests, skill=self.skill)
            # The decisions are there for readers of the trace; a run draws its own from the
            # scores, so that they cannot drift apart.
            decided = [self._resolve(policy, choices, answer) for answer in answers]
            told = [one.model_dump(mode="json", exclude={"say"}) for one in decided]
            return {
                "responses": [answer.model_dump(mode="json") for answer in answers],
                **({"decision": told[0]} if len(told) == 1 else {"decisions": told}),
            }

        result = await run.effects.perform(path, "model", asked, live)
        return [DecideResponse.model_validate(one) for one in result["responses"]]

    def _choices(self, policy: Policy) -> tuple[Choice, ...]:
        if policy.config.resolve != "best":
            return tuple(
                Choice(name=f"rule {index}", text=rule.when)
                for index, rule in enumerate(policy.rules, start=1)
            )
        unbound = [name for name in policy.tools if name not in self._tools]
        if unbound:
            raise ConfigError(
                f"policy {policy.ref} names the tools {', '.join(unbound)}, which the agent does "
                f"not bind; it binds: {', '.join(self._tools)}"
            )
        return tuple(Choice(name=name, text=self._tools[name]) for name in policy.tools)

    @staticmethod
    def _resolve(
        policy: Policy, choices: Sequence[Choice], response: DecideResponse
    ) -> PolicyDecision:
        if policy.config.resolve == "best":
            return resolve_options(policy, [choice.name for choice in choices], response.scores)
        return resolve_rules(policy, response.scores)

    def _policy(self, slot: str) -> Policy:
        try:
            return self.policies[slot]
        except KeyError as error:
            raise ConfigError(
                f"no policy is bound to the slot {slot!r}; add it to `policies` in agent.yaml"
            ) from error


def _wanted(policy: Policy, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables that the policy's input schema names; a policy need not take them all."""
    names = policy.input_schema["properties"]
    return {name: value for name, value in variables.items() if name in names}


def _told(policy: Policy, decision: PolicyDecision, case: Case) -> Decision:
    nothing = policy.config.resolve == "best" and decision.choice == NONE
    say = unsaid = ""
    try:
        say = render_say(policy, decision.say, case.facts) if decision.say else ""
    except PolicyError as error:
        unsaid = str(error)
    return Decision(
        policy=policy.ref,
        value=None if nothing else decision.choice,
        because=decision.because,
        say=say,
        confidence=decision.confidence,
        unsaid=unsaid,
    )
