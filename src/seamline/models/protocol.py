"""What a model is asked, and what it answers.

Two shapes only. *Decide* scores a closed set of choices and never decodes freely, so a
tiny model cannot break the contract; *write* produces text for people. Every backend
(local engine, endpoint, scripted) implements `Model`, and every value here is plain data
that the journal stores as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Choice",
    "DecideRequest",
    "DecideResponse",
    "Model",
    "PromptRef",
    "TokenChoice",
    "Usage",
    "WriteRequest",
    "WriteResponse",
]

Ask = Literal["rules", "options", "labels"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PromptRef(_Frozen):
    """Which policy a request was rendered from."""

    name: str
    version: str
    digest: str


class Choice(_Frozen):
    """One member of the closed set.

    `text` is what the model reads: a rule's condition, an option's description, or a label.
    """

    name: str
    text: str


class DecideRequest(_Frozen):
    """Score every choice of a closed set.

    `rules`: each choice is a condition, scored on its own as p(met).
    `options`: each choice is scored on its own as p(right choice).
    `labels`: the scores of a skill's label set; `choices` may be empty (the skill's own set),
    and `question` is what is asked about the context, if the skill needs it told.
    """

    ask: Ask
    instructions: str = ""
    context: str
    # Left out where it is empty: journals of skills without one do not change.
    question: str = Field(default="", exclude_if=lambda text: not text)
    choices: tuple[Choice, ...] = ()
    prompt: PromptRef | None = None


class Usage(_Frozen):
    """Tokens read and decoded by one call."""

    input_tokens: int = 0
    output_tokens: int = 0


class TokenChoice(_Frozen):
    """A token that was preferred among the allowed ones, and the one that came second.

    Log-probabilities are natural, over the allowed tokens alone, before any calibration.
    """

    token: int
    logprob: float
    runner_up: int
    runner_up_logprob: float


class DecideResponse(_Frozen):
    """One probability in 0..1 per choice, in the order of the request.

    `lineage` pins what answered: base and adapter digests, tokenizer and template digests,
    library versions, dtype, device, threads. `token_ids` are the input ids as fed, `answers`
    the answer token of each question (of a label set: one), where a local model answered.
    """

    scores: tuple[float, ...]
    labels: tuple[str, ...] = ()
    usage: Usage = Usage()
    lineage: Mapping[str, Any] = Field(default_factory=dict)
    token_ids: tuple[int, ...] = ()
    answers: tuple[TokenChoice, ...] = ()


class WriteRequest(_Frozen):
    """Ask for free text, at most `max_tokens` tokens, greedily decoded by default."""

    instructions: str = ""
    context: str
    max_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=0.0, ge=0.0)
    seed: int = 0
    prompt: PromptRef | None = None


class WriteResponse(_Frozen):
    """The text, with the same lineage as a decision; `output_ids` are the tokens written."""

    text: str
    usage: Usage = Usage()
    lineage: Mapping[str, Any] = Field(default_factory=dict)
    token_ids: tuple[int, ...] = ()
    output_ids: tuple[int, ...] = ()


class Model(Protocol):
    """A backend that answers requests; `skill` names the adapter to answer with."""

    async def decide(
        self, requests: Sequence[DecideRequest], *, skill: str | None = None
    ) -> list[DecideResponse]:
        """Answer a batch, in order. Raises `ModelError`."""
        ...

    async def write(self, request: WriteRequest, *, skill: str | None = None) -> WriteResponse:
        """Answer one request with text. Raises `ModelError`."""
        ...

    def identity(self, skill: str | None = None) -> Mapping[str, Any]:
        """What will answer (name, digests), known before the call; part of an effect's request."""
        ...
