"""The static check of a project: what would go wrong in a run, found without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from seamline.agents.assembly import bind_policies, bind_tools
from seamline.agents.bindings import Reference, waiting_in_a_circle, wrong_constants
from seamline.agents.build import agent_spec, check_bindings
from seamline.agents.nodes import ALLOW, FINISH, FLAG, REFUSE
from seamline.agents.spec import AgentSpec
from seamline.errors import SeamlineError
from seamline.policies.model import Policy

if TYPE_CHECKING:
    from seamline.agents.tooling import AgentTool
    from seamline.project import Project

__all__ = ["Finding", "check_project", "check_skills"]

_GIVEN = {"plan": {"facts", "checks"}, "choose": {"facts", "step"}}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong (`error`) or odd (`warning`), and where."""

    level: Literal["error", "warning"]
    where: str
    message: str


def check_project(project: Project) -> list[Finding]:
    """Everything that is wrong or odd in a project, errors first."""
    found = [
        *_declarations(project),
        *_policies(project),
        *_skills(project),
        *_tools(project),
    ]
    specs: list[AgentSpec | None] = []
    told = {one.message for one in found}
    for name in project.agents():
        findings, spec = _agent(project, name)
        # What stands with its own file is not told again with each agent that uses it.
        found += [one for one in findings if one.message not in told]
        specs.append(spec)
    if not specs:
        found.append(_warning("agents", "the project has no agent; add agents/<name>/agent.yaml"))
    found += _unbound_tools(project, specs)
    return sorted(dict.fromkeys(found), key=lambda one: one.level != "error")


def _unbound_tools(project: Project, specs: Sequence[AgentSpec | None]) -> Iterator[Finding]:
    """Nothing while an agent cannot be read (None): it may bind any of them."""
    read = [spec for spec in specs if spec is not None]
    if len(read) < len(specs):
        return
    bound = {name for spec in read for name in spec.tools}
    for name in project.tools.names():
        if name not in bound:
            yield _warning(
                f"tools/{name}", "no agent binds this tool; bind it in an agent.yaml or delete it"
            )


def _error(where: str, message: object) -> Finding:
    return Finding(level="error", where=where, message=str(message))


def _warning(where: str, message: object) -> Finding:
    return Finding(level="warning", where=where, message=str(message))


def _try(where: str, load: Callable[[], object]) -> list[Finding]:
    try:
        load()
    except SeamlineError as error:
        return [_error(where, error)]
    return []


def _declarations(project: Project) -> list[Finding]:
    return [
        *_try("seamline.yaml", lambda: project.spec),
        *_try("models/bases", lambda: project.bases),
        *_try("models/endpoints", lambda: project.endpoints),
    ]


def _policies(project: Project) -> list[Finding]:
    """Edited, missing and invalid versions are errors; drafts are only told."""
    store = project.policies
    drafts: set[str] = set()
    try:
        for name in store.names():
            locked = store.locked(name)
            drafts |= {str(store.root / name / f"{v}.md") for v in _versions(project, name)
                       if v not in locked}  # fmt: skip
    except SeamlineError as error:
        return [_error("policies", error)]
    strays = [
        _warning(
            _short(project, str(file)),
            "nothing reads this file; a version of a policy is a file such as 1.0.0.md, its "
            "examples are .jsonl: rename it, or move it out of the policy's folder",
        )
        for file in sorted(store.root.glob("*/*/*"))
        if file.is_file() and file.suffix not in (".md", ".jsonl") and file.name[0] != "."
    ]
    return strays + [
        (_warning if one.path in drafts and "is not in" in one.message else _error)(
            _short(project, one.path), one.message
        )
        for one in store.verify()
    ]


def _versions(project: Project, name: str) -> list[str]:
    try:
        return project.policies.versions(name)
    except SeamlineError:
        return []


def _short(project: Project, path: str) -> str:
    return path.removeprefix(f"{project.root}/")


def _tools(project: Project) -> list[Finding]:
    """Each tool that does not load, with the file that is wrong."""
    found: list[Finding] = []
    for name in project.tools.names():
        try:
            project.tools.get(name)
        except SeamlineError as error:
            declaration = project.root / "tools" / name / "tool.yaml"
            at_fault = "tool.yaml" if str(declaration) in str(error) else "tool.py"
            found.append(_error(f"tools/{name}/{at_fault}", error))
    return found


def _skills(project: Project) -> list[Finding]:
    try:
        checked = check_skills(project)
    except SeamlineError as error:
        return [_error("models/bases", error)]
    return [
        _error(f"models/skills/{reference.replace('@', '/')}", problem)
        for reference, problem in checked
        if problem
    ]


def check_skills(project: Project) -> list[tuple[str, str]]:
    """Each skill, and why it does not hold together or fit the project's base, if it does not.

    Raises:
        ConfigError: The project does not say which base it runs.
    """
    from seamline.models.skills import BaseRef

    references = [
        f"{name}@{version}"
        for name in project.skills.names()
        for version in project.skills.versions(name)
    ]
    if not references:
        return []
    base = project.base
    expected = BaseRef(
        name=base.name,
        digest=base.digest,
        tokenizer_digest=base.tokenizer_digest,
        chat_template_digest=base.chat_template_digest,
    )
    checked: list[tuple[str, str]] = []
    for reference in references:
        problem = ""
        try:
            project.skills.get(reference).check(expected)
        except SeamlineError as error:
            problem = str(error)
        checked.append((reference, problem))
    return checked


