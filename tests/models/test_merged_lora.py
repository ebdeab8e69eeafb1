"""Merged weights give PEFT's outputs and gradients."""

from __future__ import annotations

import copy
from typing import Any
from unittest import mock

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

from seamline.models.merged_lora import answer_merged, train_merged  # noqa: E402


class Two(torch.nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.up = torch.nn.Linear(12, 20, bias=False)
        self.down = torch.nn.Linear(20, 12, bias=False)

    def forward(self, x: Any) -> Any:
        return self.down(torch.nn.functional.silu(self.up(x)))


def adapted(**options: Any) -> Any:
    torch.manual_seed(3)
    options = {"lora_alpha": 8} | options
    config = peft.LoraConfig(r=4, target_modules=["up", "down"], **options)
    model = peft.get_peft_model(Two(), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def gradients(model: Any, x: Any) -> tuple[Any, dict[str, Any]]:
    out = model(x)
    out.pow(2).sum().backward()
    return out, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("rslora", [False, True])
def test_outputs_and_gradients_are_those_of_peft(rslora: bool) -> None:
    # A scale of 2 both times: 8 / 4, and 4 / sqrt(4).
    plain = adapted(use_rslora=True, lora_alpha=4) if rslora else adapted()
    merged = copy.deepcopy(plain)
    assert train_merged(merged) == 2
    left, right = torch.randn(2, 5, 12, requires_grad=True), None
    right = left.detach().clone().requires_grad_()
    expected, expected_grads = gradients(plain, left)
    found, found_grads = gradients(merged, right)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(right.grad, left.grad)
    assert set(found_grads) == set(expected_grads)
    assert len(found_grads) == 4
    for name, grad in expected_grads.items():
        torch.testing.assert_close(found_grads[name], grad)


def test_what_is_not_plain_lora_is_left_to_peft() -> None:
    assert train_merged(adapted(lora_dropout=0.1)) == 0
    assert train_merged(adapted(use_dora=True)) == 0


def test_switched_off_the_layers_are_the_bare_ones() -> None:
    model = adapted()
    assert train_merged(model) == 2
    x = torch.randn(2, 5, 12)
    with model.disable_adapter():
        bare = model(x)
    torch.testing.assert_close(bare, model.unload()(x))


def test_a_long_input_is_answered_as_by_peft_with_whichever_adapter_is_active() -> None:
    model = adapted()
    model.add_adapter("other", peft.LoraConfig(r=2, lora_alpha=4, target_modules=["up"]))
    torch.nn.init.normal_(model.base_model.model.up.lora_B["other"].weight, std=0.3)
    long, short = torch.randn(2, 128, 12), torch.randn(1, 3, 12)

    def answers() -> list[Any]:
        found = []
        for name in ("default", "other"):
            model.set_adapter(name)
            found += [model(long), model(short)]
        with model.disable_adapter():
            return [*found, model(long)]

    expected = answers()
    answer_merged(model)
    with mock.patch.object(torch, "addmm", side_effect=torch.addmm) as made:
        found = answers()

    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    # Two layers of the first adapter and the one layer of the second, the long input only.
    assert made.call_count == 3


def test_what_is_not_plain_lora_answers_as_before() -> None:
    model = adapted(use_dora=True)
    long = torch.randn(1, 300, 12)
    expected = model(long)
    answer_merged(model)
    torch.testing.assert_close(model(long), expected)
