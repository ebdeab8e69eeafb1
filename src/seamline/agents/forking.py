"""A recorded run gone on from one of its steps with a change."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from seamline.agents.agent import check_answer
from seamline.agents.assembly import Assembly, Parts, assemble
from seamline.agents.build import agent_of, agent_spec, check_bindings, run_header
from seamline.agents.events import Listener
from seamline.agents.outcome import compose_result, crashed
from seamline.agents.replaying import budget_of, header_of, recorded_parts, switch_by_task
from seamline.agents.result import AgentResult
from seamline.agents.spec import SLOTS, AgentSpec, Slot
from seamline.errors import ConfigError, DivergenceError, InputError, TraceError
from seamline.models.pinned import OFF, PinnedModel
from seamline.texts import whole_text
from seamline.traces.effects import RecordEffects
from seamline.traces.fork import ForkCounts, ForkEffects, ForkPlan, find_step
from seamline.traces.ids import new_run_id
from seamline.traces.journal import Entry, RunMeta
from seamline.traces.spans import SpanHooks
from seamline.traces.values import Plain, digest_of

if TYPE_CHECKING:
    from seamline.models.engine import LocalModel
    from seamline.models.protocol import Model
    from seamline.project import Project
    from seamline.traces.trace import Trace

__all__ = ["Changes", "Fork", "fork"]

_NOTHING_USED = {"calls": 0, "input_tokens": 0, "output_tokens": 0}


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a fork changes, and where; see `RecordedRun.afork`."""

    at: str | None = None
    policy: str | None = None
    adapter: str | None = None
    base: str | None = None
    endpoint: str | None = None
    model: Model | None = None
    tool_result: Any = None
    text: str | None = None
    answer: str | None = None
    allow_side_effects: bool = False

    def told(self) -> dict[str, Any]:
        """The changes for the header of the fork's journal."""
        told = {
            "policy": self.policy,
            "adapter": self.adapter,
            "base": self.base,
            "endpoint": self.endpoint,
            "model": None if self.model is None else dict(self.model.identity()),
            "tool_result": None if self.tool_result is None else digest_of(self.tool_result),
            "input": None if self.text is None else digest_of({"text": self.text}),
            "answer": None if self.answer is None else digest_of(self.answer),
        }
        return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Fork:
    """A fork that was executed: its result, with a trace of its own, and what it cost.

    `at` is the key of the effect at which it left its parent, `input` for the start, `end` for
    where the parent waited for an answer.
    """

    result: AgentResult
    parent: str
    at: str
    counts: ForkCounts


async def fork(
    project: Project, trace: Trace, changes: Changes, *, listener: Listener | None = None
) -> Fork:
    """Execute a fork and record it as a new run; see `RecordedRun.afork`."""
    spec = agent_spec(project, trace.meta.agent)
    _check(project, trace, changes)
    at = _step(trace, changes)
    whole = at is None and changes.text is None
    after = _changed_parts(project, spec, trace, changes)
    check_bindings(spec, after.decider.policies, after.tools)
    headers = [*trace.meta.history, header_of(trace)]
    before = [recorded_parts(project, spec, header) for header in headers]
    plan = ForkPlan(
        parent=trace,
        at=at,
        given=_given(trace, at, after, changes),
        whole=whole,
        answered=changes.answer is not None,
        stale=_stale(trace, after),
        guarded=_guarded(after, changes),
    )
    agent = agent_of(project, spec, after, hooks=[SpanHooks()])
    where = "end" if whole else "input" if at is None else at.key.text
    journal = project.store.start_run(_meta(project, trace, after, where, changes))
    effects = ForkEffects(plan, journal, RecordEffects(journal, hooks=agent.runtime.hooks))
    run = agent.runtime.take_up(
        journal,
        effects,
        budget=budget_of(trace, spec),
        listener=listener,
        parts_at=switch_by_task([*before, after], plan.assemblies()),
    )
    try:
        result = await agent.execute(run, changes.answer)
    except DivergenceError as error:
        run.finish(compose_result(spec, run, {"stop": crashed(error)}))
        raise
    return Fork(result=result, parent=trace.run_id, at=where, counts=effects.counts)


def _meta(project: Project, trace: Trace, after: Parts, where: str, changes: Changes) -> RunMeta:
    given = trace.meta.input if changes.text is None else {"text": whole_text(changes.text)}
    old = trace.meta
    return RunMeta(
        run_id=new_run_id(),
        agent=old.agent,
        agent_version=old.agent_version,
        started=round(time.time(), 6),
        input=given,
        input_digest=digest_of(given),
        conversation=old.conversation,
        budget=old.budget,
        parent=old.run_id,
        forked_at=where,
        changes=changes.told(),
        history=[] if where == "input" else [*old.history, header_of(trace)],
        **run_header(project, after),
    )


# -- what is changed


