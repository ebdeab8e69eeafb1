"""What each node of the graph does; no word of any domain stands here.

Every node takes the state and gives the fields that change. A deliberate error becomes a
`stop` in the state, so that each run reaches the node `finish` and leaves a whole trace.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.types import interrupt

from seamline.agents.assembly import Parts
from seamline.agents.bindings import (
    MISSING,
    Reference,
    dig,
    references,
    resolve_binding,
    stale_after_answer,
)
from seamline.agents.decisions import Case, Decision
from seamline.agents.facts import fact_lines
from seamline.agents.outcome import (
    broken_off,
    compose_result,
    crashed,
    outcome_counts,
    pick_output,
)
from seamline.agents.review import review_output
from seamline.agents.runs import Run
from seamline.agents.spec import AgentSpec, InputLimits
from seamline.agents.state import RunState, ToolState
from seamline.errors import (
    BudgetExceededError,
    DivergenceError,
    InputError,
    SeamlineError,
    ToolCallError,
    ToolError,
    TraceError,
)
from seamline.tools.contract import FactValue, PartialOutput
from seamline.traces.hooks import NodeInfo
from seamline.traces.values import digest_of

__all__ = ["Nodes", "RunDirectory"]

Update = dict[str, Any]
Body = Callable[[Run, RunState], Awaitable[Update]]
Node = Callable[[RunState, RunnableConfig], Awaitable[Update]]

FINISH = "finish"
ALLOW, FLAG, REFUSE = "allow", "flag", "refuse"


class RunDirectory(Protocol):
    """Finds the live side of a run."""

    def begin(self, state: RunState, config: RunnableConfig) -> Run:
        """The run that was opened for this execution, or a new one."""
        ...

    def get(self, run_id: str) -> Run:
        """A run that goes on. Raises `TraceError` where there is none."""
        ...

    def close(self, run: Run) -> None:
        """Forget the run; its journal is sealed."""
        ...


class Nodes:
    """The nodes of one agent, for its own graph or for a `graph.py` with another topology."""

    def __init__(
        self,
        *,
        spec: AgentSpec,
        parts: Parts,
        runs: RunDirectory,
    ) -> None:
        self.spec = spec
        self._parts = parts
        self._runs = runs

    def parts(self, run: Run, path: str) -> Parts:
        """The decider and the tools that the task at a path is done with."""
        return self._parts if run.parts_at is None else run.parts_at(path)

    # -- how a node runs

    def node(self, name: str, body: Body | None = None) -> Node:
        """The LangGraph node `name`: `body`, or the node of that name here.

        It tells listeners and hooks, and turns a deliberate error into a stop.
        """
        work = body or getattr(self, f"_{name}")

        async def run_node(state: RunState, config: RunnableConfig) -> Update:
            if name == "begin":
                run = self._runs.begin(state, config)
            else:
                run = self._runs.get(state["run"])
                run.meter.steps = state.get("steps", 0)
            info = NodeInfo(path=_node_path(name, state), role=name)
            run.tell("node_started", name)
            run.hooks.on_node_start(run.meta, info)
            failed: BaseException | None = None
            try:
                update: Update = await work(run, state)
            except GraphBubbleUp:
                raise
            except BudgetExceededError as error:
                failed = error
                update = _stop("budget_exceeded", error)
            except InputError as error:
                failed = error
                update = _stop("refused", error)
            except SeamlineError as error:
                failed = error
                if isinstance(error, TraceError):
                    # A run that cannot be recorded is no run.
                    self._abandon(run, state, error)
                    raise
                update = _stop("failed", error)
            except BaseException as error:
                failed = error
                self._abandon(run, state, error)
                raise
            finally:
                run.hooks.on_node_end(run.meta, info, failed)
            detail = update.pop("detail", {})
            if failed is not None:
                detail = {"stopped": str(failed)}
            run.tell("node_ended", name, **detail)
            return {"run": run.run_id, **update}

        run_node.__name__ = name
        return run_node

    def _abandon(self, run: Run, state: RunState, error: BaseException) -> None:
        """Seal the trace of a run that a bug or a cancellation ends."""
        if isinstance(error, DivergenceError):
            self._runs.close(run)
            return
        with contextlib.suppress(TraceError):
            run.finish(compose_result(self.spec, run, {**state, "stop": crashed(error)}))
        self._runs.close(run)

    async def _decide(
        self,
        run: Run,
        slot: str,
        path: str,
        facts: Mapping[str, FactValue],
        *,
        about: Mapping[str, FactValue] | None = None,
        **variables: Any,
    ) -> Decision:
        """What one policy says of the facts; a `say` may also name what they are `about`."""
        said = {**(about or {}), **facts}
        case = Case(variables={"facts": fact_lines(facts), **variables}, facts=said)
        [decision] = await self.parts(run, path).decider.decide(run, slot, path, [case])
        return decision

    # -- before the loop

    async def _begin(self, run: Run, _: RunState) -> Update:
        run.meter.tick(await run.effects.now("begin"))
        given = run.meta.input
        text = given["text"]
        fresh: Update = {
            "text": "",
            "document": run.contents.put(text),
            "checks": {},
            "flags": [],
            "reasons": [],
            "tools": {name: _untouched() for name in self.spec.tools},
            "plans": 0,
            "steps": 0,
            "last_call": None,
            "last_error": None,
            "halt": None,
            "outcome": None,
            "outcome_facts": {},
            "reviews": 0,
            "review_counts": {},
            "needs_review": False,
            "item": None,
            "question": None,
            "questions": 0,
            "given": None,
            "message": "",
            "stop": None,
        }
        try:
            check_text(text, self.spec.input, kind=given.get("type", "str"))
        except InputError as error:
            fresh |= _stop("refused", error)
        return fresh

    async def _guard_input(self, run: Run, state: RunState) -> Update:
        decider = self.parts(run, "guard_input").decider
        if not decider.has("guard_input"):
            return {}
        text = run.contents.get(state["document"])
        checks = decider.checks("guard_input", text)
        decision = await self._decide(run, "guard_input", "guard_input", checks)
        return {"checks": checks, **_guarded(decision, state)}

    # -- the loop

    async def _plan(self, run: Run, state: RunState) -> Update:
        number = state["plans"] + 1
        facts = self.state_facts(run, state)
        checks = fact_lines(state["checks"])
        decision = await self._decide(run, "plan", f"plan/{number}", facts, checks=checks)
        step = None if decision.value == FINISH else decision.value
        return {"plans": number, "step": step, "detail": decision.told()}

    async def _choose(self, run: Run, state: RunState) -> Update:
        facts = self.state_facts(run, state)
        path = f"choose/{state['plans']}"
        decision = await self._decide(run, "choose", path, facts, step=state["step"])
        if decision.value is None:
            reason = f"no tool that the choose policy names fits the step {state['step']!r}"
            return {"tool": None, "halt": reason, "detail": decision.told()}
        return {"tool": decision.value, "detail": decision.told()}

    async def _act(self, run: Run, state: RunState) -> Update:
        name = state["tool"]
        if name is None or name not in self.spec.tools:
            raise ToolError(
                f"the choose policy named the tool {name!r}, which {self.spec.name} does not "
                f"bind; it binds: {', '.join(self.spec.tools)}"
            )
        run.meter.take_step()
        before = state["tools"][name]
        number = before["runs"] + 1
        path = f"tool:{name}/{number}"
        tool = self.parts(run, path).tools[name]
        update: Update = {"steps": run.meter.steps}
        try:
            values = self.bind(run, state, name, path)
            call = digest_of({"tool": name, "input": values})
            if call == state["last_call"]:
                again = f"the plan asked for {name} with the same input twice in a row"
                return {**update, "halt": again, "detail": {"halt": again}}
            update["last_call"] = call
            output = await tool.call(run, path, values)
            typed = tool.parse_output(output)
            facts = tool.facts(typed)
        except ToolCallError as error:
            update.setdefault("last_call", digest_of({"tool": name, "input": str(error)}))
            why = str(error).removeprefix(f"tool {name} failed: ")
            failed: ToolState = {**before, "status": "failed", "runs": number, "error": why}
            if update["last_call"] == state["last_call"]:
                update["halt"] = f"the plan asked for {name} again after it had failed"
            return {
                **update,
                "tools": {**state["tools"], name: failed},
                "reasons": [*state["reasons"], f"{name} failed: {why}"],
                "last_error": str(error),
                "detail": {"tool": name, "failed": str(error)},
            }
        done: ToolState = {
            "status": "done",
            "runs": number,
            "output": run.contents.put(output),
            "facts": facts,
            "error": None,
        }
        update |= {
            "tools": {**state["tools"], name: done},
            "detail": {"tool": name, **facts},
        }
        if run.meter.exceeded is not None:
            update |= _stop("budget_exceeded", BudgetExceededError(run.meter.exceeded))
            update["detail"]["stopped"] = run.meter.exceeded
        if isinstance(typed, PartialOutput) and typed.stopped:
            update["reasons"] = [*state["reasons"], f"{name} {typed.stopped}"]
        return update

    def bind(self, run: Run, state: RunState, name: str, path: str) -> dict[str, Any]:
        """The input of a tool for its call at `path`, from its bindings in agent.yaml.

        Raises:
            ToolCallError: A required value comes from a tool that has not run, or has failed.
        """
        parts = self.parts(run, path)

        def lookup(reference: Reference) -> Any:
            if reference.kind == "input":
                return run.contents.get(state["document"])
            if reference.kind == "answer":
                return MISSING if state["given"] is None else state["given"]
            if reference.kind == "policy":
                return parts.decider.value(reference.source, reference.path[0])
            source = state["tools"][reference.source]
            if source["status"] != "done" or source["output"] is None:
                return MISSING
            return dig(run.contents.get(source["output"]), reference.path, reference)

        fields = parts.tools[name].input_fields()
        bound = {
            field: resolve_binding(value, lookup)
            for field, value in self.spec.tools[name].input.items()
        }
        lacking = [key for key, value in bound.items() if value is MISSING and fields.get(key)]
        if lacking:
            sources = ", ".join(str(self.spec.tools[name].input[key]) for key in lacking)
            asked = [ref for key in lacking for ref in references(self.spec.tools[name].input[key])]
            causes = {
                ref.source: state["tools"][ref.source]["error"]
                for ref in asked
                if ref.kind == "tool" and state["tools"][ref.source]["status"] == "failed"
            }
            why = "; ".join(f"{tool} failed: {error}" for tool, error in causes.items())
            if why:
                raise ToolCallError(f"{name} needs {sources}, but {why}")
            raise ToolCallError(
                f"{name} needs {sources}, which is not there yet; "
                "the plan policy asked for it too early"
            )
        return {key: value for key, value in bound.items() if value is not MISSING}

    def state_facts(self, run: Run, state: RunState) -> dict[str, FactValue]:
        """What the plan and choose policies get to know of the run."""
        tools = state["tools"]
        statuses: dict[str, FactValue] = {name: tools[name]["status"] for name in tools}
        # What a tool tells stands behind the statuses, and cannot say that a tool has run.
        facts = statuses | tool_facts(state) | statuses
        failed = [name for name in tools if tools[name]["status"] == "failed"]
        facts["failed tools"] = ", ".join(failed) or "none"
        facts["answer from a person"] = "none" if state["given"] is None else "given"
        facts["steps left"] = run.meter.steps_left
        return facts

    # -- after the loop

    async def _review(self, run: Run, state: RunState) -> Update:
        name = pick_output(self.spec, state)
        if name is None:
            reasons = state["reasons"]
            if not broken_off(state):
                wanted = " or ".join(self.spec.output)
                reasons = [*reasons, f"the plan finished before {wanted} had run; no output"]
            return {"outcome": None, "reasons": reasons}
        output = run.contents.get(state["tools"][name]["output"] or "")
        number = state["reviews"] + 1
        path = f"review/{number}"
        parts = self.parts(run, path)
        asking = state["questions"] < self.spec.questions and parts.decider.has("clarify")
        reviewed = await review_output(
            run, parts.decider, parts.tools[name], output, path=path, asking=asking
        )
        reasons = [*state["reasons"], *reviewed.reasons]
        return {
            "outcome": run.contents.put(reviewed.output),
            "outcome_facts": reviewed.facts,
            "needs_review": reviewed.needs_review and not reviewed.item,
            "review_counts": reviewed.counts,
            "reviews": number,
            "item": reviewed.item,
            "reasons": state["reasons"] if reviewed.item else list(dict.fromkeys(reasons)),
            "detail": reviewed.counts,
        }

    async def _clarify(self, run: Run, state: RunState) -> Update:
        item = state["item"] or {"facts": {}}
        number = state["questions"] + 1
        decision = await self._decide(
            run, "clarify", f"clarify/{number}", item["facts"], about=item.get("about")
        )
        question = decision.say or decision.value
        return {
            **_unsaid(decision, state),
            "question": question,
            "questions": number,
            "detail": {"question": question},
        }

    async def _ask(self, run: Run, state: RunState) -> Update:
        """Waits for a person: the answer given ahead, or a LangGraph interrupt."""
        question = state["question"]
        path = f"ask/{state['questions']}"

        async def live() -> str:
            said = state.get("person_answer")
            if said is None:
                said = interrupt({"question": question, "run_id": run.run_id})
            return str(said)

        try:
            given = str(await run.effects.perform(path, "answer", {"question": question}, live))
        except GraphBubbleUp:
            run.finish(compose_result(self.spec, run, state, status="needs_answer"))
            self._runs.close(run)
            raise
        run.meter.tick(await run.effects.now(path), waited=True)
        inputs = {name: binding.input for name, binding in self.spec.tools.items()}
        stale = stale_after_answer(inputs)
        tools = {
            name: _untouched(tool["runs"]) if name in stale else tool
            for name, tool in state["tools"].items()
        }
        return {
            "given": given,
            "person_answer": None,
            "question": None,
            "item": None,
            "tools": tools,
            "last_call": None,
            "halt": None,
            "detail": {"answer": "given"},
        }

    async def _answer(self, run: Run, state: RunState) -> Update:
        if broken_off(state):
            # There is nothing to say of an outcome; the result says what went wrong.
            return {}
        facts = self.outcome_facts(state)
        about = tool_facts(state)
        decision = await self._decide(run, "answer", "answer", facts, about=about)
        message = decision.say or decision.value or ""
        return {**_unsaid(decision, state), "message": message, "detail": decision.told()}

    def outcome_facts(self, state: RunState) -> dict[str, FactValue]:
        """What the answer policy and the output guard get to know of the outcome."""
        facts = dict(state["outcome_facts"] if state["outcome"] else tool_facts(state))
        facts |= outcome_counts(state)
        facts["answer from a person"] = "none" if state["given"] is None else "given"
        facts["stopped early"] = state["halt"] is not None
        return facts

    async def _guard_output(self, run: Run, state: RunState) -> Update:
        decider = self.parts(run, "guard_output").decider
        if not decider.has("guard_output"):
            return {}
        checks = decider.checks("guard_output", state["message"])
        facts = {**self.outcome_facts(state), **checks}
        decision = await self._decide(run, "guard_output", "guard_output", facts)
        return _guarded(decision, state)

    async def _finish(self, run: Run, state: RunState) -> Update:
        run.meter.tick(await run.effects.now("finish"))
        result = compose_result(self.spec, run, state)
        run.finish(result)
        self._runs.close(run)
        return {"result": result.model_dump(mode="json"), "detail": {"status": result.status}}


def check_text(text: str | None, limits: InputLimits, *, kind: str = "str") -> None:
    """Nothing, where the text is one that an agent can work on.

    `kind` is the type of what was given; where it was no text, `text` is None.

    Raises:
        InputError: It is empty, binary or too long; the message names the fix.
    """
    if text is None:
        raise InputError(f"expected a text, got a value of type {kind}; decode it first")
    if not text.strip():
        raise InputError(f"the text is empty; give {limits.description}")
    if len(text) > limits.max_chars:
        raise InputError(
            f"the text has {len(text):,} characters, at most {limits.max_chars:,} are taken; "
            "split it, or raise `input.max_chars` in agent.yaml"
        )
    if "\x00" in text:
        raise InputError("the text holds NUL characters and looks binary; give plain text")
    words = len(text.split())
    if words > limits.max_words:
        raise InputError(
            f"the text has {words:,} words, at most {limits.max_words:,} are taken; "
            "split it, or raise `input.max_words` in agent.yaml"
        )


def tool_facts(state: RunState) -> dict[str, FactValue]:
    """What the tools that have run say of what they found."""
    facts: dict[str, FactValue] = {}
    for tool in state["tools"].values():
        facts |= tool["facts"] if tool["status"] == "done" else {}
    return facts


def _untouched(runs: int = 0) -> ToolState:
    return {"status": "not run", "runs": runs, "output": None, "facts": {}, "error": None}


def _stop(status: str, error: SeamlineError) -> Update:
    reason = {"status": status, "reason": str(error), "error_type": type(error).__name__}
    return {"stop": reason}


def _unsaid(decision: Decision, state: RunState) -> Update:
    """A note for people where a decision's sentence could not be written; its choice stands."""
    if not decision.unsaid:
        return {}
    return {"reasons": [*state["reasons"], decision.unsaid]}


def _guarded(decision: Decision, state: RunState) -> Update:
    """What a guard's decision changes: nothing, a flag, or the end of the run."""
    why = decision.say or decision.because or decision.policy
    told: Update = {**_unsaid(decision, state), "detail": decision.told()}
    if decision.value == REFUSE:
        return {**told, "stop": {"status": "refused", "reason": why, "error_type": None}}
    if decision.value == FLAG:
        return {**told, "flags": [*state["flags"], why]}
    return told


def _node_path(name: str, state: RunState) -> str:
    if name == "plan":
        return f"plan/{state.get('plans', 0) + 1}"
    if name == "choose":
        return f"choose/{state.get('plans', 0)}"
    if name == "act":
        tool = state.get("tool")
        runs = state["tools"][tool]["runs"] if tool in state["tools"] else 0
        return f"tool:{tool}/{runs + 1}"
    if name == "review":
        return f"review/{state.get('reviews', 0) + 1}"
    if name == "clarify":
        return f"clarify/{state.get('questions', 0) + 1}"
    return f"ask/{state.get('questions', 0)}" if name == "ask" else name
