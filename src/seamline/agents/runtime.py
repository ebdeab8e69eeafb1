"""Opens, finds and reopens runs: where graph state meets journals, clocks and listeners."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig

from seamline.agents.budgets import BudgetedEffects, Meter, failed_usage, model_usage
from seamline.agents.events import Listener
from seamline.agents.runs import Run
from seamline.agents.spec import AgentSpec, Budget
from seamline.agents.state import RunState
from seamline.errors import InputError
from seamline.texts import is_whole, whole_text
from seamline.traces.effects import Effects, RecordEffects, usage_of
from seamline.traces.hooks import RunHooks, combine_hooks, settle_hooks
from seamline.traces.ids import new_run_id
from seamline.traces.journal import Journal, RunMeta
from seamline.traces.store import TraceStore
from seamline.traces.values import digest_of, expand

if TYPE_CHECKING:
    from seamline.agents.assembly import Parts

__all__ = ["Runtime"]

_DIGEST_CHARS = len("sha256:") + 12


class Runtime:
    """The runs of one agent that are going on in this process.

    Args:
        spec: The agent.
        store: Where journals are written.
        hooks: Told what runs do.
        meta: What every run of this agent notes in its header: policies, tools, model.
    """

    def __init__(
        self,
        *,
        spec: AgentSpec,
        store: TraceStore,
        hooks: Iterable[RunHooks],
        meta: Mapping[str, Any],
    ) -> None:
        self.spec = spec
        self.store = store
        self.hooks = tuple(hooks)
        self._combined = combine_hooks(self.hooks)
        self._meta = dict(meta)
        self._runs: dict[str, Run] = {}
        # Tells the runs of this agent from those of one whose graph holds this one.
        self.key = f"seamline_run_{uuid.uuid4().hex}"

    def open(
        self,
        text: object,
        *,
        conversation: str | None = None,
        budget: Budget | None = None,
        listener: Listener | None = None,
    ) -> Run:
        """A new run on `text`, its journal started.

        Raises:
            InputError: The budget is no `Budget`, or the conversation's identifier is no text
                that UTF-8 can hold.
            TraceError: The journal cannot be written.
        """
        if budget is not None and not isinstance(budget, Budget):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(
                f"the budget is a {type(budget).__name__}; give a Budget, e.g. "
                "budget=Budget(steps=3), or agent.spec.budget.replaced(steps=3)"
            )
        if conversation is not None and not is_whole(conversation):
            raise InputError(
                f"the conversation {conversation!r} holds half of a surrogate pair, which no "
                "store can hold; name it in plain text"
            )
        # A run keeps what it was given even where that is not fit to be worked on; what is
        # not text at all is only described, since it may not be JSON.
        kept = whole_text(text) if isinstance(text, str) else None
        given = {"text": kept} if kept is not None else {"text": None, "type": type(text).__name__}
        meta = RunMeta(
            run_id=new_run_id(),
            agent=self.spec.name,
            agent_version=self.spec.version,
            started=round(time.time(), 6),
            input=given,
            input_digest=digest_of(given),
            conversation=conversation,
            budget=(budget or self.spec.budget).model_dump(mode="json"),
            **self._meta,
        )
        return self._record(self.store.start_run(meta), budget=budget, listener=listener)

    def reopen(self, run_id: str, *, listener: Listener | None = None) -> Run:
        """A run that waits for an answer or was killed; what it did is served, not done again.

        It keeps its budget: what is left of it is part of what its policies were asked.

        Raises:
            TraceError: There is no such run, or it is over.
            InputError: It is a run of another agent.
        """
        found = self.store.run(run_id)
        self.check_own(found.run_id, found.agent)
        journal = self.store.resume_run(run_id)
        kept = journal.meta.budget
        budget = Budget.model_validate(kept) if kept else None
        return self._record(journal, budget=budget, listener=listener)

    def check_own(self, run_id: str, agent: str) -> None:
        """Nothing, where a run of `agent` is one of this agent.

        Raises:
            InputError: It is one of another.
        """
        if agent != self.spec.name:
            raise InputError(
                f"run {run_id} is one of agent {agent!r}, not of {self.spec.name!r}; go on with "
                f"`seamline run {agent} --resume {run_id}`, or project.agent({agent!r}).resume(…)"
            )

    def changed_since(self, meta: RunMeta) -> list[str]:
        """What is no longer as it was when a run with this header started."""
        now = RunMeta(run_id=meta.run_id, agent=meta.agent, started=meta.started, **self._meta)
        changed = [
            f"policy {slot}"
            for slot in sorted({*meta.policies, *now.policies})
            if meta.policies.get(slot) != now.policies.get(slot)
        ]
        changed += [
            _tool_change(name, meta.tools.get(name), now.tools.get(name))
            for name in sorted({*meta.tools, *now.tools})
            if meta.tools.get(name) != now.tools.get(name)
        ]
        if meta.model != now.model:
            changed.append("the model")
        if meta.agent_version != self.spec.version:
            changed.append("the agent's version")
        return changed

    def code_changed_since(self, meta: RunMeta) -> bool:
        """Whether a tool's code, or which tools there are, is not what a run started with."""
        now = self._meta.get("tools", {})
        return meta.tools.keys() != now.keys() or any(
            _version(meta.tools[name]) != _version(now[name]) for name in now
        )

    def begin(self, state: RunState, config: RunnableConfig) -> Run:
        """The run that `open` made for this execution; else, as a subgraph, a new one."""
        run_id = (config.get("configurable") or {}).get(self.key)
        run = self._runs.get(run_id) if run_id is not None else None
        if run is None or run.begun:
            run = self.open(state.get("text", ""))
        run.begun = True
        return run

    def get(self, run_id: str) -> Run:
        """A run that is going on; one that waited for an answer is taken up from its journal.

        Raises:
            TraceError: There is no such run, or it is over.
        """
        run = self._runs.get(run_id)
        if run is None:
            run = self._restored(self.reopen(run_id))
        return run

    def close(self, run: Run) -> None:
        """Forget a run whose journal is sealed."""
        self._runs.pop(run.run_id, None)

    async def settle(self) -> None:
        """Give hooks that work in the background a moment to hand on what they were told."""
        await settle_hooks(self.hooks)

    def _record(self, journal: Journal, *, budget: Budget | None, listener: Listener | None) -> Run:
        effects = RecordEffects(journal, hooks=self.hooks)
        return self.take_up(journal, effects, budget=budget or self.spec.budget, listener=listener)

    def take_up(
        self,
        journal: Journal,
        effects: Effects,
        *,
        budget: Budget,
        listener: Listener | None = None,
        parts_at: Callable[[str], Parts] | None = None,
    ) -> Run:
        """A run on effects of any kind: live ones, those of a replay, those of a fork."""
        meter = Meter(budget)
        run = Run(
            journal=journal,
            effects=BudgetedEffects(effects, meter),
            meter=meter,
            hooks=self._combined,
            clock=time.time,
            listener=listener,
            parts_at=parts_at,
        )
        self._runs[run.run_id] = run
        self._combined.on_run_start(run.meta)
        return run

    def _restored(self, run: Run) -> Run:
        """The run with contents and meter as they were.

        A graph that LangGraph takes up again goes on in the node that waited; the nodes before
        it do not run again, so what they put beside the state comes from the journal.
        """
        run.begun = True
        run.contents.put(run.meta.input["text"])
        for entry in run.journal.past:
            if entry.kind == "clock":
                run.meter.tick(float(entry.result))
            if entry.error is not None:
                if entry.kind == "model":
                    run.meter.count(failed_usage(usage_of(entry)))
                continue
            if entry.kind == "model":
                run.meter.count(model_usage(expand(entry.result, run.journal.read_blob)))
            elif entry.kind in ("tool", "retrieval"):
                result = expand(entry.result, run.journal.read_blob)
                run.contents.put(result["value"])
        return run


def _version(tool: Any) -> str:
    """A tool's version and the beginning of the digest of its code; other headers as they are."""
    if not isinstance(tool, Mapping):
        return str(tool)
    return f"{tool['version']}, {tool['digest'][:_DIGEST_CHARS]}"


def _tool_change(name: str, was: Any, now: Any) -> str:
    if was is None or now is None:
        return f"tool {name} ({'not bound then' if was is None else 'not bound now'})"
    if _version(was) == _version(now):
        return f"the model of tool {name}"
    return f"tool {name} ({_version(was)} then, {_version(now)} now)"
