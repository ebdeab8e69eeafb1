"""A run as a folder: self-contained, readable, and the same bytes at every export.

    manifest.json          what the run is, and the digests of the rest
    journal.jsonl          the records as they are stored, one a line: header, effects, footer
    blobs/<sha256>.txt     a large text, as it is
    blobs/<sha256>.json    a large list or object, one member a line
    .gitattributes         keeps git from changing line ends

Blobs are not compressed. Git compresses what it keeps and shows differences of text only, so a
compressed file would be opaque to a person and no smaller in a repository. It would also differ
between versions of the compressor, and could unpack to any size. The name of a blob is the
digest of its value's canonical JSON, as in the journal.

A folder is untrusted: nothing in it names a path, a class or code; links are not followed;
sizes are bounded; every byte of the journal and of the blobs has to be what an export writes.
Files beside these, such as a README, are left alone and not read; in `blobs` they are refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from seamline.errors import TraceError
from seamline.traces.journal import check_schema, find_damage
from seamline.traces.store import TraceStore
from seamline.traces.trace import Trace
from seamline.traces.values import (
    Json,
    blob_digests,
    canonical_json,
    check_depth,
    diff_fields,
)

__all__ = ["FORMAT_VERSION", "add_trace", "export_trace", "is_trace_folder", "read_trace"]

FORMAT_VERSION = 1
"""Version of the folder; readers refuse a larger one."""

_FORMAT = "seamline trace"
_MANIFEST, _JOURNAL, _BLOBS = "manifest.json", "journal.jsonl", "blobs"
_ATTRIBUTES = ".gitattributes"

# No link is followed, and a pipe is not waited for.
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_OPEN |= getattr(os, "O_BINARY", 0)

_LINE_BYTES = 16 << 20
_FILE_BYTES = 256 << 20
_FOLDER_BYTES = 1 << 30

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def export_trace(trace: Trace, folder: Path | str) -> Path:
    """Write a run as a folder, all of it or nothing; where it is.

    The bytes depend on the run alone: another export, or an export of the imported run on
    another machine, writes the same.

    Raises:
        TraceError: the folder has something in it or cannot be written, the trace lacks a
            blob, or is larger than `read_trace` would take.
    """
    # Not resolved: an export must not follow a link to a place that nobody named.
    target = Path(folder).absolute()
    temporary = target.with_name(f".seamline-{secrets.token_hex(8)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _refuse_taken(target)
        _check_names(trace)
        temporary.mkdir()
        _write(trace, temporary)
        if target.exists():
            target.rmdir()
        temporary.rename(target)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            raise TraceError(
                f"run {trace.run_id} cannot be exported to {target} "
                f"({error.strerror or error}); free the disk, mend the rights, or name another "
                "folder. Nothing was left there"
            ) from error
        raise
    return target


def is_trace_folder(folder: Path | str) -> bool:
    """Whether a folder looks like an exported run; `read_trace` tells whether it is whole."""
    return (Path(folder) / _MANIFEST).is_file()


def read_trace(folder: Path | str) -> Trace:
    """The run in a folder, all of it verified; no store is needed.

    Raises:
        TraceError: the folder is missing, damaged, too large, or of a newer Seamline; the
            message names the file, and the record of the journal.
    """
    return _Reader(Path(folder)).read()


def add_trace(trace: Trace, store: TraceStore) -> bool:
    """Copy a run into a store; False where the store has it already.

    Raises:
        TraceError: the store has another run of that id, or cannot be written.
    """
    if _holds(store, trace.run_id):
        kept = [record["digest"] for record in store.trace(trace.run_id).records]
        if kept == [record["digest"] for record in trace.records]:
            return False
        raise TraceError(
            f"the store has a run {trace.run_id} with other content "
            f"({len(kept)} records, here {len(trace.records)}); compare them with "
            "`seamline traces diff`, or delete that run first"
        )
    store.write_runs([trace])
    return True


def _holds(store: TraceStore, run_id: str) -> bool:
    try:
        # A store also finds a run by the beginning of its id.
        return store.run(run_id).run_id == run_id
    except TraceError:
        return False


# -- writing


def _refuse_taken(target: Path) -> None:
    if target == Path.cwd():
        raise TraceError(f"{target} is the current folder; name a new one, such as {target}/run")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise TraceError(f"{target} is there and is no folder; name a new folder")
    if target.exists() and any(target.iterdir()):
        raise TraceError(f"folder {target} is not empty; name a new folder")


def _write(trace: Trace, folder: Path) -> None:
    journal = _journal(trace)
    (folder / _ATTRIBUTES).write_bytes(b"* -text\n")
    (folder / _JOURNAL).write_bytes(journal)
    total, sizes = len(journal), {}
    for digest in _digests(trace.records):
        (folder / _BLOBS).mkdir(exist_ok=True)
        name, data = _blob_file(digest, trace.read_blob(digest))
        total += len(data)
        if len(data) > _FILE_BYTES or total > _FOLDER_BYTES:
            raise _too_large(trace, f"with blob {digest} it has {total} bytes")
        (folder / name).write_bytes(data)
        sizes[name] = len(data)
    text = json.dumps(_manifest(trace, journal, sizes), indent=2)
    (folder / _MANIFEST).write_bytes(text.encode("ascii") + b"\n")


def _journal(trace: Trace) -> bytes:
    lines = [canonical_json(record).encode("ascii") for record in trace.records]
    longest = max(range(len(lines)), key=lambda at: len(lines[at]))
    if len(lines[longest]) > _LINE_BYTES:
        raise _too_large(trace, f"record {longest} has {len(lines[longest])} bytes")
    return b"\n".join([*lines, b""])


def _too_large(trace: Trace, what: str) -> TraceError:
    return TraceError(
        f"run {trace.run_id} is too large for a trace folder: {what}; a record may have "
        f"{_LINE_BYTES} bytes, a file {_FILE_BYTES}, the folder {_FOLDER_BYTES}"
    )


def _digests(records: Iterable[Mapping[str, Json]]) -> list[str]:
    return sorted({digest for record in records for digest in blob_digests(record)})


def _blob_file(digest: str, canonical: bytes) -> tuple[str, bytes]:
    """Name and content of the file of a blob, given its canonical JSON."""
    value = json.loads(canonical)
    name = f"{_BLOBS}/{digest.removeprefix('sha256:')}"
    if isinstance(value, str) and not _UNREADABLE.search(value):
        return f"{name}.txt", value.encode()
    if isinstance(value, dict) and value:
        members = [f"{_spell(key)}:{_spell(value[key])}" for key in sorted(value)]
        text = "{\n" + ",\n".join(members) + "\n}\n"
    elif isinstance(value, list) and value:
        text = "[\n" + ",\n".join(map(_spell, value)) + "\n]\n"
    else:
        text = _spell(value) + "\n"
    return f"{name}.json", text.encode()


def _spell(value: Json) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return canonical_json(value) if _UNREADABLE.search(text) else text


def _manifest(trace: Trace, journal: bytes, sizes: Mapping[str, int]) -> dict[str, Json]:
    """The manifest; the version in it is the recording Seamline's, so that it never changes."""
    kinds = Counter(entry.kind for entry in trace.entries)
    return {
        "format": _FORMAT,
        "format_version": FORMAT_VERSION,
        "run_id": trace.run_id,
        "agent": trace.meta.agent,
        "agent_version": trace.meta.agent_version,
        "status": trace.status,
        "parent": trace.meta.parent,
        "forked_at": trace.meta.forked_at,
        "seamline_version": trace.meta.seamline_version,
        "effects": {"total": len(trace.entries), **dict(sorted(kinds.items()))},
        "journal": {
            "file": _JOURNAL,
            "records": len(trace.records),
            "bytes": len(journal),
            "digest": _sha256(journal),
            "last_record": trace.records[-1]["digest"],
        },
        "blobs": {
            f"sha256:{Path(name).stem}": {"file": name, "bytes": size}
            for name, size in sizes.items()
        },
    }


