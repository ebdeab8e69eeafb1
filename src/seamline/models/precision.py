"""Which numbers a machine computes in fast: bfloat16 where it has the instructions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["fast_dtype", "has_native_bfloat16"]


def fast_dtype(device: str) -> torch.dtype:
    """bfloat16 or float32, whichever `cuda` or `cpu` is fast in on this machine.

    bfloat16 without the instructions is emulated, and several times slower than float32.
    """
    import torch

    native = torch.cuda.is_bf16_supported() if device == "cuda" else has_native_bfloat16()
    return torch.bfloat16 if native else torch.float32


def has_native_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16 rather than emulating it."""
    import torch

    # torch tells it under a private name only; where that is gone, float32 is the safe answer.
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe()) if probe is not None else False
