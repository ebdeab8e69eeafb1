"""The training rows of an evaluation: examples for prompts, and two baselines without a model."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from seamline.models.contracts import SkillContract
from seamline.models.evaluation.declared import EvalRow, Evaluation, Prediction, Shot
from seamline.models.protocol import DecideRequest
from seamline.models.retrieval import Retriever

__all__ = ["Examples"]

_SPARE = 64
"""How many more of the nearest are looked at where some may not be shown."""


class Examples:
    """The training rows, found by the words that they share with a text."""

    def __init__(self, shots: Sequence[Shot]) -> None:
        self.shots = tuple(shots)

    def near(self, text: str, most: int, *, of: Shot | None = None) -> list[Shot]:
        """At most `most` rows, the nearest first.

        Of a training row, `of`, neither itself, nor one of the same text, nor one of its group.
        """
        found = self._index.nearest(text, most if of is None else most + _SPARE)
        shots = [self.shots[i] for i in found]
        if of is not None:
            shots = [shot for shot in shots if not _related(shot, of)]
        return shots[:most]

    def nearest(
        self, row: EvalRow, request: DecideRequest, evaluation: Evaluation, contract: SkillContract
    ) -> Prediction:
        """The answer of the nearest training row, or none where no row shares a word.

        Of a label set, its labels; of choices, those of the row's that have the text of a right
        one. It tells no probability, so its confidence is 1.
        """
        near = self.near(row.text, 1)
        if not near:
            return Prediction("", 0.0, frozenset())
        right = near[0].right
        if contract.read == "labels":
            named = list(right)
        else:
            texts = [choice.text for choice in request.choices]
            named = [row.names[texts.index(text)] for text in right if text in texts]
        return _answer(named, 1.0, evaluation, contract)

    def majority(self, evaluation: Evaluation, contract: SkillContract) -> Prediction:
        """The most frequent answer of the training rows, none included, whatever the row says.

        Its confidence is the share of the training rows that it is right for.
        """
        counts = Counter(name for shot in self.shots for name in shot.right or ("",))
        [(name, times)] = counts.most_common(1)
        named = [name] if name else []
        return _answer(named, times / len(self.shots), evaluation, contract)

    def drawn(self, most: int, *, seed: int = 0) -> list[tuple[Shot, float]]:
        """At most `most` rows drawn at random, half of them rows for which nothing is right.

        Where there are too few of one kind, there are more of the other. With each stands its
        weight: how many of the training rows it stands for.
        """
        some = [shot for shot in self.shots if shot.right]
        none = [shot for shot in self.shots if not shot.right]
        half = most // 2
        of_none = min(len(none), max(half, most - len(some)))
        rng = random.Random(seed)
        found: list[tuple[Shot, float]] = []
        for shots, number in ((some, min(len(some), most - of_none)), (none, of_none)):
            found += [(shot, len(shots) / number) for shot in rng.sample(shots, number)]
        return found

    @cached_property
    def _index(self) -> Retriever:
        return Retriever([shot.text for shot in self.shots])


def _related(shot: Shot, other: Shot) -> bool:
    return shot.text == other.text or (shot.group != "" and shot.group == other.group)


def _answer(
    named: Sequence[str], confidence: float, evaluation: Evaluation, contract: SkillContract
) -> Prediction:
    first = named[0] if named else contract.none_label or ""
    labels = frozenset(named if evaluation.several else named[:1])
    return Prediction(first, confidence, labels)
