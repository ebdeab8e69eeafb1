"""A skill for use elsewhere: its PEFT folder, or base and adapter merged into one model.

A merged model is written only where it answers as the adapter does: both are asked the same
prompts in float32, the adapter through the engine and the merged folder through transformers
alone, and the logits of the answer tokens are compared.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamline.errors import InputError, ModelError, SkillError
from seamline.models.bases import BaseSpec
from seamline.models.bases import path as base_path
from seamline.models.encoding import Encoder
from seamline.models.protocol import DecideRequest
from seamline.models.recipes import Recipe
from seamline.models.skills import Skill, SkillStore

__all__ = ["PARITY_BOUND", "Parity", "card_requests", "export_adapter", "export_merged"]

PARITY_BOUND = 1e-3
"""How far two logits may lie apart; float32 rounding made 3e-5 of it on the shipped skills."""

_CARRIED = ("adapter_config.json", "adapter_model.safetensors", "README.md", "skill.yaml")
_LENGTH = 200

Tick = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Parity:
    """The merged model against the adapter.

    Attributes:
        prompts: How many prompts both were asked.
        logits: How many logits of answer tokens were compared.
        difference: The largest absolute difference.
    """

    prompts: int
    logits: int
    difference: float


def export_adapter(skill: Skill, base: BaseSpec, to: Path) -> None:
    """A plain PEFT folder with card, licence and attribution.

    Raises:
        InputError: `to` is there already, or cannot be written.
        SkillError: The skill does not check.
    """
    skill.check()
    with _published(to) as folder:
        for name in _CARRIED:
            if (skill.path / name).is_file():
                shutil.copyfile(skill.path / name, folder / name)
        _attribute(skill, base, folder)


def export_merged(
    skill: Skill,
    base: BaseSpec,
    store: SkillStore,
    to: Path,
    *,
    requests: Sequence[DecideRequest],
    cache: Path | None = None,
    tick: Tick,
) -> Parity:
    """Base and adapter as one float32 model that `from_pretrained` loads; nothing if it differs.

    Args:
        skill: What to merge.
        base: The base of the skill.
        store: Where `skill` is found.
        to: The folder to make.
        requests: What both are asked.
        cache: Where bases are kept.
        tick: Gets (done, all, what).

    Raises:
        InputError: `to` is there already, or cannot be written.
        SkillError: The adapter has no merged form.
        ModelError: The merged model answers otherwise.
    """
    if skill.spec.kind == "alora":
        raise SkillError(
            f"{skill.ref} is an aLoRA: it acts only behind its invocation tokens, so no one set of "
            "weights does the same; export it without --merged, or a version of kind lora"
        )
    with _published(to) as folder:
        tick(0, 3, "asking the adapter")
        expected = _asked(skill, base, store, requests, cache)
        tick(1, 3, "merging")
        _merge(skill, base_path(base, cache=cache), folder)
        tick(2, 3, "asking the merged model")
        parity = _compare(expected, _merged_logits(skill, folder, requests), len(requests))
        if not parity.difference <= PARITY_BOUND:
            raise ModelError(
                f"the merged model of {skill.ref} differs from its adapter: logits by up to "
                f"{parity.difference:.2e} on {parity.prompts} prompts, and {PARITY_BOUND:g} is "
                f"allowed; nothing was left in {to}; export it without --merged, and report it"
            )
        for name in ("README.md", "skill.yaml"):
            if (skill.path / name).is_file():
                shutil.copyfile(skill.path / name, folder / name)
        _attribute(skill, base, folder)
    return parity


def card_requests(skill: Skill, count: int) -> list[DecideRequest]:
    """Prompts by the skill's contract, about what its folder says of itself.

    For a parity check without the outside data: the contract is the real one, and the texts are
    the paragraphs of the card and the words of the declaration.

    Raises:
        SkillError: A template of the contract does not render.
    """
    contract = skill.spec.contract
    card = skill.path / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    parts = [part for line in text.splitlines() if len(part := line.strip("#-| ")) > 20]
    words = [*parts, skill.spec.description, *contract.labels, skill.spec.name]
    found = []
    for at in range(count):
        told = words[at % len(words)][: _LENGTH * (1 + at % 4)]
        context = dict.fromkeys(contract.variables, told)
        choices = [
            dict.fromkeys(contract.choice_variables, words[(at + i) % len(words)][:_LENGTH])
            for i in (1, 2, 3)
        ]
        asked = choices if contract.read == "branches" else ()
        found.append(contract.request(context, asked))
    return found


@contextmanager
def _published(to: Path) -> Iterator[Path]:
    """A folder that becomes `to` in one rename once it is whole.

    Raises:
        InputError: `to` is there already, or cannot be written.
    """
    if to.exists():
        raise InputError(f"{to} is there already; name a folder that is not, or remove it")
    building = to.with_name(f".{to.name}.tmp-{os.getpid()}")
    try:
        building.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{to} cannot be written: {error}; name another folder") from error
    try:
        yield building
        building.rename(to)
    except OSError as error:
        raise InputError(
            f"{to} cannot be written: {error.strerror or error}; free some space, or name another "
            "folder"
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _asked(
    skill: Skill,
    base: BaseSpec,
    store: SkillStore,
    requests: Sequence[DecideRequest],
    cache: Path | None,
) -> list[NDArray[np.float32]]:
    from seamline.models.engine import LocalModel

    model = LocalModel(base, store, cache=cache, dtype="float32")
    try:
        return asyncio.run(model.logits(requests, skill=skill.ref))
    finally:
        model.close()


def _merge(skill: Skill, base: Path, folder: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, local_files_only=True
    )
    adapted: Any = PeftModel.from_pretrained(model, str(skill.path))
    merged = adapted.merge_and_unload(safe_merge=True)
    merged.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        # safetensors lets nobody but the owner read what it writes.
        file.chmod((folder / "config.json").stat().st_mode)
    AutoTokenizer.from_pretrained(base, local_files_only=True).save_pretrained(folder)


def _merged_logits(
    skill: Skill, folder: Path, requests: Sequence[DecideRequest]
) -> Iterator[NDArray[np.float32]]:
    """What the merged folder says, each question alone, as anyone would ask it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    )
    model.eval()
    contract = skill.spec.contract
    encoder = Encoder(AutoTokenizer.from_pretrained(folder, local_files_only=True))
    words = contract.labels.values() if contract.read == "labels" else contract.answers
    answers = [encoder.token(word) for word in words]
    for request in requests:
        row = encoder.row(request, contract)
        told = []
        for branch in row.branches:
            ids = torch.tensor([[*row.prefix, *branch]])
            with torch.inference_mode():
                told.append(model(input_ids=ids).logits[0, -1, answers].float().numpy())
        yield np.stack(told)


