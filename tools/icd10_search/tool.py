"""Conditions named in a clinical text, each with candidate ICD-10-CM codes."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from seamline.errors import ToolCallError
from seamline.tools.contract import FactValue, ToolContext, ToolInput, ToolOutput, ToolSettings

from .glossary import read_synonyms
from .index import Icd10Index, Progress
from .meanings import pulled_embedder
from .mentions import Assertion, around, find_mentions

_indexes: dict[tuple[Path, str | None, str | None], Icd10Index] = {}
_lock = threading.Lock()


class Input(ToolInput):
    """The text to search, and how many candidates to give for each mention."""

    text: str = Field(min_length=1)
    k: int = Field(default=8, ge=1, le=50)


class Settings(ToolSettings):
    """What is searched for, and with what; tool.yaml says more of each."""

    max_mentions: int = Field(default=14, gt=0)
    synonyms: str | None = None
    embedder: str | None = None


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Candidate(_Value):
    """One code that may be meant; `score` is how alike the words are, in 0..1."""

    code: str
    title: str
    score: float
    billable: bool


class Found(_Value):
    """A stretch of the text that names a condition; offsets count characters of the text.

    `context` is its sentence as the skill reads it: at most sixty words around the mention.
    """

    start: int
    end: int
    text: str
    sentence_start: int
    sentence_end: int
    context: str
    assertion: Assertion
    candidates: list[Candidate]


class Output(ToolOutput):
    """Every mention found, in the order of the text, and the release its codes are from.

    `embedder` says what ranked the candidates by meaning; none where words alone did.
    """

    release: str
    embedder: str | None = None
    mentions: list[Found]

    def facts(self) -> dict[str, FactValue]:
        """How many mentions there are, and how many of them are denied or a relative's."""
        denied = sum(m.assertion in ("negated", "family") for m in self.mentions)
        return {"mentions found": len(self.mentions), "mentions denied": denied}


async def run(request: Input, context: ToolContext) -> Output:
    """The mentions of `request.text` with their candidates.

    Raises:
        ToolCallError: the tables' package is not installed, or the synonyms file is wrong.
    """
    settings = Settings.of(context.spec)
    index = await asyncio.to_thread(
        _open, context.cache_dir, settings.synonyms, settings.embedder, context.progress
    )
    return await asyncio.to_thread(_search, request, settings.max_mentions, index)


def _search(request: Input, limit: int, index: Icd10Index) -> Output:
    mentions = find_mentions(request.text, index, limit=limit)
    found = index.candidates_of(
        [m.words for m in mentions], request.k, [m.around for m in mentions]
    )
    return Output(
        release=index.release,
        embedder=index.meanings.embedder if index.meanings else None,
        mentions=[
            Found(
                start=mention.start,
                end=mention.end,
                text=request.text[mention.start : mention.end],
                sentence_start=mention.sentence_start,
                sentence_end=mention.sentence_end,
                context=around(request.text, mention),
                assertion=mention.assertion,
                candidates=[
                    Candidate(code=h.code, title=h.title, score=h.score, billable=h.billable)
                    for h in hits
                ],
            )
            for mention, hits in zip(mentions, found, strict=True)
        ],
    )


def _open(cache_dir: Path, file: str | None, embedder: str | None, tell: Progress) -> Icd10Index:
    """The index, opened once a process, cache folder, synonyms file and embedder."""
    with _lock:
        model = pulled_embedder(embedder) if embedder else None
        key = (cache_dir, file, model and model.spec.name)
        if key not in _indexes:
            try:
                synonyms = read_synonyms(Path(file).expanduser()) if file else ()
                _indexes[key] = Icd10Index.open(
                    cache_dir, synonyms=synonyms, embedder=model, progress=tell
                )
            except (ModuleNotFoundError, ValueError) as error:
                raise ToolCallError(f"icd10_search: {error}") from error
        return _indexes[key]