def _check(project: Project, trace: Trace, changes: Changes) -> None:
    """Nothing, where each change is one of something that the run used.

    Raises:
        InputError: It did not use the policy or the skill, or a change says too little.
    """
    check_answer(changes.answer)
    if changes.tool_result is not None:
        _check_plain(changes.tool_result)
    if changes.policy is not None:
        _slot_of(project, trace, changes.policy)
    if changes.adapter is not None:
        _adapter_change(trace, changes, _recorded_skills(trace))


def _check_plain(tool_result: Any) -> None:
    try:
        Plain.of(tool_result)
    except TraceError as error:
        raise InputError(f"the tool's result cannot be handed in: {error}") from error


def _changed_parts(project: Project, spec: AgentSpec, trace: Trace, changes: Changes) -> Parts:
    """The recorded versions of everything, with the changes put in."""
    if changes.model is not None and (changes.endpoint or changes.adapter or changes.base):
        raise ConfigError("a model answers everything; give it without endpoint, adapter, base")
    policies = _recorded_policies(trace)
    if changes.policy is not None:
        policies[_slot_of(project, trace, changes.policy)] = changes.policy

    @cache
    def local() -> Model:
        return changes.model or _local(project, trace, changes)

    if changes.adapter is not None or changes.base is not None:
        local()  # What is named must exist, whoever comes to need it.
    orchestrator, skill = _orchestrator(project, spec, trace, changes, local)
    assembly = Assembly(
        policies=policies,
        orchestrator=orchestrator,
        skill=skill,
        tool_model=lambda _: local(),
    )
    return assemble(project, spec, assembly)


def _recorded_policies(trace: Trace) -> dict[Slot, str]:
    """Slot to the policy version that the run used."""
    named = trace.meta.policies
    return {slot: str(named[slot]["ref"]) for slot in SLOTS if slot in named}


def _slot_of(project: Project, trace: Trace, reference: str) -> Slot:
    name = project.policies.get(reference).name
    for slot, bound in _recorded_policies(trace).items():
        if bound.partition("@")[0] == name:
            return slot
    used = ", ".join(sorted(_recorded_policies(trace).values()))
    raise InputError(f"run {trace.run_id} does not use policy {name!r}; it uses: {used}")


def _orchestrator(
    project: Project,
    spec: AgentSpec,
    trace: Trace,
    changes: Changes,
    local: Callable[[], Model],
) -> tuple[Model, str | None]:
    recorded = trace.meta.model
    endpoint = recorded.get("endpoint") if changes.endpoint is None else changes.endpoint
    chosen_locally = changes.base is not None or changes.model is not None
    if changes.endpoint is not None or (endpoint is not None and not chosen_locally):
        return project.endpoint(str(endpoint)), None
    # The skill that followed the policies then, whatever agent.yaml says now.
    return local(), str(recorded.get("skill") or spec.model.decide)


def _local(project: Project, trace: Trace, changes: Changes) -> PinnedModel:
    """The local model with the recorded adapters, one of them perhaps changed."""
    who = trace.meta.model
    if not ({"base", "endpoint"} & who.keys() or changes.base or changes.endpoint):
        raise InputError(
            f"run {trace.run_id} was answered by {who.get('model') or 'an unnamed model'}, which "
            "cannot be asked again; name an endpoint or a base, or hand in a model"
        )
    pins = _recorded_skills(trace)
    if changes.adapter is not None:
        name, version = _adapter_change(trace, changes, pins)
        if version != OFF:
            project.skills.get(f"{name}@{version}")
        pins[name] = version
    _check_digests(project, trace, changes, pins)
    return PinnedModel(_engine(project, changes.base), project.skills, pins)


def _engine(project: Project, base: str | None) -> LocalModel:
    """The project's own engine, or one on the base that is named."""
    from seamline.models.engine import LocalModel

    if base is None:
        return project.local_model
    if base not in project.bases:
        known = ", ".join(project.bases) or "none"
        raise ConfigError(f"no base {base!r} in models/bases; declared are: {known}")
    if base == project.spec.base or len(project.bases) == 1:
        return project.local_model
    return LocalModel(project.bases[base], project.skills)


def _check_digests(
    project: Project, trace: Trace, changes: Changes, pins: Mapping[str, str]
) -> None:
    """Nothing, where what is not changed is by digest what the run used."""
    for identity in _identities(trace):
        name, _, version = str(identity.get("skill") or "").partition("@")
        base = identity.get("base_digest")
        if base is not None and changes.base is None and base != project.base.digest:
            raise InputError(
                f"run {trace.run_id} was answered on base {base}, the project's is now "
                f"{project.base.digest}; say --base {project.base.name} to fork it on that"
            )
        if not version or version == OFF or pins.get(name) != version:
            continue
        digest = project.skills.get(f"{name}@{version}").spec.adapter.digest
        if identity.get("adapter_digest") not in (None, digest):
            raise InputError(
                f"run {trace.run_id} used adapter {identity['adapter_digest']} as "
                f"{name}@{version}, which is now {digest}; bring that adapter back"
            )


def _identities(trace: Trace) -> list[Mapping[str, Any]]:
    """Who answered the policies, and the skill of each tool."""
    tools = (tool.get("model") or {} for tool in trace.meta.tools.values())
    return [trace.meta.model, *tools]


