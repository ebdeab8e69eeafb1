"""Requests as token rows: one shared prefix, many independent branches.

A row holds `prefix + branch 1 + branch 2 + …`. Every branch sees the prefix and itself,
never a sibling, and its positions continue from the prefix; so one forward pass answers
all questions about a context exactly as if each had been asked alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seamline.errors import SkillError
from seamline.models.contracts import SkillContract
from seamline.models.protocol import DecideRequest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

__all__ = ["Batch", "Encoder", "Row", "collate", "collate_branches", "pack"]

_SYSTEM, _USER = "\u0001seamline-system\u0001", "\u0001seamline-user\u0001"


@dataclass(frozen=True)
class Row:
    """Token ids of one request; `branches` is one id tuple per question.

    `cut` tokens of the context were left out, because it was too long.
    """

    prefix: tuple[int, ...]
    branches: tuple[tuple[int, ...], ...]
    cut: int = 0

    def __len__(self) -> int:
        return len(self.prefix) + sum(map(len, self.branches))

    @property
    def ids(self) -> tuple[int, ...]:
        """All ids in the order fed."""
        return self.prefix + tuple(i for branch in self.branches for i in branch)


@dataclass(frozen=True)
class Batch:
    """Tensors of several rows, padded on the right.

    `input_ids`, `position_ids`: (rows, length); `attention_mask`: (rows, 1, length, held +
    length), additive, where `held` keys stand in a cache before the ids; `reads`: (reads, 2)
    pairs of (row, position), in row then branch order.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    attention_mask: torch.Tensor
    reads: torch.Tensor


