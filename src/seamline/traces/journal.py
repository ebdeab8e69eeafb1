"""The journal: what a run did that could have come out differently, in a chain of digests.

A journal is a list of records: one `run` record (the header), one `effect` record an effect,
one `end` record (the footer) once the run has ended. Each record holds its own digest, and
each effect the digest of the record before it, so that an edited, dropped, moved or foreign
record is found, and the footer's count and head digest find a shortened tail.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

from pydantic import BaseModel, ConfigDict, Field

from seamline.errors import TraceError
from seamline.traces.values import Blobs, Json, Plain, digest_of, externalise

__all__ = [
    "SCHEMA_VERSION",
    "Damage",
    "EffectKey",
    "EffectKind",
    "Entry",
    "Journal",
    "JournalSink",
    "Outcome",
    "RecordedError",
    "RunMeta",
    "RunStatus",
    "check_schema",
    "find_damage",
    "footer_record",
    "header_record",
    "verify_chain",
]

SCHEMA_VERSION = 1
"""Version of the records; readers refuse a larger one."""

LATEST = 250_000_000_000
"""The latest time in a journal, in seconds since the epoch: what a calendar can still show."""

EffectKind = Literal["model", "tool", "retrieval", "clock", "id", "random", "answer"]
RunStatus = Literal["running", "done", "needs_answer", "refused", "budget_exceeded", "failed"]


_KINDS = get_args(EffectKind)
_OCCURRENCE = re.compile("[1-9][0-9]{0,8}")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunMeta(_Frozen):
    """What is known when a run starts; the journal's header.

    `policies` maps slot to reference and digest, `tools` name to version or digest, `model`
    is the identity of the orchestrating model. `input` is what was handed in: a replay starts
    from it, so it is kept here and nowhere else. `parent` and `forked_at` are set on forks.
    """

    run_id: str = Field(min_length=1)
    agent: str = Field(min_length=1)
    agent_version: str = ""
    project: str = ""
    started: float = Field(ge=0, le=LATEST, description="seconds since the epoch")
    seamline_version: str = ""
    policies: dict[str, Json] = Field(default_factory=dict)
    tools: dict[str, Json] = Field(default_factory=dict)
    model: dict[str, Json] = Field(default_factory=dict)
    input: Json = None
    input_digest: str = ""
    conversation: str | None = None
    parent: str | None = None
    forked_at: str | None = None


class Outcome(_Frozen):
    """How a run ended; `result` is the agent's result as plain JSON, `error` one line."""

    status: RunStatus
    ended: float = Field(ge=0, le=LATEST, description="seconds since the epoch")
    result: Json = None
    error: str | None = None


@dataclass(frozen=True, order=True)
class EffectKey:
    """Which effect of a run this is: a logical task path, never a completion order.

    `occurrence` counts from 1 the effects of one kind at one path.
    """

    path: str
    occurrence: int
    kind: EffectKind

    def __str__(self) -> str:
        return f"{self.path}#{self.occurrence} ({self.kind})"

    @property
    def text(self) -> str:
        """`path#occurrence`, as written in a record."""
        return f"{self.path}#{self.occurrence}"

    @classmethod
    def parse(cls, text: str, kind: EffectKind) -> EffectKey:
        """The key behind `path#occurrence`. Raises `TraceError` where it is none."""
        path, _, occurrence = text.rpartition("#")
        if not path or not _OCCURRENCE.fullmatch(occurrence):
            raise TraceError(f"effect key {text!r} is not of the form path#occurrence")
        return cls(path, int(occurrence), kind)


@dataclass(frozen=True)
class RecordedError:
    """A deliberate error as data: the name of its class in `seamline.errors`, its message."""

    type: str
    message: str


