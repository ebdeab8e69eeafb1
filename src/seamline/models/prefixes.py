"""Prefixes read once by the bare base, and kept as keys and values.

An aLoRA acts only behind the prefix of a request, so what the base made of the prefix does not
depend on the adapter: one pass serves every question, every skill and every epoch of a
training. Both the engine and the training go through here, so that a skill is trained on the
very keys that it will be asked with.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from seamline.errors import ConfigError
from seamline.models.dataset.duplicates import Tick
from seamline.models.encoding import pack
from seamline.writing import replace_file

__all__ = ["LivePrefixes", "PrefixStore", "read_prefixes"]

Ids = tuple[int, ...]

_NOTE = "prefixes.json"
_VALUES = "prefixes.bin"
_AT_ONCE = 4096
"""Padded tokens that are read in one pass."""
_NOTED_EVERY = 8
"""Passes, about a minute on two cores, after which a store notes how far it is."""


def read_prefixes(causal: Any, prefixes: Sequence[Ids]) -> DynamicCache:
    """Keys and values of `prefixes`, in every layer (rows, heads, longest, head size) each.

    The model must be the bare base: its adapters switched off. Behind a shorter prefix stand
    values of padding, which a mask has to hide.
    """
    length = max(map(len, prefixes))
    device = causal.device
    ids = torch.zeros((len(prefixes), length), dtype=torch.long)
    mask = torch.zeros((len(prefixes), length), dtype=torch.long)
    for r, prefix in enumerate(prefixes):
        ids[r, : len(prefix)] = torch.tensor(prefix, dtype=torch.long)
        mask[r, : len(prefix)] = 1
    cache = DynamicCache()
    with torch.no_grad():
        causal.model(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            past_key_values=cache,
            use_cache=True,
        )
    return cache


def _stacked(cache: DynamicCache) -> torch.Tensor:
    """A cache as one tensor: (layers, 2, rows, heads, longest, head size)."""
    layers: Any = cache.layers
    return torch.stack([torch.stack([layer.keys, layer.values]) for layer in layers])


def _cache_of(values: torch.Tensor) -> DynamicCache:
    """A cache that a forward pass goes on from, of one tensor as `_stacked` gives it."""
    cache = DynamicCache()
    for index, (keys, own) in enumerate(values):
        cache.update(keys, own, index)
    return cache


class PrefixStore:
    """Keys and values of many prefixes, in a file that the system pages in and out.

    An equal prefix is kept once. For the base of this project a token takes 23 kB in bfloat16.

    Args:
        causal: The bare base.
        prefixes: Token ids, one a row.
        folder: Where the file is kept; an earlier one of the same prefixes is gone on with, also
            where its filling was interrupted.
        tick: Gets (done, all, what).

    Raises:
        ConfigError: The disk has no room for the file.
    """

    def __init__(
        self, causal: Any, prefixes: Sequence[Ids], *, folder: Path, tick: Tick | None = None
    ) -> None:
        distinct = list(dict.fromkeys(prefixes))
        number = {prefix: index for index, prefix in enumerate(distinct)}
        self._of = [number[prefix] for prefix in prefixes]
        self._starts = [0]
        for prefix in distinct:
            self._starts.append(self._starts[-1] + len(prefix))
        self._shape = _shape(causal.config)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = {
            "base": causal.name_or_path,
            "prefixes": _digest(distinct),
            "dtype": str(causal.dtype),
            "shape": list(self._shape),
            "at once": _AT_ONCE,
        }
        size = self._starts[-1] * torch.Size(self._shape).numel() * causal.dtype.itemsize
        done = self._done(size)
        self._file = self._open(size, fresh=not done)
        flat = torch.from_numpy(self._file).view(causal.dtype)
        self._values = flat.view(self._starts[-1], *self._shape)
        self._fill(causal, distinct, done, tick)

    def rows(self, indices: Sequence[int], model: Any) -> DynamicCache:
        """The cache of these rows on the model's device, padded with zeros to the longest.

        The model is asked nothing else; it is what `LivePrefixes` reads with.
        """
        own = [self._of[index] for index in indices]
        spans = [(self._starts[i], self._starts[i + 1]) for i in own]
        longest = max(end - start for start, end in spans)
        found = torch.zeros((len(spans), longest, *self._shape), dtype=self._values.dtype)
        for r, (start, end) in enumerate(spans):
            found[r, : end - start] = self._values[start:end]
        # (rows, tokens, layers, 2, heads, size) as a cache has it.
        return _cache_of(found.permute(2, 3, 0, 4, 1, 5).to(model.device))

    def _done(self, size: int) -> int:
        """How many passes the file holds, if it is of these prefixes."""
        file = self._folder / _VALUES
        note = _read_note(self._folder / _NOTE)
        if not isinstance(note, dict) or note.get("of") != self._key:
            return 0
        return int(note.get("done", 0)) if file.is_file() and file.stat().st_size == size else 0

    def _open(self, size: int, *, fresh: bool) -> np.memmap[Any, np.dtype[np.uint8]]:
        """The file in memory, of `size` bytes."""
        file = self._folder / _VALUES
        if fresh:
            file.unlink(missing_ok=True)
            (self._folder / _NOTE).unlink(missing_ok=True)
            free = shutil.disk_usage(self._folder).free
            if size > 0.95 * free:
                raise ConfigError(
                    f"the keys and values of {self._starts[-1]:,} prefix tokens take "
                    f"{size / 2**30:.1f} GiB, and {self._folder} has {free / 2**30:.1f} GiB free; "
                    "give --work a folder with more room, or train on fewer or shorter rows"
                )
        return np.memmap(file, dtype=np.uint8, mode="w+" if fresh else "r+", shape=(size,))

    def _fill(self, causal: Any, distinct: Sequence[Ids], passed: int, tick: Tick | None) -> None:
        """Read what the file lacks behind the first `passed` passes, which are always the same."""
        groups = pack([len(prefix) for prefix in distinct], max_tokens=_AT_ONCE)
        done = sum(map(len, groups[:passed]))
        for at, group in enumerate(groups[passed:], passed + 1):
            values = _stacked(read_prefixes(causal, [distinct[i] for i in group]))
            # (layers, 2, rows, heads, tokens, size) to a token's values side by side.
            by_token = values.permute(2, 4, 0, 1, 3, 5).cpu()
            for r, i in enumerate(group):
                start, end = self._starts[i], self._starts[i + 1]
                self._values[start:end] = by_token[r, : end - start]
            if at % _NOTED_EVERY == 0 or at == len(groups):
                self._note(at)
            done += len(group)
            if tick is not None:
                tick(done, len(distinct), "reading the prefixes once, for every epoch")

    def _note(self, passes: int) -> None:
        """Write down that so many passes are in the file, once they are on the disk."""
        self._file.flush()
        note = json.dumps({"of": self._key, "done": passes})
        replace_file(self._folder / _NOTE, note + "\n")


class LivePrefixes:
    """Prefixes that are read each time they are asked for, in place of a `PrefixStore`.

    On a GPU the bare base reads a batch of them sooner than they come from a disk.
    """

    def __init__(self, prefixes: Sequence[Ids]) -> None:
        self._prefixes = prefixes

    def rows(self, indices: Sequence[int], model: Any) -> DynamicCache:
        """The cache of these rows, as the base below the adapters of `model` reads them.

        Padded on the right with zeros to the longest. The adapters are on again afterwards.
        """
        places: dict[Ids, list[int]] = {}
        for place, index in enumerate(indices):
            places.setdefault(self._prefixes[index], []).append(place)
        distinct, longest = list(places), max(map(len, places))
        causal = model.get_base_model()
        layers, both, heads, size = _shape(causal.config)
        found = torch.zeros(
            (layers, both, len(indices), heads, longest, size),
            dtype=causal.dtype,
            device=causal.device,
        )
        with model.disable_adapter():
            for group in pack([len(prefix) for prefix in distinct], max_tokens=_AT_ONCE):
                values = _stacked(read_prefixes(causal, [distinct[i] for i in group]))
                for r, i in enumerate(group):
                    length = len(distinct[i])
                    found[:, :, places[distinct[i]], :, :length] = values[
                        :, :, r : r + 1, :, :length
                    ]
        return _cache_of(found)


def _shape(config: Any) -> tuple[int, int, int, int]:
    """Of one token: layers, keys and values, heads, head size."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers, 2, config.num_key_value_heads, size


def _digest(prefixes: Sequence[Ids]) -> str:
    known = hashlib.sha256()
    for prefix in prefixes:
        known.update(json.dumps(prefix).encode())
    return known.hexdigest()


def _read_note(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
