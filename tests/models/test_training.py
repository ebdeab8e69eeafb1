"""Training, by every method: on the real base where its size counts, else on a small one."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from seamline.errors import ConfigError
from seamline.models.digests import weights_digest
from seamline.models.recipes import Recipe

torch: Any = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from seamline.models import methods  # noqa: E402
from seamline.models.training import examples_from, train  # noqa: E402

pytestmark = pytest.mark.model

TEXTS = {
    "billing": "the invoice of {} names a wrong sum",
    "delivery": "the parcel from {} is late",
    "other": "{} is a nice town",
}
TOWNS = ("Rome", "Oslo", "Bern", "Lima", "Cairo", "Delhi", "Paris", "Kyiv", "Quito", "Hanoi")
Train = Callable[..., dict[str, Any]]


def rows(number: int, *, start: int = 0, wrong: bool = False) -> list[dict[str, Any]]:
    labels = list(TEXTS)
    return [
        {
            "context": {"text": TEXTS[labels[at % 3]].format(TOWNS[at % len(TOWNS)])},
            "labels": [labels[(at + wrong) % 3]],
        }
        for at in range(start, start + number)
    ]


def recipe(**changed: Any) -> Recipe:
    few = {"batch_tokens": 512, "max_tokens": 96, "evaluations": 4}
    settings = few | changed.pop("training", {})
    return Recipe.model_validate(
        {
            "skill": "mail_topic",
            "version": "0.1.0",
            "base": "any",
            "licence": "Apache-2.0",
            "description": "Says what a mail is about.",
            "contract": {
                "read": "labels",
                "context": "Mail: {{ text }}",
                "labels": {"billing": "bill", "delivery": "post", "other": "none"},
            },
            "training": settings,
            **changed,
        }
    )


def quiet(done: int, total: int, what: str) -> None:
    return None


@pytest.fixture
def on_small(small: Path, tmp_path: Path) -> Train:
    """Trains on the small base."""

    def run(
        made: Recipe,
        given: Sequence[Mapping[str, Any]],
        held_out: Sequence[Mapping[str, Any]] = (),
        *,
        out: Path = tmp_path / "out",
        tick: Callable[[int, int, str], None] = quiet,
        **options: Any,
    ) -> dict[str, Any]:
        return train(made, given, held_out, base=small, out=out, tick=tick, **options)

    return run


def tensors(file: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(file)


class Killed(Exception):
    """Stands for whatever ends a process."""


def test_the_same_seed_gives_the_same_adapter_stopped_or_not(small: Path, tmp_path: Path) -> None:
    def run(name: str, tick: Callable[[int, int, str], None] = quiet) -> str:
        out = tmp_path / name
        made = recipe(training={"batch_tokens": 256})
        train(made, rows(30), rows(6, start=30), base=small, out=out, tick=tick)
        return weights_digest(out / "adapter_model.safetensors")

    def kill(done: int, total: int, what: str) -> None:
        if done and done == total - 1:
            raise Killed

    first = run("first")
    with pytest.raises(Killed):
        run("stopped", kill)
    assert not (tmp_path / "stopped" / "adapter_model.safetensors").exists()
    steps: list[int] = []
    assert run("stopped", lambda done, total, what: steps.append(done)) == first
    curves = [json.loads((tmp_path / n / "loss.json").read_text()) for n in ("first", "stopped")]
    assert curves[0] == curves[1]
    # It went on from a checkpoint, and not from the start.
    assert 1 not in steps
    assert run("again") == first
    other = tmp_path / "other"
    train(recipe(training={"seed": 3}), rows(30), base=small, out=other, tick=quiet)
    assert weights_digest(other / "adapter_model.safetensors") != first


@pytest.mark.parametrize("method", ["lora", "alora", "rslora", "dora", "qlora"])
def test_an_adapter_learns_by_every_method(method: str, on_small: Train, tmp_path: Path) -> None:
    if method == "qlora":
        pytest.importorskip("bitsandbytes")
    made = recipe(method=method, training={"epochs": 8, "learning_rate": 1e-2})
    report = on_small(made, rows(60), rows(12, start=60))
    assert report["method"] == method
    assert report["held_out_loss"] < 0.9 < math.log(3)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert bool(config["alora_invocation_tokens"]) == (method == "alora")
    assert config["use_rslora"] == (method == "rslora")
    assert config["use_dora"] == (method == "dora")
    adapted = {name.rpartition(".")[2] for name in config["target_modules"]}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert (tmp_path / "out" / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_full_training_makes_a_base(on_small: Train, small: Path, tmp_path: Path) -> None:
    made = recipe(method="full", training={"epochs": 8, "learning_rate": 2e-3})
    report = on_small(made, rows(60), rows(12, start=60))
    assert report["held_out_loss"] < 0.9
    folder = tmp_path / "out" / "base"
    before, after = tensors(small / "model.safetensors"), tensors(folder / "model.safetensors")
    assert set(before) == set(after)
    assert all(tensor.dtype == torch.bfloat16 for tensor in after.values())
    assert not any(torch.equal(before[n].bfloat16(), after[n]) for n in before if "norm" not in n)
    model, tokenizer = methods.load_base(folder, "lora")
    assert tokenizer.chat_template
    assert model.num_parameters() == sum(map(torch.numel, before.values()))


def test_a_4_bit_base_has_the_same_gradients_after_an_evaluation(small: Path) -> None:
    """bitsandbytes repacks the weights for the CPU in a forward pass without gradients."""
    pytest.importorskip("bitsandbytes")
    made = recipe(method="qlora")
    model, _ = methods.load_base(small, made.method)
    model = methods.attach(model, made, 32, None)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    ids = torch.arange(5, 45).reshape(2, 20)

    def gradients() -> dict[str, Any]:
        model.train()
        model.zero_grad()
        model(ids, labels=ids).loss.backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    before = gradients()
    model.eval()
    with torch.no_grad():
        model(ids)
    after = gradients()
    assert set(after) == set(before)
    assert len(after) == 28
    for name, grad in before.items():
        assert grad.any()
        torch.testing.assert_close(after[name], grad)


def test_it_stops_early_and_keeps_the_best_weights(on_small: Train, tmp_path: Path) -> None:
    made = recipe(training={"epochs": 12, "learning_rate": 5e-3, "evaluations": 24, "patience": 2})
    out, saved = tmp_path / "out", tmp_path / "saved"

    def keep(done: int, total: int, what: str) -> None:
        for folder in out.glob("checkpoints/checkpoint-*"):
            shutil.copytree(folder, saved / folder.name, dirs_exist_ok=True)

    # What is held out contradicts what is taught, so learning soon makes it worse.
    report = on_small(made, rows(60), rows(12, start=60, wrong=True), tick=keep)
    curve = json.loads((out / "loss.json").read_text())
    losses = dict(curve["held_out"])
    best = min(losses, key=lambda step: losses[step])
    assert report["stopped_early"]
    assert report["kept_step"] == curve["best"] == best
    assert report["held_out_loss"] == losses[best]
    assert [step for step in losses if step > best] == sorted(losses)[-2:]
    assert max(losses) == report["steps"]
    kept = tensors(saved / f"checkpoint-{best}" / "adapter_model.safetensors")
    for name, tensor in tensors(out / "adapter_model.safetensors").items():
        assert torch.equal(tensor, kept[name].bfloat16())


def test_nothing_is_held_against_the_stages_before_the_last(
    on_small: Train, tmp_path: Path
) -> None:
    staged = [row | {"stage": stage} for stage in (1, 2) for row in rows(60)]
    report = on_small(recipe(training={"evaluations": 40}), staged, rows(12, start=60))
    curve = json.loads((tmp_path / "out" / "loss.json").read_text())
    assert [step for step, _ in curve["train"]] == list(range(1, report["steps"] + 1))
    assert curve["held_out"][0][0] == report["steps"] // 2 > 1


def test_rows_that_lose_their_middle_are_counted(on_small: Train) -> None:
    given = rows(12)
    for row, words in zip(given, (100, 100, 900), strict=False):
        row["context"]["text"] += " and so on" * (words // 3)
    report = on_small(recipe(max_tokens=512), given)
    assert (report["cut_rows"], report["cut_rows_asked_whole"]) == (3, 2)
    report = on_small(recipe(max_tokens=96), rows(12))
    assert (report["cut_rows"], report["cut_rows_asked_whole"]) == (0, 0)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (rows(9)[::3], "fewer than two classes"),
        ([{"context": {"text": "x"}, "labels": ["delivry"]}], "'delivry' is not in the skill's"),
        ([{"context": {"text": "x y"}, "labels": []}], r"has no labels: \"\{'text': 'x y'\}\""),
    ],
)
def test_rows_that_cannot_teach_are_one_error(
    given: Sequence[Mapping[str, Any]], told: str, on_small: Train
) -> None:
    with pytest.raises(ConfigError, match=told):
        on_small(recipe(), given)


def test_a_training_that_diverges_is_told(on_small: Train, tmp_path: Path) -> None:
    made = recipe(training={"learning_rate": 1e30, "epochs": 3})
    with pytest.raises(ConfigError, match=r"diverged .* lower training\.learning_rate"):
        on_small(made, rows(60))
    assert not (tmp_path / "out" / "adapter_model.safetensors").exists()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a file system of so many megabytes."""
    if sys.platform != "linux" or shutil.which("mount") is None:
        pytest.skip("needs Linux's tmpfs")
    point = tmp_path / "disk"
    point.mkdir()

    def mount(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(point)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
        return point

    yield mount
    subprocess.run(["umount", str(point)], check=False)


# Weights take 12 MB and the optimizer's state 25: the weights, the state, or the result is cut.
@pytest.mark.parametrize("size", [8, 24, 41])
def test_a_full_disk_is_one_error_and_leaves_nothing_half_made(
    size: int, disk: Callable[[int], Path], on_small: Train
) -> None:
    out = disk(size)
    made = recipe(method="full", training={"evaluations": 1})
    with pytest.raises(ConfigError, match="no space left on the device; free some"):
        on_small(made, rows(30), out=out)
    assert not (out / "base").exists()


def test_an_adapter_is_continued_by_its_own_method_only(on_small: Train, tmp_path: Path) -> None:
    first = tmp_path / "first"
    on_small(recipe(), rows(12), out=first)
    again = recipe(continues="mail_topic@0.0.1")
    on_small(again, rows(12), out=tmp_path / "second", start_from=first)
    kept = tensors(first / "adapter_model.safetensors")
    gone_on = tensors(tmp_path / "second" / "adapter_model.safetensors")
    # From scratch the matrices A would be drawn anew, far from those of before.
    for name, tensor in kept.items():
        assert (gone_on[name] - tensor).abs().max() < 0.01
    for changed, told in (
        ({"method": "dora"}, "dora False, but the recipe says True"),
        ({"training": {"rank": 8}}, "rank 16, but the recipe says 8"),
    ):
        other = recipe(continues="mail_topic@0.0.1", **changed)
        with pytest.raises(ConfigError, match=told):
            on_small(other, rows(12), out=tmp_path / "third", start_from=first)


def test_what_is_taken_by_default_depends_on_method_and_size() -> None:
    def rate(parameters: int, **changed: Any) -> float:
        return methods.taken(recipe(**changed), parameters).learning_rate

    for parameters in (135_000_000, 7_000_000_000):
        assert rate(parameters) == pytest.approx(10 * rate(parameters, method="full"))
        assert rate(parameters, training={"learning_rate": 0.5}) == 0.5
    assert rate(135_000_000) > rate(7_000_000_000)
    # Of one scale at the default rank.
    lora = methods.taken(recipe(), 1).alpha / 16
    assert methods.taken(recipe(method="rslora"), 1).alpha / math.sqrt(16) == lora
    assert methods.taken(recipe(training={"alpha": 5}), 1).alpha == 5


def test_a_machine_that_cannot_quantise_is_told_what_to_do(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ConfigError, match=r"pip install 'seamline\[qlora\]', or set method: lora"):
        methods.load_base(small, "qlora")


def test_examples_of_branches_keep_their_answers() -> None:
    made = recipe(contract={"read": "branches", "frames": {"options": "{text}?"}})
    branches = [{"text": "a", "label": 0}, {"text": "b", "label": 1}]
    [example] = examples_from([{"context": {"context": "x"}, "branches": branches}], made.contract)
    assert example.gold == (0, 1)
    with pytest.raises(ConfigError, match="has no branches"):
        list(examples_from([{"context": {"context": "x"}, "branches": []}], made.contract))


def test_several_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from seamline.models.fitting import require_one_gpu

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    require_one_gpu()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="sees 2; set CUDA_VISIBLE_DEVICES"):
        require_one_gpu()