@dataclass(frozen=True)
class Entry:
    """One effect; `request`, `result` and `annotations` are in stored form."""

    seq: int
    key: EffectKey
    request: Json
    result: Json
    error: RecordedError | None
    started: float
    ended: float
    annotations: Mapping[str, Json]
    prev: str
    digest: str

    @property
    def kind(self) -> EffectKind:
        """The kind of the effect."""
        return self.key.kind

    @property
    def seconds(self) -> float:
        """How long the effect took."""
        return max(0.0, self.ended - self.started)

    def record(self) -> dict[str, Json]:
        """The entry as a record of the journal."""
        return {**self.body(), "digest": self.digest}

    def body(self) -> dict[str, Json]:
        """What the entry's digest is taken of."""
        body: dict[str, Json] = {
            "record": "effect",
            "seq": self.seq,
            "key": self.key.text,
            "kind": self.key.kind,
            "request": self.request,
            "started": self.started,
            "ended": self.ended,
            "annotations": dict(self.annotations),
            "prev": self.prev,
        }
        if self.error is None:
            body["result"] = self.result
        else:
            body["error"] = {"type": self.error.type, "message": self.error.message}
        return body

    @classmethod
    def from_record(cls, record: Mapping[str, Json]) -> Entry:
        """The entry behind a record. Raises `TraceError` where a field is missing or wrong."""
        try:
            error = record.get("error")
            entry = cls(
                seq=record["seq"],
                key=EffectKey.parse(record["key"], record["kind"]),
                request=record["request"],
                result=record["result"] if error is None else None,
                error=None if error is None else RecordedError(error["type"], error["message"]),
                started=record["started"],
                ended=record["ended"],
                annotations=record["annotations"],
                prev=record["prev"],
                digest=record["digest"],
            )
        except (KeyError, TypeError, AttributeError) as missing:
            raise _garbled(record, str(missing)) from missing
        wrong = entry._wrong_field()
        if wrong:
            raise _garbled(record, wrong)
        return entry

    def _wrong_field(self) -> str:
        """The first field of a wrong type: a journal from elsewhere may hold anything."""
        error = self.error or RecordedError("", "")
        right = {
            "seq": type(self.seq) is int,
            "kind": self.kind in _KINDS,
            "started": _is_time(self.started),
            "ended": _is_time(self.ended),
            "annotations": isinstance(self.annotations, dict),
            "error": isinstance(error.type, str) and isinstance(error.message, str),
        }
        return next((field for field, is_right in right.items() if not is_right), "")


def _is_time(value: Json) -> bool:
    return type(value) in (int, float) and 0 <= value <= LATEST


def _garbled(record: Mapping[str, Json], what: str) -> TraceError:
    return TraceError(
        f"effect record {record.get('seq', '?')} lacks or garbles a field ({what}); "
        "the journal is damaged"
    )


def _sealed(body: dict[str, Json]) -> dict[str, Json]:
    return {**body, "digest": digest_of(body)}


def header_record(meta: RunMeta, blobs: Blobs) -> dict[str, Json]:
    """The header of a run; a large input moves to `blobs`."""
    return _sealed(
        {
            "record": "run",
            "schema": SCHEMA_VERSION,
            "run_id": meta.run_id,
            "meta": externalise(Plain.of(meta.model_dump()), blobs),
        }
    )


def footer_record(
    *, run_id: str, count: int, head: str, outcome: Outcome, blobs: Blobs
) -> dict[str, Json]:
    """The footer that seals a journal of `count` effects ending in digest `head`."""
    return _sealed(
        {
            "record": "end",
            "run_id": run_id,
            "count": count,
            "head": head,
            "outcome": externalise(Plain.of(outcome.model_dump()), blobs),
        }
    )


def check_schema(records: Sequence[Mapping[str, Json]]) -> None:
    """Nothing, where this Seamline can read the journal, or its header is no good anyway.

    To be asked before `find_damage`: a newer Seamline may chain records in another way.

    Raises:
        TraceError: the journal was written by a newer Seamline, or states no version.
    """
    if not records or records[0].get("record") != "run" or not _intact(records[0]):
        return
    version = records[0].get("schema")
    if type(version) is not int or version < 1:
        raise TraceError(
            f"journal schema version is {version!r}, expected a number from 1 to {SCHEMA_VERSION}"
        )
    if version > SCHEMA_VERSION:
        raise TraceError(
            f"journal schema version is {version}, this Seamline reads up to {SCHEMA_VERSION}; "
            "upgrade with `pip install --upgrade seamline`"
        )


@dataclass(frozen=True)
class Damage:
    """The first bad record of a journal: its position (0 is the header) and what is wrong."""

    record: int
    reason: str


