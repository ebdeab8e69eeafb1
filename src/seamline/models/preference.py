"""Learning which of two texts is better: `objective: dpo`, with the loss of trl.

Direct preference optimization (Rafailov et al., arXiv 2305.18290): the adapter raises the better
text over the worse one, measured against the adapter that it started from. The prompt is that of
`LocalModel.write` to the token, so trl gets token ids and renders no template of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from seamline.errors import ConfigError
from seamline.models import fitting, methods
from seamline.models.contracts import SkillContract
from seamline.models.encoding import Encoder
from seamline.models.recipes import Recipe

__all__ = ["fit_pairs", "pairs_from"]

Pair = dict[str, list[int]]
"""Token ids of `prompt`, `chosen` and `rejected`, under the names that trl reads."""


def pairs_from(
    rows: Iterable[Mapping[str, Any]], contract: SkillContract, encoder: Encoder
) -> list[Pair]:
    """The pairs of rows `{"context": {...}, "chosen": text, "rejected": text}`.

    Pairs longer than the encoder's limit are left out: cut, they would teach to break off.

    Raises:
        ConfigError: A row's two texts are the same.
    """
    pairs = []
    end = encoder.tokenizer.eos_token_id
    for row in rows:
        if row["chosen"].strip() == row["rejected"].strip():
            raise ConfigError(f"a row prefers a text to itself: {row['chosen'][:80]!r}; remove it")
        request = contract.write_request(row["context"])
        pair = {"prompt_ids": list(encoder.chat(request.instructions, request.context))}
        for key in ("chosen", "rejected"):
            pair[f"{key}_ids"] = [*encoder.text(row[key].strip()), end]
        if _length(pair) <= encoder.max_tokens:
            pairs.append(pair)
    return pairs


def fit_pairs(
    recipe: Recipe,
    rows: Iterable[Mapping[str, Any]],
    held_out: Iterable[Mapping[str, Any]],
    *,
    base: Path,
    out: Path,
    tick: fitting.Tick,
    start_from: Path | None,
) -> fitting.Trained:
    """Train an adapter to prefer; as `training.train`, which calls this."""
    settings, contract = recipe.training, recipe.contract
    rows = list(rows)
    tick(0, 1, "reading the base")
    model, tokenizer = methods.load_base(base, recipe.method)
    taken = methods.taken(recipe, model.num_parameters())
    encoder = Encoder(tokenizer, max_tokens=settings.max_tokens)
    pairs = pairs_from(rows, contract, encoder)
    drawn = fitting.drawn(pairs_from(held_out, contract, encoder), settings)
    if not pairs:
        raise ConfigError(
            f"{recipe.skill}: none of the {len(rows)} pairs fits into training.max_tokens, "
            f"{settings.max_tokens}; raise it, or shorten the texts"
        )
    size = max(1, settings.batch_tokens // (2 * max(map(_length, pairs))))
    plan = fitting.schedule(settings, -(-len(pairs) // size))
    options = fitting.arguments(
        settings, plan, learning_rate=taken.learning_rate, out=out, evaluate=bool(drawn)
    )
    with warnings.catch_warnings():
        # PEFT and trl name an option that transformers has renamed; nothing to act on.
        warnings.filterwarnings("ignore", message=".*gradient_checkpointing")
        trainer = _PairTrainer(
            model=methods.attach(model, recipe, taken.alpha, start_from),
            args=DPOConfig(
                per_device_train_batch_size=size,
                per_device_eval_batch_size=size,
                beta=settings.beta,
                max_length=None,
                # trl's default, which computes every layer twice to save memory.
                gradient_checkpointing=False,
                # The weights are in what the machine computes in already.
                bf16=False,
                **options,
            ),
            train_dataset=Dataset.from_list(pairs),
            eval_dataset=Dataset.from_list(drawn) if drawn else None,
            processing_class=tokenizer,
        )
    fitted = fitting.fit(trainer, settings, out, tick)
    counts = {
        "rows": len(pairs),
        "too_long": len(rows) - len(pairs),
        "held_out_rows": len(drawn),
        "tokens": sum(map(_length, pairs)),
    }
    return fitting.Trained(trainer.model, tokenizer, taken, counts, fitted)


class _PairTrainer(DPOTrainer):
    """trl's trainer, given token ids."""

    def _prepare_dataset(
        self,
        dataset: Any,
        processing_class: Any,  # noqa: ARG002
        args: Any,  # noqa: ARG002
        dataset_name: str,  # noqa: ARG002
    ) -> Any:
        # It would render and tokenize; the encoder has done that, as it does at inference.
        return dataset

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None: trl would write one into every checkpoint; a skill has its own."""


def _length(pair: Mapping[str, Sequence[int]]) -> int:
    return len(pair["prompt_ids"]) + max(len(pair["chosen_ids"]), len(pair["rejected_ids"]))
