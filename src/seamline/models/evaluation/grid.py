"""The grid: every way to answer a skill's rows, on the same rows."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from seamline.errors import ConfigError
from seamline.models.contracts import SkillContract
from seamline.models.evaluation.bare import FEW_SHOT, BareBase
from seamline.models.evaluation.declared import EvalRow, Evaluation, Prediction, Shot
from seamline.models.evaluation.examples import Examples
from seamline.models.evaluation.kept import KeptAnswers
from seamline.models.evaluation.own_threshold import ROWS, UNFITTED, best_threshold
from seamline.models.protocol import DecideRequest, DecideResponse, Model

__all__ = ["CELLS", "GATED", "CellRun", "Grid", "LocalBase", "choose_cells", "sample"]

CELLS = {
    "retrieval": "the retriever's own order, no model",
    "nearest": "the answer of the nearest training row, no model",
    "majority": "the most frequent answer of the training rows, no model",
    "base": "the bare base, asked one yes/no question a choice",
    FEW_SHOT: "the bare base, with the nearest training rows in the prompt",
    "adapter": "the skill",
    "adapter_retrieval": "the skill's probability and the retrieval score together",
    "endpoint": "the model behind an endpoint, in one structured call",
}
GATED = ("adapter", "adapter_retrieval")
"""The cells that the gate may be about: those that the skill answers."""

_RETRIEVING = frozenset({"retrieval", "adapter_retrieval"})
_OF_SHOTS = frozenset({"nearest", "majority", FEW_SHOT})
_BATCH = 16

Tick = Callable[[int, int, str], None]


class LocalBase(Model, Protocol):
    """The local model: answers with adapters, and bare."""

    async def decide_bare(
        self, requests: Sequence[DecideRequest], contract: SkillContract
    ) -> list[DecideResponse]:
        """Answer a batch without any adapter. Raises `ModelError`."""
        ...


@dataclass(frozen=True, kw_only=True)
class CellRun:
    """What one cell answered, one prediction a row, and what it took in all.

    Attributes:
        threshold: Of a cell of the base, its own, from which a name counts as answered.
        fitted_on: How many training rows that was chosen on; on none, it is 0.5.
    """

    predictions: tuple[Prediction, ...]
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    threshold: float | None = None
    fitted_on: int = 0


@dataclass(frozen=True, kw_only=True)
class Grid:
    """One skill's rows and who answers them.

    Attributes:
        skill: The reference of the version that is evaluated.
        contract: That version's contract.
        shots: The training rows; may be empty where no cell needs them.
        endpoint: Answers the cell `endpoint`.
        retrieval_threshold: The score from which the cell `retrieval` answers a name; by default
            as the others.
        keep: A folder for the answers as they come in, so that a grid that was cut short goes on;
            `forget` removes them.
        behaviour: What decides the answers beside the questions: digests, the endpoint as
            declared.
    """

    evaluation: Evaluation
    skill: str
    contract: SkillContract
    rows: Sequence[EvalRow]
    local: LocalBase
    shots: Sequence[Shot] = ()
    endpoint: Model | None = None
    retrieval_threshold: float | None = None
    keep: Path | None = None
    behaviour: str = ""
    _asked: dict[str, KeptAnswers] = field(default_factory=dict, init=False, repr=False)

    async def run(self, cell: str, tick: Tick) -> CellRun:
        """The answers of one cell.

        Raises:
            SkillError: A row does not fit the contract.
            ModelError: The model could not answer.
        """
        if cell == "retrieval":
            own = self.evaluation
            if self.retrieval_threshold is not None:
                own = replace(own, threshold=self.retrieval_threshold)
            found = [own.predict(row.names, row.retrieved) for row in self.rows]
            return CellRun(predictions=tuple(found))
        if cell in ("nearest", "majority"):
            return self._copied(cell, tick)
        if cell in GATED:
            return await self._answered(self._adapter_requests(), cell, tick)
        if cell == "endpoint":
            return await self._answered(self._bare.requests(cell, self.rows), cell, tick)
        threshold, fitted_on = await self._own_threshold(cell, tick)
        own = self.evaluation
        if threshold is not None:
            own = replace(own, threshold=threshold)
        run = await self._answered(self._bare.requests(cell, self.rows), cell, tick, own)
        return replace(run, threshold=threshold, fitted_on=fitted_on)

    def forget(self) -> None:
        """Remove the answers that were kept."""
        for answers in self._asked.values():
            answers.forget()

    @cached_property
    def _examples(self) -> Examples:
        return Examples(self.shots)

    @cached_property
    def _bare(self) -> BareBase:
        return BareBase(self.evaluation, self.contract, self._examples)

    def _copied(self, cell: str, tick: Tick) -> CellRun:
        """The answers of the training rows themselves."""
        if not self.shots:
            raise ConfigError(
                f"cell {cell!r} answers from training rows, and the data folder has none for "
                f"{self.skill}; leave it out of --cells"
            )
        started = time.perf_counter()
        if cell == "majority":
            found = [self._examples.majority(self.evaluation, self.contract)] * len(self.rows)
        else:
            found = []
            for row, request in zip(self.rows, self._adapter_requests(), strict=True):
                own = self._examples.nearest(row, request, self.evaluation, self.contract)
                found.append(own)
                tick(len(found), len(self.rows), f"rows of {self.skill}, {cell}")
        return CellRun(predictions=tuple(found), seconds=time.perf_counter() - started)

    async def _own_threshold(self, cell: str, tick: Tick) -> tuple[float | None, int]:
        """The threshold of a cell of the base, and the number of training rows it is from.

        None where the evaluation reads scores without one.
        """
        if self.evaluation.read is not None:
            return None, 0
        drawn = self._examples.drawn(ROWS) if self.contract.read == "labels" else []
        if not drawn:
            return UNFITTED, 0
        shots, weights = zip(*drawn, strict=True)
        rows = [
            EvalRow(id=str(at), context=one.context, gold=frozenset(one.right), text=one.text)
            for at, one in enumerate(shots)
        ]
        requests = self._bare.requests(cell, rows, shots)
        answers = await self._asked_once(requests, cell, tick, "training rows")
        scored = [
            (self._names(request), answers.responses[at].scores)
            for at, request in enumerate(requests)
        ]
        none = self.contract.none_label
        found = best_threshold(self.evaluation, rows, scored, weights=weights, none=none)
        return found, len(rows)

    async def _answered(
        self,
        requests: Sequence[DecideRequest],
        cell: str,
        tick: Tick,
        evaluation: Evaluation | None = None,
    ) -> CellRun:
        # Both cells of the adapter ask the same questions: they are asked once.
        kind = "adapter" if cell == "adapter_retrieval" else cell
        answers = await self._asked_once(requests, kind, tick, "rows")
        usage = [response.usage for response in answers.responses.values()]
        own = evaluation or self.evaluation
        return CellRun(
            predictions=tuple(
                self._read(own, row, requests[i], answers.responses.get(i), cell)
                for i, row in enumerate(self.rows)
            ),
            seconds=answers.seconds,
            input_tokens=sum(one.input_tokens for one in usage),
            output_tokens=sum(one.output_tokens for one in usage),
        )

    async def _asked_once(
        self, requests: Sequence[DecideRequest], cell: str, tick: Tick, what: str
    ) -> KeptAnswers:
        key = f"{what}, {cell}"
        if key not in self._asked:
            told = f"{what} of {self.skill}, {cell}"
            self._asked[key] = await self._ask(requests, cell, tick, told)
        return self._asked[key]

    async def _ask(
        self, requests: Sequence[DecideRequest], cell: str, tick: Tick, what: str
    ) -> KeptAnswers:
        whom = [cell, self.behaviour, self.evaluation.bare.model_dump_json()]
        kept = KeptAnswers(self.keep, whom, requests)
        # A row without candidates asks nothing; its answer is none.
        asked = [i for i, one in enumerate(requests) if one.choices or one.ask == "labels"]
        total = len(asked)
        left = [i for i in asked if i not in kept.responses]
        # Rows of one length are read together, so that little is padded.
        left.sort(key=lambda i: (len(requests[i].instructions + requests[i].context), i))
        tick(total - len(left), total, what)
        if left and cell != "endpoint":
            # Loading the base and the adapter is no part of a row's seconds.
            await self._decide(cell, [requests[left[0]]])
        for at in range(0, len(left), _BATCH):
            part = left[at : at + _BATCH]
            started = time.perf_counter()
            answers = await self._decide(cell, [requests[i] for i in part])
            seconds = time.perf_counter() - started
            kept.add(dict(zip(part, answers, strict=True)), seconds)
            tick(len(kept.responses), total, what)
        return kept

    async def _decide(self, cell: str, requests: Sequence[DecideRequest]) -> list[DecideResponse]:
        if cell == "endpoint":
            assert self.endpoint is not None, "choose_cells lets no endpoint cell in without one"
            return await self.endpoint.decide(requests)
        if cell.startswith("adapter"):
            return await self.local.decide(requests, skill=self.skill)
        return await self.local.decide_bare(requests, self._bare.contract(cell))

    def _names(self, request: DecideRequest) -> list[str]:
        """What a label set's scores are of: the choices that were asked, or the whole set."""
        return [choice.name for choice in request.choices] or list(self.contract.labels)

    def _read(
        self,
        evaluation: Evaluation,
        row: EvalRow,
        request: DecideRequest,
        response: DecideResponse | None,
        cell: str,
    ) -> Prediction:
        if response is None:
            return evaluation.predict((), ())
        scores = response.scores
        if self.contract.read == "labels":
            none = self.contract.none_label
            return evaluation.predict(self._names(request), scores, none=none)
        if cell == "adapter_retrieval":
            if evaluation.with_retrieval is not None:
                return evaluation.with_retrieval(row, scores)
            pairs = zip(scores, row.retrieved, strict=True)
            scores = tuple((score + found) / 2 for score, found in pairs)
        if evaluation.read is not None:
            return evaluation.read(row, scores)
        return evaluation.predict(row.names, scores)

    def _adapter_requests(self) -> list[DecideRequest]:
        return [row.asked or self.contract.request(row.context, row.choices) for row in self.rows]