def find_damage(
    records: Sequence[Mapping[str, Json]],
    *,
    run_id: str | None = None,
    sealed: bool = True,
    seal: str | None = None,
) -> Damage | None:
    """The first record that is edited, missing, moved, repeated or foreign; None if all hold.

    A changed or foreign record is named where it stands, a missing one where it should stand,
    a repeated one at its second place (a footer at its first, since nothing follows a footer),
    and of two that changed places the first. An edit that mended the record's own digest is
    found by the record behind it.

    `run_id` is the run the journal should belong to. `sealed=False` accepts a journal without
    its footer, as a killed run leaves it. `seal` is the digest of the last record, where it is
    kept elsewhere. Nothing in a journal points to its footer: without a seal, a footer that was
    edited and mended its digest is found where it contradicts the effects, and a footer with
    another head cannot be told from another last effect, which is then named.
    """
    if not records or records[0].get("record") != "run":
        return Damage(0, "the header is missing")
    damage = _damaged_header(records[0], run_id)
    footer_at = len(records) - 1 if records[-1].get("record") == "end" else None
    effects = records[1 : len(records) if footer_at is None else footer_at]
    head = records[-1].get("head") if footer_at is not None else seal
    damage = damage or _damaged_effects(records[0], effects, head)
    if damage is not None:
        return damage
    if footer_at is not None:
        return _damaged_footer(records, effects, seal)
    if sealed:
        return Damage(len(records), "the journal ends here without its footer: cut short")
    if seal not in (None, records[-1]["digest"]):
        return Damage(len(records) - 1, "it was replaced: another record is known to be the last")
    return None


def _intact(record: Mapping[str, Json]) -> bool:
    body = {key: value for key, value in record.items() if key != "digest"}
    try:
        return bool(record.get("digest") == digest_of(body))
    except TraceError:
        return False


def _damaged_header(header: Mapping[str, Json], run_id: str | None) -> Damage | None:
    if not _intact(header):
        return Damage(0, "the header was edited: it does not match its digest")
    if run_id is not None and header.get("run_id") != run_id:
        return Damage(0, f"the header is of run {header.get('run_id')}, expected {run_id}")
    return None


def _damaged_effects(
    header: Mapping[str, Json], effects: Sequence[Mapping[str, Json]], head: Json
) -> Damage | None:
    before = header
    for at, effect in enumerate(effects, start=1):
        if not _intact(effect):
            return Damage(at, "it was edited: it does not match its digest")
        if effect.get("record") != "effect":
            return Damage(at, f"a {effect.get('record')!r} record stands where an effect should")
        if effect.get("seq") != at:
            return Damage(
                at, f"effect {at} is missing or moved; effect {effect.get('seq')} is here"
            )
        if effect.get("prev") != before["digest"]:
            return _broken_link(effects, at, head)
        before = effect
    return None


def _broken_link(effects: Sequence[Mapping[str, Json]], at: int, head: Json) -> Damage:
    """Who is to blame where record `at` does not point to the intact record before it.

    A record that was replaced together with its digest breaks the link behind it. Where the
    next link holds, `at` is in its place and the record before it is the stranger.
    """
    next_link = effects[at].get("prev") if at < len(effects) else head
    if next_link == effects[at - 1]["digest"]:
        return Damage(at - 1, "it was replaced: the record behind it points to another digest")
    return Damage(at, "it does not follow the record before it: replaced, or from another run")


def _damaged_footer(
    records: Sequence[Mapping[str, Json]],
    effects: Sequence[Mapping[str, Json]],
    seal: str | None,
) -> Damage | None:
    header, footer, at = records[0], records[-1], len(records) - 1
    if not _intact(footer):
        return Damage(at, "the footer was edited: it does not match its digest")
    if footer.get("run_id") != header.get("run_id"):
        return Damage(at, f"the footer is of run {footer.get('run_id')}")
    count = footer.get("count")
    if count != len(effects):
        return Damage(
            at, f"effects are missing: the footer counts {count}, {len(effects)} are here"
        )
    if seal not in (None, footer["digest"]):
        return Damage(at, "the footer was replaced: another one is known to be the last record")
    head = effects[-1]["digest"] if effects else header["digest"]
    if footer.get("head") != head:
        return Damage(at - 1, "it was replaced: the footer points to another digest")
    return None


