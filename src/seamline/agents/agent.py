"""The facade: run an agent, stream it, run many, answer what it asked, embed its graph."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from seamline.agents.bridge import iterate, wait_for
from seamline.agents.events import AgentEvent, Listener
from seamline.agents.nodes import Nodes
from seamline.agents.outcome import compose_result, crashed, unrecorded
from seamline.agents.recorded import RecordedRun
from seamline.agents.result import AgentResult
from seamline.agents.runs import Run
from seamline.agents.runtime import Runtime
from seamline.agents.spec import AgentSpec, Budget
from seamline.errors import DivergenceError, InputError, TraceError
from seamline.texts import is_whole

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.graph.state import CompiledStateGraph

    from seamline.agents.graph import AgentGraph
    from seamline.project import Project
    from seamline.traces.trace import Trace

__all__ = ["Agent", "check_answer"]


class Agent:
    """One agent of a project, ready to run; `Project.agent` makes it.

    Example:
        >>> result = project.agent("icd10_coder").run("Type 2 diabetes, well controlled.")
    """

    def __init__(
        self,
        *,
        project: Project,
        nodes: Nodes,
        runtime: Runtime,
        topology: Callable[[Nodes], AgentGraph],
    ) -> None:
        self._project = project
        self._nodes = nodes
        self.runtime = runtime
        self._topology = topology

    @property
    def spec(self) -> AgentSpec:
        """What `agent.yaml` says."""
        return self.runtime.spec

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.spec.name

    def __repr__(self) -> str:
        return f"Agent({self.name!r}, version={self.spec.version!r})"

    # -- one run

    async def arun(
        self,
        text: str,
        *,
        answer: str | None = None,
        on_progress: Listener | None = None,
        conversation: str | None = None,
        budget: Budget | None = None,
    ) -> AgentResult:
        """The result of one run on a text.

        Args:
            text: What to work on. A text that cannot be worked on is refused, not raised.
            answer: Given to the question the agent may ask, instead of waiting for a person.
            on_progress: Called with each event, in the task that runs.
            conversation: An identifier that groups runs in the trace store.
            budget: Instead of the agent's own.

        Raises:
            InputError: The answer is empty, or the budget is no `Budget`.
            TraceError: The run cannot be recorded.
        """
        check_answer(answer)
        run = self.runtime.open(
            text, conversation=conversation, budget=budget, listener=on_progress
        )
        return await self.execute(run, answer)

    def run(
        self,
        text: str,
        *,
        answer: str | None = None,
        on_progress: Listener | None = None,
        conversation: str | None = None,
        budget: Budget | None = None,
    ) -> AgentResult:
        """`arun` for sync callers; may also be called where an event loop runs, and blocks it."""
        return wait_for(
            self.arun(
                text,
                answer=answer,
                on_progress=on_progress,
                conversation=conversation,
                budget=budget,
            )
        )

    async def aresume(
        self,
        run_id: str,
        answer: str | None = None,
        *,
        on_progress: Listener | None = None,
    ) -> AgentResult:
        """The result of a run that asked a question or was killed, gone on with.

        What the run did before is served from its journal, and what comes now is recorded in
        it, under the budget that the run began with. This works in another process, and another
        day. A tool that was at work when the run was killed is called again.

        Args:
            run_id: The run.
            answer: A person's answer to what the run asked. A run that was killed needs none;
                one that is given is kept for a question to come.
            on_progress: As for `arun`.

        Raises:
            TraceError: There is no such run, or it is still running.
            InputError: It is one of another agent, it is over, its question is not answered, or
                the agent has changed.
            DivergenceError: What it did before does not come out as it did; it waits on.
        """
        before = self._check_resumable(run_id, answer)
        run = self.runtime.reopen(run_id, listener=on_progress)
        try:
            return await self.execute(run, answer)
        except DivergenceError:
            if before.outcome is not None:
                run.journal.finish(before.outcome)
            raise

    def resume(
        self,
        run_id: str,
        answer: str | None = None,
        *,
        on_progress: Listener | None = None,
    ) -> AgentResult:
        """`aresume` for sync callers."""
        return wait_for(self.aresume(run_id, answer, on_progress=on_progress))

    def trace(self, run_id: str) -> RecordedRun:
        """A recorded run of this agent's store, by its id, a beginning of it, or `last`.

        Raises:
            TraceError: There is no such run, or its journal is damaged.
        """
        return RecordedRun.of(self.runtime.store.trace(run_id), self._project)

    # -- streams and batches

    async def astream(
        self,
        text: str,
        *,
        answer: str | None = None,
        conversation: str | None = None,
        budget: Budget | None = None,
    ) -> AsyncIterator[AgentEvent]:
        """Each event of a run as it happens; the last has kind `final` and the result.

        Leaving the loop early cancels the run; its trace is kept.
        """
        events: asyncio.Queue[AgentEvent | None] = asyncio.Queue()
        work = asyncio.ensure_future(
            self.arun(
                text,
                answer=answer,
                on_progress=events.put_nowait,
                conversation=conversation,
                budget=budget,
            )
        )
        work.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            result = await work
            yield AgentEvent(kind="final", run_id=result.run_id, node="", result=result)
        finally:
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    def stream(
        self,
        text: str,
        *,
        answer: str | None = None,
        conversation: str | None = None,
        budget: Budget | None = None,
    ) -> Iterator[AgentEvent]:
        """`astream` for sync callers."""
        return iterate(self.astream(text, answer=answer, conversation=conversation, budget=budget))

    async def abatch(
        self, inputs: Sequence[str], *, concurrency: int = 4, conversation: str | None = None
    ) -> list[AgentResult]:
        """One result an input, in the order of the inputs.

        An input that is refused or fails gives a result that says so; the others go on. So does
        one whose run a bug ends, or cannot be recorded, where `arun` raises; a run that could
        not even be opened has an empty `run_id`.

        Raises:
            InputError: `concurrency` is less than 1, `inputs` is one text, or the conversation's
                identifier is no text.
        """
        if concurrency < 1:
            raise InputError(f"concurrency is {concurrency}; give 1 or more")
        if isinstance(inputs, str | bytes):
            raise InputError(
                f"`inputs` is one {type(inputs).__name__}; give a list of texts: [text]"
            )
        slots = asyncio.Semaphore(concurrency)

        async def one(text: str) -> AgentResult:
            async with slots:
                run: Run | None = None
                try:
                    run = self.runtime.open(text, conversation=conversation)
                    return await self.execute(run, None)
                except InputError:
                    raise
                except Exception as error:
                    if run is not None and run.result is not None:
                        return self._with_source(run, run.result)
                    return unrecorded(self.spec, "" if run is None else run.run_id, error)

        return list(await asyncio.gather(*(one(text) for text in inputs)))

    def batch(
        self, inputs: Sequence[str], *, concurrency: int = 4, conversation: str | None = None
    ) -> list[AgentResult]:
        """`abatch` for sync callers."""
        return wait_for(self.abatch(inputs, concurrency=concurrency, conversation=conversation))

    # -- the graph

    @cached_property
    def graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """The compiled LangGraph graph: `{"text": ...}` in, `{"result": ...}` out.

        Add it as a node to a graph of your own whose state has these two keys. It has no
        checkpointer and takes its parent's; a question is an interrupt of the parent, to be
        answered there with `Command(resume="the answer")`. The value of the interrupt is
        `{"question": ..., "run_id": ...}`. Each execution is a run with a trace of its own.
        """
        return self._topology(self._nodes).compile(name=self.name)

    @cached_property
    def _own_graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        from seamline.agents.checkpoint import memory_saver

        return self._topology(self._nodes).compile(checkpointer=memory_saver(), name=self.name)

    async def execute(self, run: Run, answer: str | None) -> AgentResult:
        """The result of a run that the runtime took up, executed from its start.

        Raises:
            TraceError: The run cannot be recorded, or a replay diverged.
        """
        graph = self._own_graph
        thread = run.run_id
        config: RunnableConfig = {"configurable": {"thread_id": thread, self.runtime.key: thread}}
        try:
            await graph.ainvoke({"person_answer": answer}, config)
        except DivergenceError:
            # Whoever took the run up knows what its journal should say of it.
            raise
        except BaseException as error:
            # Nodes seal the trace of what goes wrong in them; this is for what goes wrong
            # between them.
            with contextlib.suppress(TraceError):
                run.finish(compose_result(self.spec, run, {"stop": crashed(error)}))
            raise
        finally:
            self.runtime.close(run)
            await graph.checkpointer.adelete_thread(thread)  # type: ignore[union-attr]
            await self.runtime.settle()
        if run.result is None:
            raise RuntimeError(
                f"the graph of {self.name} ended without its `finish` node; "
                "every path of a graph.py must lead there"
            )
        return self._with_source(run, run.result)

    def _with_source(self, run: Run, result: AgentResult) -> AgentResult:
        """The result, which then knows where its trace is."""
        store = self.runtime.store
        result.record_source(lambda: RecordedRun.of(store.trace(run.run_id), self._project))
        return result

    def _check_resumable(self, run_id: str, answer: str | None) -> Trace:
        """The run as it stands, where it can go on."""
        check_answer(answer)
        trace = self.runtime.store.trace(run_id)
        self.runtime.check_own(trace.run_id, trace.meta.agent)
        if trace.status not in ("needs_answer", "running"):
            raise InputError(
                f"run {trace.run_id} is {trace.status} and cannot go on; `seamline traces list` "
                "shows which runs wait for an answer (needs_answer) or were killed (running)"
            )
        if trace.status == "needs_answer" and answer is None:
            asked = (trace.outcome.result or {}).get("question") if trace.outcome else None
            raise InputError(f"run {trace.run_id} asks: {asked}; give an answer")
        changed = self.runtime.changed_since(trace.meta)
        if changed:
            fix = "bring the old version back, or start a new run"
            if self.runtime.code_changed_since(trace.meta):
                fix = "restore the tools as they were to go on, or start a new run"
            elif trace.status == "needs_answer":
                fix = (
                    f"go on with `seamline traces replay {trace.run_id} --mode fork --answer …`, "
                    "which keeps the old versions"
                )
            raise InputError(
                f"run {trace.run_id} cannot go on: {', '.join(changed)} changed since it began; "
                + fix
            )
        return trace


def check_answer(answer: str | None) -> None:
    """Nothing, where an answer that is given says something.

    Raises:
        InputError: It is empty, or no text that UTF-8 can hold.
    """
    if answer is None:
        return
    if not answer.strip():
        raise InputError("the answer is empty; give a few words")
    if not is_whole(answer):
        raise InputError(
            f"the answer {answer!r} holds half of a surrogate pair, which no UTF-8 text can "
            "hold; write it anew"
        )
