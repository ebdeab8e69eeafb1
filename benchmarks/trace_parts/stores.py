"""What SQLite's store costs: recording, bulk ingest, lists of a million effects."""

from __future__ import annotations

import dataclasses
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from seamline.traces import EffectKey, Entry, Outcome, RunMeta, SqliteTraceStore, Trace
from seamline.traces.journal import footer_record, header_record
from seamline.traces.values import Json, canonical_json, digest_of
from trace_parts import Row

RUNS, EFFECTS = 20_000, 50
STARTED = 1_700_000_000.0
AGENTS = ("icd10_coder", "contract_review", "sorter", "triage")
REQUEST: Json = {
    "policy": "icd10_coder/plan@1.2.0",
    "digest": "sha256:" + "0" * 64,
    "variables": {"tools": ["icd10_search", "icd10_select"], "facts": "adult, outpatient"},
}


def _trace(number: int) -> Trace:
    """A run of 50 effects as an import hands it over, of about 600 bytes an effect."""
    meta = RunMeta(
        run_id=f"{number:08}-0000-7000-8000-000000000000",
        agent=AGENTS[number % len(AGENTS)],
        agent_version="1.0.0",
        started=STARTED + number * 60,
        conversation=f"talk-{number // 100}",
        input={"text": "chest pain since this morning " * 20},
    )
    records = [header_record(meta, {})]
    entries = []
    for at in range(1, EFFECTS + 1):
        entry = Entry(
            seq=at,
            key=EffectKey(f"choose/{at}", 1, "model"),
            request=REQUEST,
            result={"decision": "icd10_search", "scores": [0.25, 0.75], "tokens": list(range(20))},
            error=None,
            started=meta.started + at,
            ended=meta.started + at + 0.5,
            annotations={},
            prev=records[-1]["digest"],
            digest="",
        )
        entry = dataclasses.replace(entry, digest=digest_of(entry.body()))
        entries.append(entry)
        records.append(entry.record())
    # A few of the last are still going on, one in ten failed.
    outcome = None
    if number % 1000 != 999:
        status = "failed" if number % 10 == 0 else "done"
        outcome = Outcome(status=status, ended=meta.started + 60)
        head = records[-1]["digest"]
        records.append(
            footer_record(run_id=meta.run_id, count=EFFECTS, head=head, outcome=outcome, blobs={})
        )
    return Trace(meta, entries, outcome, records, read_blob=_no_blob)


def _no_blob(digest: str) -> bytes:
    raise KeyError(digest)


def _plain_insert(traces: list[Trace], path: Path) -> float:
    """Seconds to put the same texts into a table of the same shape with `executemany`."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE effects (run, seq, record, PRIMARY KEY (run, seq))")
    texts = [
        (trace.run_id, at, canonical_json(record))
        for trace in traces
        for at, record in enumerate(trace.records)
    ]
    started = time.perf_counter()
    with connection:
        connection.executemany("INSERT INTO effects VALUES (?, ?, ?)", texts)
    seconds = time.perf_counter() - started
    connection.close()
    return seconds


def _ingest(store: SqliteTraceStore, folder: Path) -> Iterator[Row]:
    chunk, seconds = 1000, 0.0
    for first in range(0, RUNS, chunk):
        traces = [_trace(number) for number in range(first, first + chunk)]
        started = time.perf_counter()
        store.write_runs(traces)
        seconds += time.perf_counter() - started
    plain = chunk * EFFECTS / _plain_insert(traces, folder / "plain.sqlite")
    yield Row(
        "bulk ingest of a million effects",
        RUNS * EFFECTS / seconds,
        "effects/s",
        50_000,
        "higher",
        f"executemany of ready texts: {plain:,.0f}/s",
    )


def _slowest(look: Callable[[], object]) -> float:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        look()
        seconds.append(time.perf_counter() - started)
    return max(seconds) * 1000


def _lists(store: SqliteTraceStore) -> Iterator[Row]:
    late = STARTED + (RUNS - 100) * 60
    looks: dict[str, Callable[[], object]] = {
        "newest 50": lambda: store.runs(),
        "newest 1000": lambda: store.runs(limit=1000),
        "by agent": lambda: store.runs(agent="sorter"),
        "by status": lambda: store.runs(status="running"),
        "by agent and status": lambda: store.runs(agent="triage", status="failed"),
        "by agent and status, none there": lambda: store.runs(agent="sorter", status="refused"),
        "since a moment": lambda: store.runs(since=late),
        "by agent since a moment": lambda: store.runs(agent="sorter", since=late),
        "by conversation": lambda: store.runs(conversation="talk-7"),
        "one run by a beginning of its id": lambda: store.run("00012345"),
        "a whole trace, verified": lambda: store.trace("00012345"),
    }
    for what, look in looks.items():
        yield Row(f"of a million effects, {what}", _slowest(look), "ms", 100, "lower")


def _recording(folder: Path) -> Iterator[Row]:
    from seamline.traces.values import Plain

    with SqliteTraceStore(folder / "recording.sqlite") as store:
        journal = store.start_run(RunMeta(run_id="run", agent="a", started=STARTED))
        request, result = Plain.of(REQUEST), Plain.of({"decision": "icd10_search"})
        seconds = []
        for at in range(20_000):
            started = time.perf_counter()
            journal.append(
                key=EffectKey(f"choose/{at}", 1, "model"),
                request=request,
                result=result,
                started=STARTED,
                ended=STARTED,
            )
            seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
        journal.finish(Outcome(status="done", ended=STARTED + 1))
        ending = time.perf_counter() - started
    mean = sum(seconds) / len(seconds)
    peer = f"median {median(seconds) * 1000:.3f} ms; sealing the run after it {ending:.2f} s"
    yield Row("recording, an effect as the run sees it", mean * 1000, "ms", 0.3, "lower", peer)


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from _recording(folder)
        with SqliteTraceStore(folder / "traces.sqlite") as store:
            yield from _ingest(store, folder)
            yield from _lists(store)
            started = time.perf_counter()
            store.delete("00012345")
            seconds = time.perf_counter() - started
            size = store.path.stat().st_size / 1e6
            yield Row(f"deleting a run and compacting {size:,.0f} MB", seconds, "s", 60, "lower")
