"""Train what a recipe asks for, on prepared rows.

The prompt comes from the skill's contract, the loop from transformers' `Trainer` (checkpoints,
resume, seed), the adapter from PEFT, the loss of preferences from trl (`preference`). What is
ours is the loss of an answer: it is read at the last token of every branch, on the logits of the
answer tokens alone, so neither a vocabulary-sized softmax nor a decoded token is ever computed.
And LoRA layers train on merged weights (`merged_lora`).
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from peft import PeftModel
from pydantic import BaseModel, ConfigDict
from torch.nn import functional
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainingArguments

from seamline.errors import ConfigError
from seamline.models import fitting, methods
from seamline.models.checkpoints import FULL, PREFIXES, disk_errors
from seamline.models.contracts import SkillContract
from seamline.models.encoding import Batch, Encoder, Row, collate, collate_branches, pack
from seamline.models.merged_lora import train_merged
from seamline.models.prefixes import LivePrefixes, PrefixStore
from seamline.models.protocol import Choice, DecideRequest
from seamline.models.recipes import Recipe, Training

__all__ = ["Example", "examples_from", "train"]


class Example(BaseModel):
    """One training row: a request, and its gold answer (per branch, or a set of labels)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: DecideRequest
    gold: tuple[int, ...]
    group: str = ""
    stage: int = 1


def examples_from(rows: Iterable[Mapping[str, Any]], contract: SkillContract) -> Iterator[Example]:
    """Examples from the rows of a skill's `data.py`.

    `stage` orders the rows of a curriculum; within a stage they are shuffled. A row is
    `{"context": {...}, "branches": [{..., "label": 0|1}]}`, `{"context": {...},
    "labels": [...]}`, or, for a skill without a prompt of its own, `{"kind", "instructions",
    "context", "branches": [{"text", "label"}]}`.

    Raises:
        ConfigError: A label is outside the contract's set, or a row has none.
    """
    names = list(contract.labels)
    for row in rows:
        if not row["labels" if contract.read == "labels" else "branches"]:
            raise ConfigError(
                f"a training row has no {contract.read}: {str(row['context'])[:80]!r}; remove it"
            )
        group, stage = str(row.get("source") or ""), int(row.get("stage", 1))
        if contract.read == "labels":
            unknown = set(row["labels"]) - set(names)
            if unknown:
                raise ConfigError(
                    f"label {sorted(unknown)[0]!r} is not in the skill's label set; "
                    f"expected one of: {', '.join(names)}"
                )
            gold = tuple(int(name in row["labels"]) for name in names)
            yield Example(
                request=contract.request(row["context"]), gold=gold, group=group, stage=stage
            )
            continue
        gold = tuple(int(branch["label"]) for branch in row["branches"])
        if "kind" in row:
            request = DecideRequest(
                ask=row["kind"],
                instructions=row["instructions"],
                context=row["context"],
                choices=tuple(
                    Choice(name=b.get("name", str(i)), text=b["text"])
                    for i, b in enumerate(row["branches"])
                ),
            )
        else:
            branches = [{k: v for k, v in b.items() if k != "label"} for b in row["branches"]]
            request = contract.request(row["context"], branches)
        yield Example(request=request, gold=gold, group=group, stage=stage)


_WINDOW = 16
"""Batches of an aLoRA that are cut from rows of one draw: alike in length, mixed in content."""