def verify_chain(
    records: Sequence[Mapping[str, Json]], *, run_id: str | None = None, sealed: bool = True
) -> None:
    """Nothing, where a journal's records are whole, unedited, in order and of one run.

    Raises:
        TraceError: names the first bad record, or a schema version of the future.
    """
    check_schema(records)
    damage = find_damage(records, run_id=run_id, sealed=sealed)
    if damage is not None:
        name = records[0].get("run_id", "?") if records else "?"
        raise TraceError(
            f"journal of run {name}, record {damage.record}: {damage.reason}; "
            "restore the journal from a copy, or delete the run"
        )


class JournalSink(Protocol):
    """Where a journal's records go; see `SqliteTraceStore`."""

    def append(self, run_id: str, entry: Entry, blobs: Blobs) -> None:
        """Take an entry, to be committed soon. Raises `TraceError` where an earlier one failed."""
        ...

    def finish_run(self, run_id: str, outcome: Outcome, footer: Json, blobs: Blobs) -> None:
        """Commit everything of the run and its end. Raises `TraceError`."""
        ...

    def flush(self, run_id: str) -> None:
        """Return when everything taken of a run is committed. Raises `TraceError`."""
        ...


class Journal:
    """One run's journal while it is written; safe to use from several threads.

    `start_run` and `resume_run` of a store make one. `entries` holds what the run has done so
    far, oldest first; a resumed run finds its past there.
    """

    def __init__(
        self,
        *,
        meta: RunMeta,
        header_digest: str,
        sink: JournalSink,
        entries: Sequence[Entry] = (),
        read_blob: Callable[[str], bytes] | None = None,
    ) -> None:
        self.meta = meta
        self._sink = sink
        self._past = tuple(entries)
        self._count = len(entries)
        self._head = entries[-1].digest if entries else header_digest
        self._read_blob = read_blob
        self._lock = threading.Lock()
        self._finished = False

    @property
    def run_id(self) -> str:
        """The run this journal belongs to."""
        return self.meta.run_id

    @property
    def past(self) -> tuple[Entry, ...]:
        """What was journaled before this process took the run up."""
        return self._past

    def read_blob(self, digest: str) -> bytes:
        """The canonical JSON behind a blob of the past. Raises `TraceError` if missing."""
        if self._read_blob is None:
            raise TraceError(f"blob {digest} is not in this journal")
        return self._read_blob(digest)

    def append(
        self,
        *,
        key: EffectKey,
        request: Plain,
        result: Plain | None = None,
        error: RecordedError | None = None,
        started: float,
        ended: float,
        annotations: Mapping[str, Json] | None = None,
    ) -> Entry:
        """The entry, handed to the store; it is safe on disk after the next `flush`.

        Raises:
            TraceError: a value is not JSON, the run is over, or the store cannot write.
        """
        blobs: Blobs = {}
        stored_request = externalise(request, blobs)
        stored_result = None if result is None else externalise(result, blobs)
        stored_annotations = externalise(Plain.of(dict(annotations or {})), blobs)
        with self._lock:
            if self._finished:
                raise TraceError(f"run {self.run_id} is over; effect {key} came too late")
            entry = Entry(
                seq=self._count + 1,
                key=key,
                request=stored_request,
                result=stored_result,
                error=error,
                started=started,
                ended=ended,
                annotations=stored_annotations,
                prev=self._head,
                digest="",
            )
            entry = replace(entry, digest=digest_of(entry.body()))
            self._sink.append(self.run_id, entry, blobs)
            self._count, self._head = entry.seq, entry.digest
        return entry

    def flush(self) -> None:
        """Return when everything appended so far is committed. Raises `TraceError`."""
        self._sink.flush(self.run_id)

    def finish(self, outcome: Outcome) -> None:
        """Seal the journal and commit it; further effects are refused. Raises `TraceError`."""
        blobs: Blobs = {}
        with self._lock:
            if self._finished:
                raise TraceError(f"run {self.run_id} is over already")
            footer = footer_record(
                run_id=self.run_id,
                count=self._count,
                head=self._head,
                outcome=outcome,
                blobs=blobs,
            )
            self._finished = True
        self._sink.finish_run(self.run_id, outcome, footer, blobs)
