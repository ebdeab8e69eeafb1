"""The mean of adapters, on a small base: its update is the mean of theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from seamline.errors import ConfigError
from seamline.models.bases import BaseSpec
from seamline.models.digests import weights_digest
from seamline.models.packaging import write_skill
from seamline.models.recipes import Recipe
from seamline.models.skills import Calibration, Skill

torch: Any = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from seamline.models.averaging import average  # noqa: E402
from seamline.models.training import train  # noqa: E402

from .dataset.mails import declaration  # noqa: E402

pytestmark = pytest.mark.model

RECIPE = declaration(sources=[], data=None)
ROWS = [
    {"context": {"text": text}, "labels": [label]}
    for text, label in (("a wrong sum", "billing"), ("a late parcel", "delivery")) * 4
]
Part = Callable[..., Skill]


def quiet(done: int, total: int, what: str) -> None:
    return None


def mean_of(*references: str, rank: int = 32, **changed: Any) -> Recipe:
    made = {"version": "1.0.0", "average": references, "training": {"rank": rank}}
    return Recipe.model_validate(RECIPE | made | changed)


@pytest.fixture
def part(small: Path, base_spec: BaseSpec, tmp_path: Path) -> Part:
    """Trains one version, far enough to differ from another."""

    def make(version: str, **changed: Any) -> Skill:
        fast = {"learning_rate": 1e-2, "batch_tokens": 256, "max_tokens": 96, "epochs": 4}
        settings = fast | changed.pop("training", {})
        made = Recipe.model_validate(RECIPE | {"version": version, "training": settings} | changed)
        out = tmp_path / "trained" / version
        train(made, ROWS, base=small, out=out, tick=quiet)
        folder = tmp_path / "skills" / "mail_topic" / version
        return write_skill(folder, made, out, base_spec, Calibration(), {})

    return make


def updates(folder: Path) -> dict[str, Any]:
    """What the adapter adds to each weight."""
    from safetensors.torch import load_file

    config = json.loads((folder / "adapter_config.json").read_text())
    held = load_file(folder / "adapter_model.safetensors")
    scale = config["lora_alpha"] / config["r"]
    return {
        name: scale * (held[name.replace("lora_A", "lora_B")].float() @ down.float())
        for name, down in held.items()
        if "lora_A" in name
    }


@pytest.mark.parametrize("method", ["lora", "alora"])
def test_the_update_is_the_mean_of_the_updates(
    method: str, part: Part, small: Path, tmp_path: Path
) -> None:
    one = part("0.1.0", method=method)
    two = part("0.2.0", method=method, training={"seed": 3, "rank": 8})
    out = tmp_path / "mean"
    made = mean_of(one.ref, two.ref, method=method)
    report = average(made, [one, two], base=small, out=out, tick=quiet)
    assert report["average"] == ["mail_topic@0.1.0", "mail_topic@0.2.0"]
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["r"] == 32
    assert bool(config["alora_invocation_tokens"]) == (method == "alora")
    found, first, second = updates(out), updates(one.path), updates(two.path)
    assert found.keys() == first.keys()
    for name, update in found.items():
        wanted = (first[name] + second[name]) / 2
        assert (first[name] - second[name]).norm() > 0.1 * wanted.norm() > 0
        assert (update - wanted).norm() < 0.01 * wanted.norm()


def test_the_same_parts_give_the_same_mean_and_a_lower_rank_a_smaller_one(
    part: Part, small: Path, tmp_path: Path
) -> None:
    parts = [part("0.1.0"), part("0.2.0", training={"seed": 3})]

    def made(name: str, rank: int) -> Path:
        recipe = mean_of("mail_topic@0.1.0", "mail_topic@0.2.0", rank=rank)
        average(recipe, parts, base=small, out=tmp_path / name, tick=quiet)
        return tmp_path / name

    whole, again, cut = made("whole", 32), made("again", 32), made("cut", 4)
    digests = [weights_digest(f / "adapter_model.safetensors") for f in (whole, again)]
    assert digests[0] == digests[1]
    lost = [(updates(cut)[name] - update).norm() for name, update in updates(whole).items()]
    kept = [update.norm() for update in updates(whole).values()]
    assert 0 < sum(lost) < sum(kept)


def test_versions_that_are_not_alike_are_refused(part: Part, small: Path, tmp_path: Path) -> None:
    one, other = part("0.1.0"), part("0.2.0", method="rslora")
    names = (one.ref, other.ref)
    contract = RECIPE["contract"] | {"question": "What is it about?"}
    for made, parts, told in (
        (mean_of(*names), [one, other], "mail_topic@0.2.0, which has method rslora"),
        (mean_of(*names, method="alora"), [one, one], "0.1.0, which has method lora"),
        (mean_of(*names, base="another"), [one, one], "has base smollm2-135m-instruct"),
        (mean_of(*names, contract=contract), [one, one], "has another contract"),
    ):
        with pytest.raises(ConfigError, match=told):
            average(made, parts, base=small, out=tmp_path / "mean", tick=quiet)
    assert not (tmp_path / "mean").exists()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"average": ["a@0.1.0"]}, "two or more different versions"),
        ({"average": ["a@0.1.0", "a@0.1.0"]}, "two or more different versions"),
        ({"method": "dora"}, "makes no adapter of method dora"),
        ({"continues": "a@0.1.0"}, "goes without `continues`"),
    ],
)
def test_a_recipe_that_cannot_average_is_told_why(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        mean_of(*changed.pop("average", ("a@0.1.0", "a@0.2.0")), **changed)