def _compare(
    expected: Sequence[NDArray[np.float32]], found: Iterable[NDArray[np.float32]], prompts: int
) -> Parity:
    gaps = [np.abs(one - other) for one, other in zip(expected, found, strict=True)]
    return Parity(
        prompts=prompts,
        logits=sum(gap.size for gap in gaps),
        difference=max(float(gap.max()) for gap in gaps),
    )


def _attribute(skill: Skill, base: BaseSpec, folder: Path) -> None:
    """`NOTICE` with everybody whose work this is, and the licence texts that are at hand."""
    lines = [
        f"{skill.ref}: {skill.spec.description}",
        f"Licence: {skill.spec.licence}. Adapter {skill.spec.adapter.digest}.",
        "",
        f"Base: {base.name} ({base.licence}), {base.homepage}",
        f"{base.description}. Weights {base.digest}.",
    ]
    if (skill.path / "recipe.yaml").is_file():
        lines += ["", "Trained on:"]
        recipe = Recipe.load(skill.path)
        lines += [f"- {source.title} ({source.licence})" for source in recipe.sources]
    (folder / "NOTICE").write_text("\n".join(lines) + "\n", encoding="utf-8")
    own = sorted(skill.path.glob("LICENSE*"))
    for file in own:
        shutil.copyfile(file, folder / file.name)
    if not own and "Apache-2.0" in (skill.spec.licence, base.licence):
        text = metadata.distribution("seamline").read_text("licenses/LICENSE")
        if text is not None:
            (folder / "LICENSE").write_text(text, encoding="utf-8")
