"""The methods of training: what each makes trainable, and what it takes where a recipe is silent.

Adapters sit on all linear layers and their weights are float32, on a base in what the machine
computes fast in; `qlora` keeps the base in 4 bits. `full` trains every weight of the base in
float32, because updates of that size vanish in bfloat16.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils import logging as transformers_logging

from seamline.errors import ConfigError
from seamline.models.making import WEIGHTS
from seamline.models.precision import fast_dtype
from seamline.models.recipes import Method, Recipe

__all__ = [
    "LARGE",
    "Taken",
    "attach",
    "attach_all",
    "causal",
    "load_base",
    "save_adapter",
    "taken",
]

LARGE = 1_000_000_000
"""Parameters from which a base counts as large."""

_RATES: dict[Method, tuple[float, float]] = {
    "lora": (6e-4, 2e-4),
    "alora": (1e-3, 4e-4),
    "rslora": (6e-4, 2e-4),
    "dora": (6e-4, 2e-4),
    "qlora": (6e-4, 2e-4),
    "full": (6e-5, 2e-5),
}
"""Learning rates of `sft` on a base below `LARGE` and on a larger one.

Those of lora and alora below it were compared on `clause_type`. The larger are those of QLoRA
(arXiv 2305.14314, 2e-4 up to 13 billion parameters); that full fine-tuning takes a tenth is from
"LoRA Without Regret" (Thinking Machines, 2025).
"""

_DPO_SHARE = 0.05
"""Of the rate of `sft`: on a large base 1e-5 for an adapter, as trl's documentation advises."""


class Taken(NamedTuple):
    """What a training takes: of the recipe, or the default of its method and base size."""

    learning_rate: float
    alpha: int


def taken(recipe: Recipe, parameters: int) -> Taken:
    """What `recipe` takes on a base of so many parameters."""
    settings = recipe.training
    rate = _RATES[recipe.method][parameters >= LARGE]
    if recipe.objective == "dpo":
        rate *= _DPO_SHARE
    # A scale of 2 at the default rank of 16 both times: alpha / rank, and alpha / sqrt(rank).
    alpha = 8 if recipe.method == "rslora" else 2 * settings.rank
    return Taken(settings.learning_rate or rate, settings.alpha or alpha)


def training_dtype() -> torch.dtype:
    """What a training computes in on this machine."""
    return fast_dtype("cuda" if torch.cuda.is_available() else "cpu")


def load_base(path: Path, method: Method) -> tuple[Any, Any]:
    """The base as the method trains it, and its tokenizer, from a local folder only.

    Raises:
        ConfigError: The method needs a 4-bit base and this machine cannot make one.
    """
    _quiet()
    own = {"full": torch.float32, "qlora": torch.bfloat16}
    options: dict[str, Any] = {"dtype": own.get(method) or training_dtype()}
    if method == "qlora":
        _require_quantiser()
        quantised: Any = BitsAndBytesConfig
        options["quantization_config"] = quantised(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    # Fused attention takes our masks too: on a GPU it is faster, and keeps no scores for the
    # backward pass.
    attention = "sdpa" if torch.cuda.is_available() else "eager"
    model: Any = AutoModelForCausalLM.from_pretrained(
        path, attn_implementation=attention, local_files_only=True, **options
    )
    for module in model.modules():
        # On a CPU bitsandbytes repacks the weights in the first evaluation, and what runs on
        # the packed ones has no gradient: training would go on with wrong ones.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model, AutoTokenizer.from_pretrained(path, local_files_only=True)


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Without what PEFT warns of when it reads an attribute that transformers has renamed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing")
        yield


def attach(model: Any, recipe: Recipe, alpha: int, start_from: Path | None) -> Any:
    """The base with what is trained: an adapter, or for `full` all of it.

    Raises:
        ConfigError: The adapter to continue is of another method or shape.
    """
    if recipe.method == "full":
        return model
    with _calm():
        if start_from is None:
            peft_model: Any = get_peft_model(model, _adapter(recipe, alpha))
        else:
            _require_same_shape(recipe, alpha, start_from)
            config: Any = PeftConfig.from_pretrained(str(start_from))
            # Training feeds an aLoRA its branches alone, so it acts on all that it is fed.
            config.alora_invocation_tokens = None
            peft_model = PeftModel.from_pretrained(
                model, str(start_from), is_trainable=True, config=config
            )
    for parameter in peft_model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return peft_model


def attach_all(model: Any, adapters: Sequence[Path]) -> Any:
    """The base with adapters side by side, named part_0, part_1 and so on; none is trained."""
    first, *others = adapters
    with _calm():
        peft_model: Any = PeftModel.from_pretrained(model, str(first), adapter_name="part_0")
        for number, other in enumerate(others, 1):
            peft_model.load_adapter(str(other), adapter_name=f"part_{number}")
    return peft_model


def save_adapter(model: Any, out: Path) -> None:
    """Write the adapter named default into `out`, in bfloat16; each file in one rename."""
    for name, parameter in model.named_parameters():
        if ".default" in name:
            parameter.data = parameter.data.to(torch.bfloat16)
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=out) as name:
        model.save_pretrained(
            name,
            safe_serialization=True,
            selected_adapters=["default"],
            save_embedding_layers=False,
        )
        for file in ("adapter_config.json", WEIGHTS):
            (Path(name) / file).replace(out / file)


def _adapter(recipe: Recipe, alpha: int) -> LoraConfig:
    """The adapter's shape, on all linear layers but the head."""
    return LoraConfig(
        r=recipe.training.rank,
        lora_alpha=alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        use_rslora=recipe.method == "rslora",
        use_dora=recipe.method == "dora",
    )


def causal(model: Any) -> Any:
    """The base itself, below what PEFT put around it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def _quiet() -> None:
    """Progress is told by us, and what transformers warns of here are tied weights."""
    log: Any = transformers_logging
    log.disable_progress_bar()
    log.set_verbosity_error()


def _require_quantiser() -> None:
    instead = "or set method: lora in recipe.yaml"
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            "method qlora keeps the base in 4 bits with bitsandbytes, which is not installed: "
            f"pip install 'seamline[qlora]', {instead}"
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        functional: Any = importlib.import_module("bitsandbytes.functional")
        functional.quantize_4bit(torch.ones(64, 64, device=device), quant_type="nf4")
    except (ImportError, OSError, RuntimeError, NotImplementedError, AttributeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"bitsandbytes cannot quantise on this machine's {device}: {first}; install a build "
            f"of it that can, {instead}"
        ) from error


def _require_same_shape(recipe: Recipe, alpha: int, folder: Path) -> None:
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    found = {
        "rank": config["r"],
        "alpha": config["lora_alpha"],
        "rslora": bool(config.get("use_rslora")),
        "dora": bool(config.get("use_dora")),
        "alora": bool(config.get("alora_invocation_tokens")),
    }
    made = {
        "rank": recipe.training.rank,
        "alpha": alpha,
        **{method: recipe.method == method for method in ("rslora", "dora", "alora")},
    }
    for name, value in made.items():
        if found[name] != value:
            raise ConfigError(
                f"{recipe.skill}@{recipe.version} continues {recipe.continues}, whose adapter has "
                f"{name} {found[name]}, but the recipe says {value}; take its method, rank and "
                "alpha, or remove `continues`"
            )
