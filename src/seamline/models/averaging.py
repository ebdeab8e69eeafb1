"""The mean of several adapters as one adapter: what each has learned, without a second pass.

Fine-tunings of one base that differ in their rows or their seed err in different places; the
mean of their weights answers nearly as well as the mean of their answers, at the price of one
("Model soups", Wortsman et al. 2022, arXiv 2203.05482).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seamline.errors import ConfigError
from seamline.models import fitting, methods
from seamline.models.checkpoints import disk_errors
from seamline.models.recipes import Recipe
from seamline.models.skills import Skill

__all__ = ["average"]


def average(
    recipe: Recipe, parts: Sequence[Skill], *, base: Path, out: Path, tick: fitting.Tick
) -> dict[str, Any]:
    """Write the mean of the parts' updates into `out` as a PEFT folder, and tell of it.

    The update of an adapter is the product of its two matrices times its scale. The mean is cut
    to the recipe's rank by singular values, so nothing is drawn: the same parts, the same mean.

    Args:
        recipe: Says the rank, and what method, base and contract every part has to have.
        parts: The adapters, each of which counts alike.
        base: Folder of the base.
        out: Where the adapter is written.
        tick: Gets (done, all, what).

    Raises:
        ConfigError: A part has another method, base or contract, or the disk is full.
        SkillError: A part's files are damaged.
    """
    started = time.monotonic()
    for part in parts:
        _require_alike(recipe, part)
    tick(0, len(parts), "reading the base")
    model, _ = methods.load_base(base, recipe.method)
    peft_model = methods.attach_all(model, [part.path for part in parts])
    tick(1, len(parts), f"averaging {len(parts)} adapters")
    names = list(peft_model.peft_config)
    peft_model.add_weighted_adapter(
        names,
        [1 / len(names)] * len(names),
        "default",
        combination_type="svd",
        svd_rank=recipe.training.rank,
        svd_full_matrices=False,
    )
    out.mkdir(parents=True, exist_ok=True)
    with disk_errors(out):
        methods.save_adapter(peft_model, out)
    tick(len(parts), len(parts), "saved")
    return {
        "method": recipe.method,
        "average": [part.ref for part in parts],
        "rank": recipe.training.rank,
        "seconds": round(time.monotonic() - started),
    }


def _require_alike(recipe: Recipe, part: Skill) -> None:
    part.check()
    config = json.loads((part.path / "adapter_config.json").read_text(encoding="utf-8"))
    odd = [name for name in ("dora", "rslora") if config.get(f"use_{name}")]
    differing = {
        f"method {odd[0] if odd else part.spec.kind}": odd or part.spec.kind != recipe.kind,
        f"base {part.spec.base.name}": part.spec.base.name != recipe.base,
        "another contract": part.spec.contract != recipe.contract,
    }
    found = [what for what, differs in differing.items() if differs]
    if found:
        raise ConfigError(
            f"{recipe.skill}@{recipe.version} averages {part.ref}, which has {found[0]}; average "
            "versions of the recipe's own method (lora or alora), base and contract"
        )
