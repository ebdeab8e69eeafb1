"""Running a trainer: its schedule, early stopping, progress, and going on where it was stopped."""

from __future__ import annotations

import importlib.util
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback
from transformers.trainer_utils import set_seed

from seamline.errors import ConfigError
from seamline.models.checkpoints import CHECKPOINTS, last_whole
from seamline.models.loss_curve import Curve
from seamline.models.methods import Taken
from seamline.models.recipes import Training

__all__ = [
    "Fitted",
    "Schedule",
    "Tick",
    "Trained",
    "arguments",
    "drawn",
    "fit",
    "require_one_gpu",
    "require_packages",
    "schedule",
    "write_curve",
]

Row = TypeVar("Row")

CURVE, PICTURE = "loss.json", "loss.png"

Tick = Callable[[int, int, str], None]
"""Gets (done, total, what): steps, with the losses so far."""


class Schedule(NamedTuple):
    """How long a training is and when it looks up.

    Attributes:
        steps: All steps.
        every: Steps between two checkpoints, and between two readings of the held-out rows.
        wait: Steps before the first reading: those of a curriculum's stages before the last.
    """

    steps: int
    every: int
    wait: int = 0


class Fitted(NamedTuple):
    """What a run of a trainer did."""

    steps: int
    stopped_early: bool
    curve: Curve
    seconds: float


class Trained(NamedTuple):
    """A model after its training.

    Attributes:
        counts: Rows and tokens, under the names that the report gives them.
    """

    model: Any
    tokenizer: Any
    taken: Taken
    counts: dict[str, int]
    fitted: Fitted


def require_packages(*names: str) -> None:
    """Tell before the work what the extra `train` would have brought.

    Raises:
        ConfigError: One of them is not installed.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"training needs {', '.join(missing)}: pip install -c constraints.txt 'seamline[train]'"
        )


def require_one_gpu() -> None:
    """Refuse more GPUs than one, over which the trainer would spread a batch.

    Raises:
        ConfigError: PyTorch sees several.
    """
    if torch.cuda.device_count() > 1:
        raise ConfigError(
            f"training runs on one GPU, and PyTorch sees {torch.cuda.device_count()}; set "
            "CUDA_VISIBLE_DEVICES to one of them, e.g. CUDA_VISIBLE_DEVICES=0"
        )


def drawn(held_out: Sequence[Row], settings: Training) -> list[Row]:
    """The held-out rows that are read during the training."""
    if len(held_out) <= settings.held_out_rows:
        return list(held_out)
    return random.Random(settings.seed).sample(held_out, settings.held_out_rows)


def schedule(settings: Training, batches: int, *, wait: int = 0) -> Schedule:
    """The schedule of an epoch of so many batches, of which `wait` are before the last stage."""
    steps = math.ceil(batches * settings.epochs)
    return Schedule(steps, max(1, round(steps / settings.evaluations)), wait)


def arguments(
    settings: Training, plan: Schedule, *, learning_rate: float, out: Path, evaluate: bool
) -> dict[str, Any]:
    """What every trainer is told."""
    set_seed(settings.seed)
    options: dict[str, Any] = {
        # Absolute, because the trainer notes in its state where the best checkpoint lies.
        "output_dir": str((out / CHECKPOINTS).resolve()),
        "num_train_epochs": settings.epochs,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "cosine",
        # None where there are few steps: the first of a warm-up has a rate of 0.
        "warmup_steps": int(settings.warmup * plan.steps),
        "use_cpu": not torch.cuda.is_available(),
        "max_grad_norm": 1.0,
        "weight_decay": 0.0,
        "logging_steps": max(1, min(20, plan.steps // 20)),
        "logging_nan_inf_filter": False,
        "save_steps": plan.every,
        "save_total_limit": 1,
        "restore_callback_states_from_checkpoint": True,
        "report_to": [],
        "disable_tqdm": True,
        "seed": settings.seed,
        "remove_unused_columns": False,
        "dataloader_num_workers": 0,
    }
    if evaluate:
        options |= {
            "eval_strategy": "steps",
            "eval_steps": plan.every,
            "eval_delay": plan.wait,
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss",
            "greater_is_better": False,
            "prediction_loss_only": True,
        }
    return options


def fit(trainer: Any, settings: Training, out: Path, tick: Tick) -> Fitted:
    """Run a trainer to its end, from its last whole checkpoint where there is one.

    Raises:
        ConfigError: The loss is no number any more.
    """
    # It would print every log on stdout.
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_Progress(tick))
    held_out = trainer.eval_dataset is not None
    if held_out:
        trainer.add_callback(_Patience(settings.patience))
    last = last_whole(out / CHECKPOINTS)
    result = trainer.train(resume_from_checkpoint=str(last) if last else None)
    state = trainer.state
    curve = Curve.of(state.log_history, state.best_global_step if held_out else None)
    if not all(p.isfinite().all() for p in trainer.model.parameters() if p.requires_grad):
        raise ConfigError(_DIVERGED.format(step=state.global_step))
    return Fitted(
        steps=state.global_step,
        stopped_early=state.global_step < state.max_steps,
        curve=curve,
        seconds=result.metrics.get("train_runtime", 0.0),
    )


def write_curve(curve: Curve, out: Path) -> None:
    """The curve as `loss.json` and `loss.png` in `out`."""
    (out / CURVE).write_text(curve.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (out / PICTURE).write_bytes(curve.png())


_DIVERGED = (
    "the training diverged before step {step}: its weights are no numbers any more; set a lower "
    "training.learning_rate, remove the checkpoints and train again"
)


class _Patience(EarlyStoppingCallback):
    """Early stopping that does not forget, when a training goes on, that it had stopped."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        begin: Any = super().on_train_begin
        begin(args, state, control, **rest)
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True


class _Progress(TrainerCallback):
    """Tells the steps and the last losses, and stops at a loss that is no number."""

    def __init__(self, tick: Tick) -> None:
        self._tick, self._losses = tick, dict[str, float]()

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:  # noqa: ARG002
        """A step is done; the signature is that of transformers."""
        losses = [f"{name} {loss:.3f}" for name, loss in self._losses.items()]
        self._tick(state.global_step, state.max_steps, ", ".join(["training", *losses]))

    def on_log(self, args: Any, state: Any, control: Any, **rest: Any) -> None:  # noqa: ARG002
        """There is a loss; the signature is that of transformers."""
        logs = rest["logs"]
        for key, name in (("loss", "loss"), ("eval_loss", "held out")):
            if key in logs:
                self._losses[name] = logs[key]
                if math.isnan(logs[key]):
                    raise ConfigError(_DIVERGED.format(step=state.global_step))
