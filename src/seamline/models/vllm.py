"""Whether vLLM serves an adapter as it was trained: `seamline models lint`.

vLLM reads seven settings of `adapter_config.json` (`vllm/lora/peft_helper.py`: r, lora_alpha,
target_modules, bias, modules_to_save, use_rslora, use_dora), refuses some values of them, and
ignores every other setting without a word. What it would ignore is what must be looked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from seamline.errors import SkillError
from seamline.models.bases import BaseSpec
from seamline.models.skills import SkillSpec

__all__ = ["RANKS", "VllmFinding", "lint"]

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` takes; an adapter of less rank is served under the next."""

_DEFAULT_RANK = 16
_MODULES = {
    "LlamaForCausalLM": frozenset(
        {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    )
}
"""By the base's architecture, the linear layers that vLLM gives an adapter to."""
_TENSOR = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_[AB]\.weight$")
_IGNORED = {
    "alpha_pattern": "every module gets the scale of lora_alpha and r",
    "rank_pattern": "every module gets the scale of lora_alpha and r",
    "layer_replication": "no layer is repeated",
    "use_qalora": "the pooling of QALoRA is left out",
    "use_bdlora": "the blocks of BD-LoRA are left out",
    "lora_bias": "the bias of B is refused as an unknown tensor",
    "trainable_token_indices": "the trained tokens keep the base's embeddings",
    "target_parameters": "no parameter outside of a linear layer is adapted",
    "arrow_config": "nothing is routed",
}
"""Settings that vLLM does not read, and what it does instead."""


class VllmFinding(BaseModel):
    """One thing to know before an adapter is served.

    Attributes:
        rule: Its name.
        level: An `error` is refused or served wrongly; a `note` must be known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    level: Literal["error", "note"]
    message: str
    fix: str


def lint(folder: Path, spec: SkillSpec, base: BaseSpec | None) -> list[VllmFinding]:
    """What stands against serving the PEFT folder of a skill, errors first.

    Args:
        folder: Holds `adapter_config.json` and the tensors.
        spec: The skill's declaration.
        base: The base of that name as the project declares it, if it does.

    Raises:
        SkillError: The folder holds no readable adapter.
    """
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        names = _tensors(folder)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise SkillError(f"{folder} holds no readable adapter: {error}") from error
    found = [
        *_kind(config, spec),
        *_refused(config),
        *_rank(config),
        *_ignored(config),
        *_modules(names, folder, base),
        *_base(config, spec, base),
    ]
    return sorted(found, key=lambda one: one.level)


def _error(rule: str, message: str, fix: str) -> VllmFinding:
    return VllmFinding(rule=rule, level="error", message=message, fix=fix)


def _note(rule: str, message: str, fix: str) -> VllmFinding:
    return VllmFinding(rule=rule, level="note", message=message, fix=fix)


def _kind(config: Mapping[str, Any], spec: SkillSpec) -> Iterator[VllmFinding]:
    kind = config.get("peft_type")
    if kind != "LORA":
        yield _error(
            "lora",
            f"peft_type is {kind!r}, and vLLM serves LoRA only",
            "train with method: lora",
        )
    if config.get("alora_invocation_tokens") or spec.kind == "alora":
        yield _error(
            "alora",
            "the adapter is an aLoRA; vLLM does not read alora_invocation_tokens, so it would "
            "adapt the whole prompt, silently and not as trained",
            "ship a version that was trained with method: lora beside it; the local engine "
            "serves this one",
        )


def _refused(config: Mapping[str, Any]) -> Iterator[VllmFinding]:
    if config.get("use_dora"):
        yield _error("dora", "use_dora is set, and vLLM refuses DoRA", "train with method: lora")
    if config.get("bias", "none") != "none":
        yield _error(
            "bias",
            f"bias is {config['bias']!r}, and vLLM takes none only",
            "train with bias: none",
        )
    if config.get("modules_to_save"):
        saved = ", ".join(config["modules_to_save"])
        yield _error(
            "modules_to_save",
            f"modules_to_save names {saved}, and vLLM refuses whole modules beside an adapter",
            "train without, or serve the merged export",
        )


def _rank(config: Mapping[str, Any]) -> Iterator[VllmFinding]:
    rank = config.get("r")
    if not isinstance(rank, int) or not 1 <= rank <= RANKS[-1]:
        yield _error(
            "rank",
            f"the rank is {rank!r}, and --max-lora-rank goes up to {RANKS[-1]}",
            f"train with a rank of {', '.join(map(str, RANKS[1:6]))}",
        )
    elif rank > _DEFAULT_RANK:
        least = next(one for one in RANKS if one >= rank)
        yield _note(
            "rank",
            f"the rank is {rank}, above vLLM's default of {_DEFAULT_RANK}",
            f"start vLLM with --max-lora-rank {least}",
        )


def _ignored(config: Mapping[str, Any]) -> Iterator[VllmFinding]:
    for setting, instead in _IGNORED.items():
        if config.get(setting):
            yield _error(
                "ignored",
                f"vLLM does not read {setting}: {instead}",
                "train without it, or serve the merged export",
            )


def _modules(
    names: Mapping[str, Any], folder: Path, base: BaseSpec | None
) -> Iterator[VllmFinding]:
    known = _MODULES.get(base.model.architecture) if base else None
    strange = sorted(name for name in names if not _TENSOR.match(name))
    if strange:
        yield _error(
            "tensors",
            f"{len(strange)} tensors are not named as LoRA's, the first {strange[0]}",
            "save the adapter alone, with PEFT's save_pretrained",
        )
    if base is not None and known is None:
        yield _note(
            "modules",
            f"which modules vLLM adapts of a {base.model.architecture} is not known here",
            "look it up in vLLM's list of supported models",
        )
    if known is None:
        return
    modules = {m["module"].rpartition(".")[2] for name in names if (m := _TENSOR.match(name))}
    others = sorted(modules - known)
    if others:
        yield _error(
            "modules",
            f"{folder.name} adapts {', '.join(others)}, which vLLM leaves as in the base",
            f"train with target modules out of {', '.join(sorted(known))}",
        )


def _base(
    config: Mapping[str, Any], spec: SkillSpec, base: BaseSpec | None
) -> Iterator[VllmFinding]:
    named = config.get("base_model_name_or_path")
    if named != spec.base.name:
        yield _error(
            "base",
            f"adapter_config.json names the base {named!r}, skill.yaml {spec.base.name!r}",
            f"package it again: `seamline train {spec.name}@{spec.version} --only package`",
        )
    if base is None or base.digest != spec.base.digest:
        yield _error(
            "base",
            f"the project declares no base {spec.base.name} with digest {spec.base.digest}",
            "declare it in models/bases, or train the skill on a base that is declared",
        )
    else:
        yield _note(
            "base",
            f"the adapter is for the weights {base.digest}, which vLLM does not check",
            f"serve the folder that `seamline models pull {base.name}` names, not another "
            "release of that model",
        )


def _tensors(folder: Path) -> dict[str, Any]:
    """The header of the adapter's safetensors file: name to dtype, shape and place."""
    with (folder / "adapter_model.safetensors").open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = dict(json.loads(stream.read(size)))
    header.pop("__metadata__", None)
    return header
