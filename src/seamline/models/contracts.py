"""A skill's prompt contract: how variables become the prompt it was trained on.

Training rows and live calls go through the same `SkillContract`, so the prompt at
inference is the prompt of training by construction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from jinja2 import StrictUndefined, TemplateError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, model_validator

from seamline.errors import SkillError
from seamline.models.protocol import Ask, Choice, DecideRequest, WriteRequest

__all__ = ["SkillContract"]

_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)


class SkillContract(BaseModel):
    """The prompt of one skill and where its answer is read.

    `read: branches` asks one yes/no question per choice after a shared prefix and reads the
    logits of the two answer tokens; `read: labels` reads the logits of one verbaliser token
    per label at the end of the prompt. Nothing is decoded in either case. `read: text` writes
    free text behind the prompt.

    Attributes:
        system: Instructions; empty when each request brings its own (as `decide` does).
        context: Jinja2 template of the user part, over the variables of a row.
        question: Of `labels`: Jinja2 template, over the same variables, of what stands between
            the context and the answer. An aLoRA reads the context with the bare base, so what
            it is asked about that context belongs here.
        choice: Jinja2 template of one choice's text, over the variables of a branch.
        frames: Per kind of question, the text around a choice: `{text}`, and `{name}` if wanted.
        answers: The two answer tokens of `branches`, "yes" first.
        own_turn: Whether the answer opens the assistant's turn, as in a chat; without it the
            answer stands right behind the question, which saves the template's tokens.
        labels: Label to verbaliser; each verbaliser is one distinct token of the base.
        none_label: The label that stands for "none of these".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    read: Literal["branches", "labels", "text"]
    system: str = ""
    context: str = "{{ context }}"
    question: str = ""
    choice: str = "{{ text }}"
    frames: Mapping[str, str] = Field(default_factory=dict)
    answers: tuple[str, str] = ("Yes", "No")
    own_turn: bool = True
    labels: Mapping[str, str] = Field(default_factory=dict)
    none_label: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.read == "labels":
            if len(self.labels) < 2:
                raise ValueError("`read: labels` needs at least two labels")
            if len(set(self.labels.values())) != len(self.labels):
                raise ValueError("two labels share a verbaliser; each needs its own token")
            if self.none_label is not None and self.none_label not in self.labels:
                raise ValueError(f"none_label {self.none_label!r} is not among the labels")
        elif self.question:
            raise ValueError("`question` is for `read: labels`; branches are asked by `frames`")
        elif self.read == "branches" and not self.frames:
            raise ValueError("`read: branches` needs `frames`, one per kind of question it answers")
        for ask, frame in self.frames.items():
            if "{text}" not in frame:
                raise ValueError(f"frame {ask!r} must contain {{text}}; got {frame!r}")
        return self

    @property
    def ask(self) -> Ask:
        """The kind of question `request` asks."""
        if self.read == "labels":
            return "labels"
        return "options" if "options" in self.frames else "rules"

    @property
    def variables(self) -> frozenset[str]:
        """What the `context` and `question` templates need.

        Raises:
            SkillError: One of them is no Jinja2.
        """
        return self._needs("context", self.context) | self._needs("question", self.question)

    @property
    def choice_variables(self) -> frozenset[str]:
        """What the `choice` template needs; as `variables`."""
        return self._needs("choice", self.choice)

    def request(
        self, context: Mapping[str, Any], choices: Sequence[Mapping[str, Any]] = ()
    ) -> DecideRequest:
        """The request for one row: `context` variables and one mapping per choice.

        Raises:
            SkillError: A template needs a variable that was not given.
        """
        texts = [self._render("choice", self.choice, choice) for choice in choices]
        return DecideRequest(
            ask=self.ask,
            instructions=self.system,
            context=self._render("context", self.context, context),
            question=self._render("question", self.question, context),
            choices=tuple(Choice(name=str(i), text=text) for i, text in enumerate(texts)),
        )

    def write_request(self, context: Mapping[str, Any]) -> WriteRequest:
        """The request for a text about one row of `context` variables.

        Raises:
            SkillError: The template needs a variable that was not given.
        """
        return WriteRequest(
            instructions=self.system,
            context=self._render("context", self.context, context),
        )

    def variables_of(self, request: DecideRequest) -> dict[str, str]:
        """The variables from which `request` made this request: its inverse.

        Raises:
            SkillError: A template does more than put variables between words, the request was
                made by another contract, or its text can be read in two ways.
        """
        found = self._taken_apart("context", self.context, request.context)
        asked = self._taken_apart("question", self.question, request.question)
        for name, value in asked.items():
            if found.setdefault(name, value) != value:
                raise SkillError(
                    f"the context has {name} {found[name]!r}, the question {value!r}; they were "
                    "made by another contract"
                )
        return found

    def choice_variables_of(self, text: str) -> dict[str, str]:
        """The variables of one choice's text; as `variables_of`."""
        return self._taken_apart("choice", self.choice, text)

    def framed(self, request: DecideRequest) -> list[str]:
        """Each choice of `request` as the question that the base reads.

        Raises:
            SkillError: The skill was not trained for this kind of question.
        """
        frame = self.frames.get(request.ask)
        if frame is None:
            known = ", ".join(sorted(self.frames)) or f"none, it gives {self.read}"
            raise SkillError(
                f"this skill does not answer {request.ask!r} questions; it answers: {known}. "
                "Ask it one of those, or use another skill."
            )
        # Plain replacement, not str.format: a choice's own braces are text.
        return [
            frame.replace("{name}", choice.name).replace("{text}", choice.text.strip())
            for choice in request.choices
        ]

    @staticmethod
    def _needs(part: str, template: str) -> frozenset[str]:
        return frozenset(meta.find_undeclared_variables(_parsed(part, template)))

    @staticmethod
    def _taken_apart(part: str, template: str, text: str) -> dict[str, str]:
        shortest, longest = (
            re.fullmatch(_pattern(part, template, any_text), text, re.DOTALL)
            for any_text in (".*?", ".*")
        )
        if shortest is None or longest is None:
            raise SkillError(
                f"{text[:80]!r} was not made by the contract's {part} template {template!r}; use "
                "the version of the skill that was asked"
            )
        if shortest.groupdict() != longest.groupdict():
            raise SkillError(
                f"{text[:80]!r} can be read in two ways as the {part} template {template!r}: the "
                "words between two variables stand in one of them too"
            )
        return shortest.groupdict()

    @staticmethod
    def _render(part: str, template: str, variables: Mapping[str, Any]) -> str:
        try:
            return _JINJA.from_string(template).render(**variables)
        except TemplateError as error:
            raise SkillError(
                f"the skill contract's {part} template {template!r} does not render: {error}; "
                f"given variables: {', '.join(sorted(variables)) or 'none'}"
            ) from error


def _pattern(part: str, template: str, any_text: str) -> str:
    """What a template renders to, as a regular expression with a group for every variable."""
    pattern = ""
    for node in _parsed(part, template).body:
        for piece in node.nodes if isinstance(node, nodes.Output) else [node]:
            if isinstance(piece, nodes.TemplateData):
                pattern += re.escape(piece.data)
            elif isinstance(piece, nodes.Name):
                known = f"(?P<{piece.name}>" in pattern
                pattern += f"(?P={piece.name})" if known else f"(?P<{piece.name}>{any_text})"
            else:
                raise SkillError(
                    f"the skill contract's {part} template {template!r} does more than put "
                    "variables between words, so its texts cannot be taken apart"
                )
    return pattern


def _parsed(part: str, template: str) -> nodes.Template:
    try:
        return _JINJA.parse(template)
    except TemplateError as error:
        raise SkillError(
            f"the skill contract's {part} template {template!r} is no Jinja2: {error}"
        ) from error