def _sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


# -- reading


class _Reader:
    """Reads one folder, once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._left = _FOLDER_BYTES
        self._names: set[str] = set()
        self._blobs: dict[str, bytes] = {}
        self._sizes: dict[str, int] = {}

    def read(self) -> Trace:
        manifest = self._manifest()
        journal = self._file(_JOURNAL)
        records = self._records(journal)
        with self._naming_the_journal():
            check_schema(records)
        self._verify(manifest, journal, records)
        self._read_blobs(records)
        with self._naming_the_journal():
            trace = Trace.from_records(records, self._blob)
            _check_names(trace)
        # Last, so that what is wrong with a record is told of the record.
        for found in diff_fields(_manifest(trace, journal, self._sizes), manifest, limit=1):
            what = f"{found.field} is {found.asked}, but by the journal {found.recorded}"
            raise self._bad(_MANIFEST, what)
        return trace

    @contextlib.contextmanager
    def _naming_the_journal(self) -> Iterator[None]:
        try:
            yield
        except TraceError as error:
            raise TraceError(f"trace folder {self._folder}: {_JOURNAL}: {error}") from error

    def _bad(self, name: str, what: str) -> TraceError:
        return TraceError(
            f"trace folder {self._folder}: {name}: {what}; "
            "restore the folder from a copy, or export the run again"
        )

    def _blob(self, digest: str) -> bytes:
        try:
            return self._blobs[digest]
        except KeyError:
            raise TraceError(f"blob {digest} is not in trace folder {self._folder}") from None

    def _file(self, name: str) -> bytes:
        """A plain file's content, within what is left of the folder's bound."""
        path = self._folder / name
        limit = min(_FILE_BYTES, self._left)
        try:
            if path.is_symlink():
                raise self._bad(name, "is a link, and a trace folder holds plain files only")
            with open(os.open(path, _OPEN), "rb") as file:  # noqa: PTH123
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise self._bad(name, "is not a plain file")
                data = file.read(limit + 1) if status.st_size <= limit else None
        except FileNotFoundError:
            raise self._bad(name, "is missing") from None
        except OSError as error:
            raise self._bad(name, f"cannot be read ({error.strerror or error})") from error
        if data is None or len(data) > limit:
            raise self._bad(name, f"has more than the {limit} bytes that are allowed")
        self._left -= len(data)
        return data

    def _json(self, name: str, data: bytes, where: str = "") -> Json:
        try:
            text = data.decode("utf-8")
            value = json.loads(text)
            for member in value.values() if isinstance(value, dict) else [value]:
                check_depth(member, text)
        except (ValueError, RecursionError) as error:
            raise self._bad(name, f"{where}not JSON ({error})") from error
        except TraceError as error:
            raise self._bad(name, f"{where}{error}") from error
        return value

    def _manifest(self) -> dict[str, Json]:
        if not self._folder.exists():
            raise TraceError(
                f"there is no trace folder {self._folder}; "
                "`seamline traces export RUN DIR` makes one"
            )
        manifest = self._json(_MANIFEST, self._file(_MANIFEST))
        if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
            raise self._bad(_MANIFEST, f"does not say that its format is {_FORMAT!r}")
        version = manifest.get("format_version")
        if type(version) is int and version > FORMAT_VERSION:
            raise TraceError(
                f"trace folder {self._folder} has format version {version}, this Seamline reads "
                f"up to {FORMAT_VERSION}; upgrade with `pip install --upgrade seamline`"
            )
        return manifest

    def _records(self, journal: bytes) -> list[dict[str, Json]]:
        *lines, rest = journal.split(b"\n")
        records = [self._record(at, line) for at, line in enumerate(lines)]
        if rest:
            raise self._bad(_JOURNAL, f"record {len(lines)} is cut short: its line has no end")
        return records

    def _record(self, at: int, line: bytes) -> dict[str, Json]:
        if len(line) > _LINE_BYTES:
            raise self._bad(_JOURNAL, f"record {at} has more than {_LINE_BYTES} bytes")
        record = self._json(_JOURNAL, line, f"record {at}: ")
        if not isinstance(record, dict):
            raise self._bad(_JOURNAL, f"record {at}: not a JSON object")
        try:
            spelled = canonical_json(record).encode("ascii")
        except TraceError as error:
            raise self._bad(_JOURNAL, f"record {at}: {error}") from error
        if spelled != line:
            raise self._bad(_JOURNAL, f"record {at}: it was edited: an export spells it otherwise")
        return record

    def _verify(
        self, manifest: Mapping[str, Json], journal: bytes, records: Sequence[Mapping[str, Json]]
    ) -> None:
        run_id, about = manifest.get("run_id"), manifest.get("journal")
        about = about if isinstance(about, dict) else {}
        found = records[0].get("run_id") if records else None
        if isinstance(found, str) and found == records[-1].get("run_id") != run_id:
            raise self._bad(_MANIFEST, f"is of run {run_id}, and {_JOURNAL} of run {found}")
        # A journal that has the manifest's digest is as it was exported: what contradicts it is
        # the manifest. Only where it has not, the rest of the manifest helps to find the record.
        intact = about.get("digest") == _sha256(journal)
        unfinished = manifest.get("status") == "running" and about.get("records") == len(records)
        damage = find_damage(
            records,
            run_id=run_id,
            sealed=not intact and not unfinished,
            seal=None if intact else about.get("last_record"),
        )
        if damage is not None:
            raise self._bad(_JOURNAL, f"record {damage.record}: {damage.reason}")

    def _read_blobs(self, records: Sequence[Mapping[str, Json]]) -> None:
        names = self._blob_names()
        for at, record in enumerate(records):
            for digest in blob_digests(record):
                if digest not in self._blobs:
                    self._blobs[digest] = self._read_blob(digest, at, names)
        extra = sorted(names - {name.removeprefix(f"{_BLOBS}/") for name in self._sizes})
        if extra:
            raise self._bad(f"{_BLOBS}/{extra[0]!r}", "no record refers to it; remove it")

    def _blob_names(self) -> set[str]:
        try:
            if (self._folder / _BLOBS).is_symlink():
                raise self._bad(_BLOBS, "is a link, and a trace folder holds plain files only")
            return {path.name for path in (self._folder / _BLOBS).iterdir()}
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise self._bad(_BLOBS, f"cannot be read ({error.strerror or error})") from error

    def _read_blob(self, digest: str, at: int, names: set[str]) -> bytes:
        if not _DIGEST.fullmatch(digest):
            raise self._bad(_JOURNAL, f"record {at}: {digest[:80]!r} is not the digest of a blob")
        stem = digest.removeprefix("sha256:")
        found = [name for name in (f"{stem}.txt", f"{stem}.json") if name in names]
        if not found:
            raise self._bad(f"{_BLOBS}/{stem}", f"is missing, and record {at} refers to it")
        name = f"{_BLOBS}/{found[0]}"
        data = self._file(name)
        try:
            value = data.decode("utf-8") if name.endswith(".txt") else self._json(name, data)
            canonical = canonical_json(value).encode("ascii")
        except UnicodeDecodeError as error:
            raise self._bad(name, f"was edited: not text in UTF-8 ({error.reason})") from error
        if _sha256(canonical) != digest or _blob_file(digest, canonical) != (name, data):
            raise self._bad(name, f"was edited: it is not what record {at} refers to")
        self._sizes[name] = len(data)
        return canonical


def _check_names(trace: Trace) -> None:
    """Nothing, where the run's and its effects' names can be told from all others.

    Raises:
        TraceError: the run's id is one that cannot be asked for, or two effects have one key.
    """
    if not _RUN_ID.fullmatch(trace.run_id) or trace.run_id == "last":
        raise TraceError(
            f"record 0: run id {trace.run_id[:80]!r} cannot be used; ids are of letters, digits "
            "and . _ : - and at most 200 characters, and never `last`"
        )
    for key, count in Counter(entry.key for entry in trace.entries).items():
        if count > 1:
            last = max(entry.seq for entry in trace.entries if entry.key == key)
            raise TraceError(f"record {last}: a second effect {key}")