class Encoder:
    """Turns requests into rows with a base's tokenizer and chat template.

    Text from outside is tokenized with special tokens switched off, so a document cannot
    close the user turn and open a system one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int = 2048) -> None:
        self.tokenizer: Any = tokenizer
        self.max_tokens = max_tokens
        text = self.tokenizer.apply_chat_template(
            [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}],
            tokenize=False,
            add_generation_prompt=True,
        )
        head, _, rest = str(text).partition(_SYSTEM)
        middle, _, tail = rest.partition(_USER)
        if not middle or not tail:
            raise SkillError(
                "the base's chat template does not render a system and a user part in that "
                "order; use a base with a chat template that has both"
            )
        self._head, self._middle, self._tail = map(self._template_ids, (head, middle, tail))

    def token(self, text: str) -> int:
        """The id of a text that must be one token."""
        ids = self._text_ids(text)
        if len(ids) != 1:
            raise SkillError(f"{text!r} is {len(ids)} tokens of this base; it must be exactly one")
        return ids[0]

    def row(self, request: DecideRequest, contract: SkillContract) -> Row:
        """Encode one request; a context that is too long loses its middle."""
        instructions = self._text_ids(request.instructions or contract.system)
        context = self._text_ids(request.context.strip() + "\n")
        labels = contract.read == "labels"
        questions = [request.question] if labels else contract.framed(request)
        tail = self._tail if contract.own_turn else ()
        branches = tuple(self._text_ids(text) + tail for text in questions)
        fixed = len(self._head) + len(instructions) + len(self._middle)
        room = self.max_tokens - fixed - max(map(len, branches), default=0)
        if room < 16:
            raise SkillError(
                f"instructions and question take {self.max_tokens - room} tokens and leave no "
                f"room for the context (limit {self.max_tokens}); shorten the policy"
            )
        cut = max(0, len(context) - room)
        if cut:
            half = room // 2
            context = context[:half] + context[len(context) - (room - half) :]
        prefix = self._head + instructions + self._middle + context
        return Row(prefix=prefix, branches=branches, cut=cut)

    def invocation(self, contract: SkillContract) -> tuple[int, ...]:
        """The ids that open every question of `contract`: an aLoRA acts from there on.

        Raises:
            SkillError: Its questions have no opening in common.
        """
        opening: tuple[int, ...] = ()
        one, other = (self._branch(contract, word) for word in ("A", "zebra"))
        for mine, theirs in zip(one, other, strict=False):
            if mine != theirs:
                break
            opening += (mine,)
        if not opening:
            raise SkillError(
                "an aLoRA is called by the words that open its question, and this contract's "
                "questions start with what differs; begin `question` (or each frame) with fixed "
                "words, e.g. 'Question: {{ hypothesis }}'"
            )
        return opening

    def _branch(self, contract: SkillContract, word: str) -> tuple[int, ...]:
        """The one branch of a request in which every variable is `word`."""
        row = dict.fromkeys(contract.variables, word)
        choices = (
            [] if contract.read == "labels" else [dict.fromkeys(contract.choice_variables, word)]
        )
        return self.row(contract.request(row, choices), contract).branches[0]

    def chat(self, instructions: str, context: str) -> tuple[int, ...]:
        """The prompt of a *write* request."""
        text = self._text_ids(context.strip())
        return self._head + self._text_ids(instructions) + self._middle + text + self._tail

    def text(self, text: str) -> tuple[int, ...]:
        """The ids of a text, whose special tokens are text."""
        return self._text_ids(text)

    def _template_ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def _text_ids(self, text: str) -> tuple[int, ...]:
        ids = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return tuple(ids)


def pack(lengths: Sequence[int], *, max_tokens: int) -> list[list[int]]:
    """Groups of indices whose padded size stays within `max_tokens`; long rows stand alone."""
    groups: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        longest = max(longest, lengths[index])
        if not groups or longest * (len(groups[-1]) + 1) > max_tokens:
            groups.append([])
            longest = lengths[index]
        groups[-1].append(index)
    return groups


def collate(rows: Sequence[Row], *, pad_id: int, dtype: torch.dtype) -> Batch:
    """Whole rows, padded, and the mask that keeps branches apart."""
    return _collate(rows, 0, pad_id, dtype)


def collate_branches(rows: Sequence[Row], *, pad_id: int, dtype: torch.dtype) -> Batch:
    """The branches alone, of rows whose prefixes stand in a cache, padded to the longest."""
    return _collate(rows, max(len(row.prefix) for row in rows), pad_id, dtype)


def _collate(rows: Sequence[Row], held: int, pad_id: int, dtype: torch.dtype) -> Batch:
    """Batch of what is fed behind `held` cached keys: without any, prefixes are fed too."""
    import torch

    length = max(len(row) - (len(row.prefix) if held else 0) for row in rows)
    ids = torch.full((len(rows), length), pad_id, dtype=torch.long)
    positions = torch.zeros((len(rows), length), dtype=torch.long)
    # Padding rows of the mask still see position 0: a softmax over nothing is NaN.
    allowed = torch.zeros((len(rows), length, held + length), dtype=torch.bool)
    allowed[:, :, 0] = True
    reads: list[tuple[int, int]] = []
    for r, row in enumerate(rows):
        start = at = len(row.prefix)
        if held:
            at = 0
        else:
            ids[r, :start] = torch.tensor(row.prefix, dtype=torch.long)
            positions[r, :start] = torch.arange(start)
            allowed[r, :start, :start] = torch.ones(start, start, dtype=torch.bool).tril()
        for branch in row.branches:
            n, key = len(branch), held + at
            ids[r, at : at + n] = torch.tensor(branch, dtype=torch.long)
            positions[r, at : at + n] = torch.arange(start, start + n)
            allowed[r, at : at + n, :start] = True
            allowed[r, at : at + n, key : key + n] = torch.ones(n, n, dtype=torch.bool).tril()
            at += n
            reads.append((r, at - 1))
    mask = torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)
    return Batch(
        input_ids=ids,
        position_ids=positions,
        attention_mask=mask[:, None],
        reads=torch.tensor(reads, dtype=torch.long).reshape(-1, 2),
    )