class _Batches(Dataset[dict[str, Any]]):
    """Pre-packed batches of similar length, stage by stage; an item is a whole batch.

    Attributes:
        held: Where prefixes come from, of which a batch is then fed the branches alone.
        first: The place of the first row there.
        wait: How many of the batches come before the last stage.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        examples: Sequence[Example],
        settings: Training,
        pad_id: int,
        held: LivePrefixes | PrefixStore | None,
        first: int,
    ) -> None:
        self.rows, self.golds = rows, [example.gold for example in examples]
        self.pad_id, self.held, self.first = pad_id, held, first
        self.groups: list[list[int]] = []
        self.wait = 0
        rng = random.Random(settings.seed)
        for stage in sorted({example.stage for example in examples}):
            own = [i for i, example in enumerate(examples) if example.stage == stage]
            packed = self._packed(own, settings.batch_tokens, rng)
            rng.shuffle(packed)
            self.wait = len(self.groups)
            self.groups += packed

    def _packed(self, own: list[int], most: int, rng: random.Random) -> list[list[int]]:
        if self.held is None:
            packed = pack([len(self.rows[i]) for i in own], max_tokens=most)
            return [[own[i] for i in group] for group in packed]
        # Branches of one length often ask the same question; a batch of one question is no batch.
        rng.shuffle(own)
        lengths = {i: len(self.rows[i]) - len(self.rows[i].prefix) for i in own}
        wide = max(1, most * _WINDOW * len(own) // sum(lengths.values()))
        packed = []
        for at in range(0, len(own), wide):
            drawn = own[at : at + wide]
            packed += [
                [drawn[i] for i in group]
                for group in pack([lengths[i] for i in drawn], max_tokens=most)
            ]
        return packed

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> dict[str, Any]:
        group = self.groups[index]
        rows = [self.rows[i] for i in group]
        laid = collate if self.held is None else collate_branches
        return {
            "batch": laid(rows, pad_id=self.pad_id, dtype=methods.training_dtype()),
            "gold": [self.golds[i] for i in group],
            "rows": [self.first + i for i in group],
        }


class _SkillTrainer(Trainer):
    """Trainer with the loss read at the branches' last tokens."""

    def __init__(
        self,
        *,
        answer_ids: Sequence[int],
        settings: Training,
        labels: bool,
        held: LivePrefixes | PrefixStore | None,
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self._answers = torch.tensor(list(answer_ids))
        self._settings, self._labels, self._held = settings, labels, held

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        # The batches are shuffled within their stage; the trainer must keep the stages apart.
        found: Any = train_dataset if train_dataset is not None else self.train_dataset
        return SequentialSampler(found)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: ARG002
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Any:
        """The loss of one batch; the signature is that of transformers."""
        batch: Batch = inputs["batch"]
        causal = methods.causal(model)
        device = causal.device
        hidden = causal.model(
            input_ids=batch.input_ids.to(device),
            position_ids=batch.position_ids.to(device),
            attention_mask=batch.attention_mask.to(device),
            past_key_values=self._held and self._held.rows(inputs["rows"], model),
            use_cache=self._held is not None,
        ).last_hidden_state
        reads = batch.reads.to(device)
        read = hidden[reads[:, 0], reads[:, 1]]
        weight = causal.lm_head.weight[self._answers.to(device)]
        logits = (read @ weight.to(read.dtype).T).float()
        if self._labels:
            gold = torch.tensor(inputs["gold"], dtype=torch.float32, device=device)
            target = gold / gold.sum(dim=1, keepdim=True)
            return functional.cross_entropy(logits, target)
        return self._branch_loss(logits[:, 0] - logits[:, 1], inputs["gold"])

    def prediction_step(
        self,
        model: Any,
        inputs: dict[str, Any],
        prediction_loss_only: bool,  # noqa: ARG002
        ignore_keys: Any = None,  # noqa: ARG002
    ) -> Any:
        """The loss of one held-out batch; the signature is that of transformers."""
        with torch.no_grad(), self.compute_loss_context_manager():
            return self.compute_loss(model, inputs).detach(), None, None

    def _branch_loss(self, margins: torch.Tensor, golds: Sequence[tuple[int, ...]]) -> Any:
        flat = torch.tensor([g for gold in golds for g in gold], dtype=torch.float32)
        loss = functional.binary_cross_entropy_with_logits(margins, flat.to(margins.device))
        if not self._settings.listwise:
            return loss
        at, lists = 0, []
        for gold in golds:
            own = margins[at : at + len(gold)]
            at += len(gold)
            if sum(gold) == 1 and len(gold) > 1:
                target = torch.tensor([gold.index(1)], device=own.device)
                lists.append(functional.cross_entropy(own[None], target))
        if lists:
            loss = loss + self._settings.listwise * torch.stack(lists).mean()
        return loss


def train(
    recipe: Recipe,
    rows: Iterable[Mapping[str, Any]],
    held_out: Iterable[Mapping[str, Any]] = (),
    *,
    base: Path,
    out: Path,
    tick: fitting.Tick,
    start_from: Path | None = None,
) -> dict[str, Any]:
    """Train what the recipe asks for into `out`, and return what the run did.

    An aLoRA is trained behind prefixes that the bare base has read, on a CPU once for all
    epochs (`PrefixStore`), on a GPU each time anew (`LivePrefixes`). An adapter is a PEFT folder
    in `out`; of `method: full`, `out/base` is a base. The losses are in `out/loss.json` and
    `out/loss.png`. An interrupted run goes on from its last checkpoint, and gives what it would
    have given uninterrupted.

    Args:
        recipe: Method, objective, contract and settings.
        rows: The rows to train on, in their order.
        held_out: The rows by whose loss the training stops, and the best weights are chosen.
        base: Folder of the base.
        out: Where everything is written.
        tick: Gets (done, all, what): the prefixes of an aLoRA, then the steps with their losses.
        start_from: An adapter whose weights are trained on.

    Raises:
        ConfigError: There is nothing to train on, or only one class; the method does not run
            here; the training diverged; the disk is full.
        SkillError: The contract cannot make a prompt of a row.
    """
    fitting.require_packages("accelerate", "matplotlib")
    fitting.require_one_gpu()
    out.mkdir(parents=True, exist_ok=True)
    with disk_errors(out):
        if recipe.objective == "dpo":
            from seamline.models.preference import fit_pairs as fit
        else:
            fit = _fit_answers
        trained = fit(recipe, rows, held_out, base=base, out=out, tick=tick, start_from=start_from)
        fitting.write_curve(trained.fitted.curve, out)
        _save(trained, out)
    return _report(recipe, trained)


def _report(recipe: Recipe, trained: fitting.Trained) -> dict[str, Any]:
    fitted = trained.fitted
    held_out = {point.step: point.loss for point in fitted.curve.held_out}
    kept = fitted.curve.best or fitted.steps
    return {
        "method": recipe.method,
        "objective": recipe.objective,
        "learning_rate": trained.taken.learning_rate,
        "alpha": trained.taken.alpha,
        **trained.counts,
        "steps": fitted.steps,
        "stopped_early": fitted.stopped_early,
        "kept_step": kept,
        "loss": round(fmean(point.loss for point in fitted.curve.train), 4),
        "held_out_loss": held_out.get(kept),
        "seconds": round(fitted.seconds),
    }


def _taught(recipe: Recipe, rows: Iterable[Mapping[str, Any]]) -> list[Example]:
    """The examples, which teach at least two labels, or the answers yes and no."""
    examples = list(examples_from(rows, recipe.contract))
    if recipe.contract.read == "labels":
        classes = {at for example in examples for at, gold in enumerate(example.gold) if gold}
    else:
        classes = {gold for example in examples for gold in example.gold}
    if len(classes) < 2:
        raise ConfigError(
            f"{recipe.skill}: the {len(examples)} training rows hold fewer than two classes; "
            "add rows of the other one"
        )
    return examples


def _fit_answers(
    recipe: Recipe,
    rows: Iterable[Mapping[str, Any]],
    held_out: Iterable[Mapping[str, Any]],
    *,
    base: Path,
    out: Path,
    tick: fitting.Tick,
    start_from: Path | None,
) -> fitting.Trained:
    """Learn the right answers: `objective: sft`."""
    settings, contract = recipe.training, recipe.contract
    examples = _taught(recipe, rows)
    drawn = fitting.drawn(list(examples_from(held_out, contract)), settings)
    tick(0, 1, "reading the base")
    model, tokenizer = methods.load_base(base, recipe.method)
    taken = methods.taken(recipe, model.num_parameters())
    encoder = Encoder(tokenizer, max_tokens=settings.max_tokens)
    # Told before the work, and not after it, where a contract has no words to call an aLoRA by.
    invocation = encoder.invocation(contract) if recipe.method == "alora" else ()
    encoded = [encoder.row(example.request, contract) for example in (*examples, *drawn)]
    held = _prefixes(model, encoded, out / PREFIXES, tick) if invocation else None
    dataset, read = _both(encoded, examples, drawn, settings, encoder, held)
    plan = fitting.schedule(settings, len(dataset), wait=dataset.wait)
    # Before the adapter is made, because its weights are drawn.
    options = fitting.arguments(
        settings, plan, learning_rate=taken.learning_rate, out=out, evaluate=read is not None
    )
    model = methods.attach(model, recipe, taken.alpha, start_from)
    train_merged(model)
    trainer = _SkillTrainer(
        answer_ids=_answer_ids(encoder, contract),
        settings=settings,
        labels=contract.read == "labels",
        held=held,
        model=model,
        args=TrainingArguments(
            per_device_train_batch_size=1,
            per_device_eval_batch_size=1,
            # Where all weights are trained they are float32, and cast for each product.
            bf16=recipe.method == "full" and methods.training_dtype() == torch.bfloat16,
            **options,
        ),
        train_dataset=dataset,
        eval_dataset=read,
        data_collator=lambda items: items[0],
    )
    fitted = fitting.fit(trainer, settings, out, tick)
    if invocation:
        model.active_peft_config.alora_invocation_tokens = list(invocation)
    cut = [row.cut for row in encoded[: len(examples)] if row.cut]
    counts = {
        "rows": len(examples),
        "cut_rows": len(cut),
        "cut_rows_asked_whole": sum(n <= recipe.max_tokens - settings.max_tokens for n in cut),
        "held_out_rows": len(drawn),
        "tokens": sum(map(len, dataset.rows)),
    }
    return fitting.Trained(model, tokenizer, taken, counts, fitted)


def _answer_ids(encoder: Encoder, contract: SkillContract) -> list[int]:
    words = contract.labels.values() if contract.read == "labels" else contract.answers
    return [encoder.token(word) for word in words]


def _prefixes(
    model: Any, encoded: Sequence[Row], folder: Path, tick: fitting.Tick
) -> LivePrefixes | PrefixStore:
    """The prefixes of an aLoRA: kept on a CPU, where reading them again would cost the most."""
    prefixes = [row.prefix for row in encoded]
    if torch.cuda.is_available():
        return LivePrefixes(prefixes)
    return PrefixStore(model, prefixes, folder=folder, tick=tick)


def _both(
    encoded: Sequence[Row],
    examples: Sequence[Example],
    drawn: Sequence[Example],
    settings: Training,
    encoder: Encoder,
    held: LivePrefixes | PrefixStore | None,
) -> tuple[_Batches, _Batches | None]:
    """The batches to train on, and those that are held out, where there are some."""
    pad, first = encoder.tokenizer.pad_token_id or 0, len(examples)
    dataset = _Batches(encoded[:first], examples, settings, pad, held, 0)
    read = _Batches(encoded[first:], drawn, settings, pad, held, first) if drawn else None
    return dataset, read


def _save(trained: fitting.Trained, out: Path) -> None:
    """Write the weights in bfloat16; each file, or the folder of a base, in one rename."""
    model = trained.model
    if isinstance(model, PeftModel):
        methods.save_adapter(model, out)
        return
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=out) as name:
        saved = Path(name) / FULL
        # In one file, because a base's digest is of one file.
        model.save_pretrained(saved, max_shard_size="1000GB")
        trained.tokenizer.save_pretrained(saved)
        shutil.rmtree(out / FULL, ignore_errors=True)
        saved.rename(out / FULL)