def _agent(project: Project, name: str) -> tuple[list[Finding], AgentSpec | None]:
    where = f"agents/{name}/agent.yaml"
    try:
        spec = agent_spec(project, name)
    except SeamlineError as error:
        return [_error(where, error)], None
    found = _models(project, spec, where)
    policies: dict[str, Policy] = {}
    unbound: list[Finding] = []
    for slot, reference in spec.policies.items():
        try:
            policies |= bind_policies(project, spec.name, {slot: reference})
        except SeamlineError as error:
            unbound.append(_error(where, error))
    found += [
        *unbound,
        *(one for slot, policy in policies.items() for one in _policy(slot, policy)),
    ]
    unloaded = [one for tool in spec.tools for one in _try(where, partial(project.tools.get, tool))]
    if unbound or unloaded:
        return [*found, *unloaded], spec
    try:
        tools = bind_tools(project, spec, lambda _: project.local_model)
        check_bindings(spec, policies, tools)
    except SeamlineError as error:
        return [*found, _error(where, error)], spec
    found += [*_tool_skills(project, tools), *_bindings(project, spec, policies, where)]
    if spec.graph is None:
        found += [*_plan(policies["plan"]), *_choose(spec, policies["choose"], where)]
    elif not (project.root / "agents" / name / spec.graph).is_file():
        found.append(_error(where, f"`graph` names {spec.graph}, which is not beside agent.yaml"))
    return found, spec


def _models(project: Project, spec: AgentSpec, where: str) -> list[Finding]:
    if spec.model.orchestrator != "local":
        return _try(where, lambda: project.endpoint(spec.model.orchestrator))
    return _try(where, lambda: project.skills.get(spec.model.decide))


def _tool_skills(project: Project, tools: dict[str, AgentTool]) -> list[Finding]:
    return [
        finding
        for name, tool in tools.items()
        if tool.skill is not None
        for finding in _try(f"tools/{name}/tool.yaml", partial(project.skills.get, tool.skill))
    ]


def _bindings(
    project: Project, spec: AgentSpec, policies: Mapping[str, Policy], where: str
) -> Iterator[Finding]:
    """Inputs that no run could give."""
    tools = {name: project.tools.get(name) for name in spec.tools}
    bindings = {name: binding.input for name, binding in spec.tools.items()}
    circle = waiting_in_a_circle(bindings, {n: tool.input_fields() for n, tool in tools.items()})
    if circle:
        waits = ", ".join(f"{name} needs {reference}" for name, reference in circle)
        yield _error(
            where,
            f"agent {spec.name}: {waits}, so {'it' if len(circle) == 1 else 'none of them'} can "
            "never run; bind one of these inputs to something else",
        )

    def value_of(reference: Reference) -> object:
        return policies[reference.source].values[reference.path[0]]

    for name, tool in tools.items():
        wrong = wrong_constants(bindings[name], tool.Input, value_of)
        if wrong:
            yield _error(where, f"agent {spec.name}: {name} cannot take its input: {wrong}")


def _policy(slot: str, policy: Policy) -> Iterator[Finding]:
    """What a policy needs is what its slot gives, and what it says is what a node knows."""
    given = _GIVEN.get(slot, {"facts"})
    needed = set(policy.input_schema.get("required", []))
    if needed - given:
        yield _error(
            policy.path,
            f"{policy.ref} needs the variables {', '.join(sorted(needed - given))}; "
            f"the slot {slot} gives: {', '.join(sorted(given))}",
        )
    if policy.kind == "guard":
        odd = set(policy.choices) - {ALLOW, FLAG, REFUSE}
        if odd:
            yield _error(
                policy.path,
                f"{policy.ref} answers {', '.join(sorted(odd))}; "
                f"a guard answers {ALLOW}, {FLAG} or {REFUSE}",
            )


def _plan(plan: Policy) -> Iterator[Finding]:
    reached = {rule.then for rule in plan.rules} | {plan.otherwise}
    for step in plan.choices:
        if step not in reached:
            yield _warning(plan.path, f"{plan.ref}: no rule leads to the step {step!r}")
    if FINISH not in reached:
        yield _error(
            plan.path,
            f"{plan.ref} never says {FINISH!r}, so a run ends only by its budget; "
            f"add a rule, or `otherwise: {FINISH}`",
        )


def _choose(spec: AgentSpec, choose: Policy, where: str) -> Iterator[Finding]:
    for name in spec.tools:
        if name not in choose.tools:
            what = "the output tool" if name in spec.output else "the tool"
            yield _warning(where, f"{choose.ref} does not name {what} {name}; nothing can reach it")
    if not set(spec.output) & set(choose.tools):
        yield _error(
            where,
            f"{choose.ref} names none of the output tools {', '.join(spec.output)}; "
            "no run can give an output",
        )