def sample(rows: Sequence[EvalRow], limit: int | None, *, seed: int = 0) -> list[EvalRow]:
    """The rows of at most `limit` groups, drawn at random, the same for the same seed.

    All rows without a limit. A row without a group is one of its own.
    """
    if limit is None:
        return list(rows)
    groups: dict[str, list[EvalRow]] = {}
    for row in rows:
        groups.setdefault(row.unit, []).append(row)
    units = list(groups)
    random.Random(seed).shuffle(units)
    return [row for unit in units[:limit] for row in groups[unit]]


def choose_cells(
    wanted: Sequence[str],
    rows: Sequence[EvalRow],
    evaluation: Evaluation,
    contract: SkillContract,
    *,
    endpoint: bool,
) -> tuple[str, ...]:
    """The cells to run, in the order of `CELLS`: those wanted, else those that are declared.

    Raises:
        ConfigError: One of them does not exist, or lacks its endpoint, its retrieval scores or
            its training rows.
    """
    lacking = {"endpoint": "needs --endpoint NAME"} if not endpoint else {}
    if not any(row.retrieved for row in rows):
        lacking |= dict.fromkeys(_RETRIEVING, "has no retrieval scores here")
    if contract.read != "labels":
        lacking["majority"] = "needs a skill with a label set"
    if evaluation.shots is None:
        lacking |= dict.fromkeys(_OF_SHOTS, "has no training rows here")
    possible = [cell for cell in CELLS if cell not in lacking]
    for cell in wanted:
        if cell not in CELLS:
            raise ConfigError(f"there is no cell {cell!r}; use some of: {', '.join(CELLS)}")
        if cell in lacking:
            told = ", ".join(possible)
            raise ConfigError(f"cell {cell!r} {lacking[cell]}; possible are: {told}")
    chosen = set(wanted) or {*(evaluation.cells or possible), *(["endpoint"] if endpoint else [])}
    return tuple(cell for cell in possible if cell in chosen)
