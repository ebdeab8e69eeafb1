"""Train a skill's adapter from its recipe: `python -m seamline.models.training FOLDER`.

The rows come from the skill's own `data.py`, the prompt from its contract, the loop from
transformers' `Trainer` (checkpoints, resume, seed), the adapter from PEFT. What is ours is
the loss: it is read at the last token of every branch, on the logits of the answer tokens
alone, so neither a vocabulary-sized softmax nor a decoded token is ever computed. And LoRA
layers train on merged weights (`merged_lora`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import BaseModel, ConfigDict
from torch.nn import functional
from torch.utils.data import Dataset, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from seamline.errors import ConfigError
from seamline.models.contracts import SkillContract
from seamline.models.dataset.duplicates import Tick
from seamline.models.encoding import Batch, Encoder, Row, collate, collate_branches, pack
from seamline.models.merged_lora import train_merged
from seamline.models.prefixes import PrefixStore
from seamline.models.protocol import Choice, DecideRequest
from seamline.models.recipes import Recipe, Training

__all__ = ["Example", "examples_from", "load_base", "train"]


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
        ConfigError: A label is outside the contract's set.
    """
    names = list(contract.labels)
    for row in rows:
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


def load_base(path: Path, *, dtype: torch.dtype, attention: str = "sdpa") -> tuple[Any, Any]:
    """The base model and its tokenizer, from a local folder only."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(
        path, dtype=dtype, attn_implementation=attention, local_files_only=True
    )
    return model, AutoTokenizer.from_pretrained(path, local_files_only=True)


_WINDOW = 16
"""Batches of an aLoRA that are cut from rows of one draw: alike in length, mixed in content."""


class _Batches(Dataset[dict[str, Any]]):
    """Pre-packed batches of similar length, stage by stage; an item is a whole batch.

    With `held`, prefixes come from there, and a batch is fed its branches alone.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        examples: Sequence[Example],
        settings: Training,
        pad_id: int,
        held: PrefixStore | None = None,
    ) -> None:
        self.rows, self.golds = rows, [example.gold for example in examples]
        self.pad_id, self.held = pad_id, held
        self.groups: list[list[int]] = []
        rng = random.Random(settings.seed)
        for stage in sorted({example.stage for example in examples}):
            own = [i for i, example in enumerate(examples) if example.stage == stage]
            packed = self._packed(own, settings.batch_tokens, rng)
            rng.shuffle(packed)
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
            "batch": laid(rows, pad_id=self.pad_id, dtype=torch.bfloat16),
            "gold": [self.golds[i] for i in group],
            "rows": group,
        }


class _SkillTrainer(Trainer):
    """Trainer with the loss read at the branches' last tokens."""

    def __init__(
        self,
        *,
        answer_ids: Sequence[int],
        settings: Training,
        labels: bool,
        held: PrefixStore | None,
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        # It prints to stdout, which is the report's.
        self.remove_callback(PrinterCallback)
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
        causal = model.get_base_model()
        device = causal.device
        hidden = causal.model(
            input_ids=batch.input_ids.to(device),
            position_ids=batch.position_ids.to(device),
            attention_mask=batch.attention_mask.to(device),
            past_key_values=self._held and self._held.rows(inputs["rows"], device),
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


class _Steps(TrainerCallback):
    """Tells the steps done, and the last loss."""

    def __init__(self, tick: Tick) -> None:
        self._tick, self._loss = tick, ""

    def on_log(self, args: Any, state: Any, control: Any, **rest: Any) -> None:  # noqa: ARG002
        loss = rest.get("logs", {}).get("loss")
        self._loss = f", loss {float(loss):.3f}" if loss is not None else self._loss

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self._tick(state.global_step, state.max_steps, f"steps of training{self._loss}")


def train(
    recipe: Recipe,
    examples: Iterable[Example],
    *,
    base: Path,
    out: Path,
    start_from: Path | None = None,
    tick: Tick | None = None,
) -> dict[str, Any]:
    """Train one adapter into `out` (a PEFT folder) and return what the run did.

    An aLoRA is trained behind prefixes that the bare base has read once (`PrefixStore`). An
    interrupted run goes on from its last checkpoint in `out/checkpoints`; `start_from`
    continues another adapter's weights on these examples.

    Raises:
        ConfigError: There is nothing to train on, or only one class.
    """
    settings, contract = recipe.training, recipe.contract
    torch.manual_seed(settings.seed)
    random.seed(settings.seed)
    examples = list(examples)
    _need_two_classes(examples, recipe.skill)
    model, tokenizer = load_base(base, dtype=torch.bfloat16, attention="eager")
    encoder = Encoder(tokenizer, max_tokens=settings.max_tokens)
    rows = [encoder.row(example.request, contract) for example in examples]
    words = contract.labels.values() if contract.read == "labels" else contract.answers
    held = None
    if recipe.kind == "alora":
        held = PrefixStore(model, [row.prefix for row in rows], folder=out / "prefixes", tick=tick)
    dataset = _Batches(rows, examples, settings, tokenizer.pad_token_id or 0, held)
    peft_model = _adapter(model, settings, start_from)
    train_merged(peft_model)
    checkpoints = out / "checkpoints"
    trainer = _SkillTrainer(
        answer_ids=[encoder.token(word) for word in words],
        settings=settings,
        labels=contract.read == "labels",
        held=held,
        model=peft_model,
        args=_arguments(settings, len(dataset), checkpoints),
        train_dataset=dataset,
        data_collator=lambda items: items[0],
        callbacks=[_Steps(tick)] if tick else [],
    )
    result = trainer.train(resume_from_checkpoint=_last(checkpoints))
    _save(peft_model, out, encoder.invocation(contract) if recipe.kind == "alora" else ())
    return {
        "rows": len(rows),
        "tokens": sum(map(len, rows)),
        "steps": result.global_step,
        "loss": round(result.training_loss, 4),
        "seconds": round(result.metrics.get("train_runtime", 0.0)),
    }


def _need_two_classes(examples: Sequence[Example], skill: str) -> None:
    if len({gold for example in examples for gold in example.gold}) < 2:
        raise ConfigError(
            f"{skill}: the {len(examples)} training rows hold fewer than two classes; "
            "add rows of the other one"
        )


def _last(checkpoints: Path) -> str | None:
    find: Any = get_last_checkpoint
    found: str | None = find(str(checkpoints)) if checkpoints.is_dir() else None
    return found


def _save(peft_model: Any, out: Path, invocation: Sequence[int]) -> None:
    for parameter in peft_model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    if invocation:
        peft_model.active_peft_config.alora_invocation_tokens = list(invocation)
    peft_model.save_pretrained(str(out), safe_serialization=True)


def _adapter(model: Any, settings: Training, start_from: Path | None) -> Any:
    """The base with a trainable adapter; its weights are float32, the base's bfloat16."""
    if start_from is None:
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        peft_model: Any = get_peft_model(model, config)
    else:
        peft_model = PeftModel.from_pretrained(model, str(start_from), is_trainable=True)
    for parameter in peft_model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return peft_model


def _arguments(settings: Training, batches: int, checkpoints: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, int(settings.warmup * batches * settings.epochs)),
        per_device_train_batch_size=1,
        use_cpu=not torch.cuda.is_available(),
        max_grad_norm=1.0,
        weight_decay=0.0,
        logging_steps=20,
        save_steps=100,
        save_total_limit=1,
        report_to=[],
        disable_tqdm=True,
        seed=settings.seed,
        remove_unused_columns=False,
        dataloader_num_workers=0,
    )