def _recorded_skills(trace: Trace) -> dict[str, str]:
    """Skill to the version that the run used."""
    found = (str(one["skill"]).partition("@") for one in _identities(trace) if one.get("skill"))
    return {name: version for name, _, version in found if version}


def _adapter_change(trace: Trace, changes: Changes, pins: Mapping[str, str]) -> tuple[str, str]:
    """The skill that the change is about, and its version or `off`."""
    name, _, version = str(changes.adapter).partition("@")
    if name == OFF and not version:
        if changes.at is None:
            raise InputError("`off` needs a step; say `at`, or which skill: SKILL@off")
        name, version = _skill_at(trace, find_step(trace, changes.at)), OFF
    if name not in pins:
        raise InputError(
            f"run {trace.run_id} does not use skill {name!r}; "
            f"it uses: {', '.join(f'{n}@{v}' for n, v in pins.items()) or 'none'}"
        )
    if not version:
        raise InputError(f"adapter {changes.adapter!r} names no version; write {name}@VERSION")
    return name, version


def _skill_at(trace: Trace, step: Entry) -> str:
    request = trace.request(step)
    identity = request.get("identity") or request.get("model") if isinstance(request, dict) else {}
    name = str((identity or {}).get("skill") or "").partition("@")[0]
    if not name:
        raise InputError(f"step {step.key} asks no adapter; name a step that does")
    return name


# -- where


def _step(trace: Trace, changes: Changes) -> Entry | None:
    """The effect from which on the fork is live; None for the start of the run, or its end."""
    if changes.text is not None:
        if changes.at is not None:
            raise InputError("another input changes the run from its start; leave out `at`")
        return None
    if changes.at is not None:
        return _alone(trace, find_step(trace, changes.at))
    if changes.tool_result is not None:
        raise InputError("a tool's result needs the step of its call; say `at`")
    first = next((entry for entry in trace.entries if _concerns(trace, entry, changes)), None)
    if first is None and changes.answer is not None and trace.status == "needs_answer":
        return None
    if first is None:
        told = ", ".join(changes.told())
        raise InputError(
            f"nothing in run {trace.run_id} hangs on the change of {told}; name a step with --at"
            if told
            else "a fork needs a step or a change; say `at`, a policy, an adapter, an input"
        )
    return _alone(trace, first)


def _alone(trace: Trace, at: Entry) -> Entry:
    """The step, where nothing that its task asked before would have to stay as it was."""
    for entry in trace.entries:
        same = entry.key.path == at.key.path and entry.kind == at.kind == "model"
        if same and entry.seq < at.seq and not at.key.path.endswith("/model"):
            raise InputError(
                f"step {at.key} is not the first question of its task; fork {entry.key.text}"
            )
    return at


def _concerns(trace: Trace, entry: Entry, changes: Changes) -> bool:
    """Whether an effect would be asked otherwise after the change."""
    if entry.kind == "answer":
        return changes.answer is not None
    if entry.kind != "model":
        return False
    request = trace.request(entry)
    asked: Mapping[str, Any] = request if isinstance(request, dict) else {}
    policy = (asked.get("policy") or {}).get("name")
    skill = str((asked.get("identity") or {}).get("skill") or "").partition("@")[0]
    return (
        (changes.policy is not None and policy == changes.policy.partition("@")[0])
        or (changes.adapter is not None and skill == changes.adapter.partition("@")[0])
        or (changes.endpoint is not None and policy is not None)
        or changes.base is not None
        # Where something else is changed, a model only stands in for the recorded one.
        or (changes.model is not None and changes.told().keys() == {"model"})
    )


def _given(trace: Trace, at: Entry | None, after: Parts, changes: Changes) -> Any:
    """The result that stands in the place of the forked effect, as its kind records it.

    Raises:
        InputError: The step is no tool call, or its tool does not give such a result.
    """
    if changes.tool_result is not None:
        if at is None or at.kind not in ("tool", "retrieval"):
            raise InputError(
                f"step {at.key if at else 'input'} is no tool call, so it takes no tool's result"
            )
        name = trace.request(at)["tool"]
        if name not in after.tools:
            raise InputError(
                f"step {at.key} is a call of {name}, which {trace.meta.agent} does not bind any "
                f"more; it binds: {', '.join(after.tools)}"
            )
        after.tools[name].check_output(changes.tool_result)
        return {"value": changes.tool_result, "usage": _NOTHING_USED}
    if at is not None and at.kind == "answer":
        return changes.answer
    return None


def _stale(trace: Trace, after: Parts) -> frozenset[str]:
    recorded = trace.meta.tools
    return frozenset(
        name
        for name, tool in after.tools.items()
        if (recorded.get(name) or {}).get("digest") != tool.identity()["digest"]
    )


def _guarded(after: Parts, changes: Changes) -> frozenset[str]:
    if changes.allow_side_effects:
        return frozenset()
    return frozenset(name for name, tool in after.tools.items() if tool.side_effects)
