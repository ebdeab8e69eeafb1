"""A recorded run with its project: what can be done with it again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from seamline.agents.bridge import wait_for
from seamline.errors import InputError, SkillError
from seamline.traces.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seamline.agents.events import Listener
    from seamline.agents.forking import Fork
    from seamline.agents.replaying import Replay
    from seamline.agents.verifying import Progress, Verification
    from seamline.models.protocol import Model
    from seamline.project import Project
    from seamline.traces.questions import Question

__all__ = ["RecordedRun"]


@dataclass(frozen=True)
class RecordedRun(Trace):
    """One recorded run: read it, replay it, verify it, fork it.

    Example:
        >>> run = project.trace("last")
        >>> run.replay().identical
        True
        >>> run.fork(policy="icd10_coder/plan@1.1.0").result.status
        'done'
    """

    project: Project

    @classmethod
    def of(cls, trace: Trace, project: Project) -> Self:
        """A trace, bound to the project that can execute it."""
        fields = {f.name: getattr(trace, f.name) for f in dataclasses.fields(Trace)}
        return cls(**fields, project=project)

    async def areplay(self) -> Replay:
        """The run executed again from its start, every effect served from its journal.

        No model is loaded, no tool run, no network reached.

        Raises:
            DivergenceError: The graph asked for something the journal does not hold as asked.
            ConfigError: The project lacks the agent, or a policy version that was recorded.
        """
        from seamline.agents.replaying import replay

        return await replay(self.project, self)

    def replay(self) -> Replay:
        """`areplay` for sync callers."""
        return wait_for(self.areplay())

    async def averify(
        self, *, force: bool = False, on_progress: Progress | None = None
    ) -> Verification:
        """The model effects of the run computed again, compared token by token.

        Args:
            force: Compare even where base, libraries, dtype or device differ.
            on_progress: Told how many effects of how many are done.

        Raises:
            ModelError: The base is not on this machine.
        """
        from seamline.agents.verifying import verify

        return await verify(self.project, self, force=force, on_progress=on_progress)

    def verify(self, *, force: bool = False, on_progress: Progress | None = None) -> Verification:
        """`averify` for sync callers."""
        return wait_for(self.averify(force=force, on_progress=on_progress))

    async def afork(
        self,
        *,
        at: str | None = None,
        policy: str | None = None,
        adapter: str | None = None,
        base: str | None = None,
        endpoint: str | None = None,
        model: Model | None = None,
        tool_result: Any = None,
        input: str | None = None,  # noqa: A002
        answer: str | None = None,
        allow_side_effects: bool = False,
        on_progress: Listener | None = None,
    ) -> Fork:
        """The run again up to a step, live with a change from there on; recorded as a new run.

        Args:
            at: The step: a record's number, a task (`plan/2`), an effect's key (`plan/2#1`).
                Without it, the first effect that the change concerns.
            policy: Another version: `icd10_coder/plan@1.1.0`.
            adapter: Another version of a skill, `decide@0.1.0`; or `decide@off`, or `off` for
                the skill of the step: the bare base.
            base: Another base, by its name in `models/bases`.
            endpoint: An endpoint that answers the policies instead.
            model: A model that answers policies and skills instead.
            tool_result: The output of the tool call at `at`, as plain data.
            input: Another text for the whole run.
            answer: Given to the question that the run may ask.
            allow_side_effects: Let tools with side effects run.
            on_progress: Called with each event of the fork.

        Raises:
            InputError: There is no such step, the change concerns none, or the tool could not
                give such a result.
            ConfigError: There is no such policy, skill, base or endpoint.
            DivergenceError: What comes before the step does not come out as it did.
        """
        from seamline.agents.forking import Changes, fork

        changes = Changes(
            at=at,
            policy=policy,
            adapter=adapter,
            base=base,
            endpoint=endpoint,
            model=model,
            tool_result=tool_result,
            text=input,
            answer=answer,
            allow_side_effects=allow_side_effects,
        )
        return await fork(self.project, self, changes, listener=on_progress)

    def questions(self, skill: str | None = None) -> list[Question]:
        """What the run asked a skill, or every skill; see `seamline.traces.questions`.

        Raises:
            TraceError: A blob of the run is missing.
        """
        from seamline.traces.questions import questions_of

        return questions_of(self, skill)

    def corrections(self, right: Mapping[int, Sequence[str]]) -> list[dict[str, Any]]:
        """Training rows of questions that were answered wrongly.

        Args:
            right: The number of a question to its right answers: labels, or choices by text or
                by number from 1; empty where none of them is.

        Raises:
            InputError: There is no such question or answer.
            SkillError: The project lacks the version that was asked, or has changed it.
        """
        from seamline.traces.questions import corrected

        asked = {question.number: question for question in self.questions()}
        rows = []
        for number, answers in right.items():
            question = asked.get(number)
            if question is None:
                raise InputError(
                    f"run {self.run_id} has no question {number}; it asked its skills "
                    f"{len(asked)}, see `seamline traces questions {self.run_id}`"
                )
            if not question.digest:
                raise InputError(
                    f"question {number} of run {self.run_id} was answered without the adapter of "
                    f"{question.skill}; correct it in a run of the skill"
                )
            skill = self.project.skills.get(question.skill)
            if skill.spec.adapter.digest != question.digest:
                raise SkillError(
                    f"run {self.run_id} asked {skill.ref} with adapter {question.digest}, "
                    f"and the project has {skill.spec.adapter.digest}; restore that version"
                )
            rows.append(corrected(question, answers, skill.spec.contract))
        return rows

    def fork(self, **changes: Any) -> Fork:
        """`afork` for sync callers; takes the same arguments."""
        return wait_for(self.afork(**changes))
