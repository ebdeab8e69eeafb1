from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamline.errors import TraceError
from seamline.traces import EffectKey, Entry, Journal, Outcome, RunMeta
from seamline.traces.journal import find_damage, footer_record, header_record, verify_chain
from seamline.traces.values import Blobs, Json, Plain, digest_of

Records = list[dict[str, Any]]


class Memory:
    def __init__(self) -> None:
        self.records: Records = []

    def append(self, run_id: str, entry: Entry, blobs: Blobs) -> None:
        self.records.append(entry.record())

    def finish_run(self, run_id: str, outcome: Outcome, footer: Json, blobs: Blobs) -> None:
        self.records.append(footer)

    def flush(self, run_id: str) -> None:
        pass


def journal_of(run_id: str, effects: int) -> Records:
    meta = RunMeta(run_id=run_id, agent="coder", started=1.0, input="text")
    header = header_record(meta, {})
    sink = Memory()
    journal = Journal(meta=meta, header_digest=header["digest"], sink=sink)
    for at in range(effects):
        journal.append(
            key=EffectKey(f"plan/{at + 1}", 1, "model"),
            request=Plain.of({"ask": "rules", "at": at, "threshold": 0.1}),
            result=Plain.of({"scores": [0.1 * at]}),
            started=float(at),
            ended=at + 0.5,
        )
    journal.finish(Outcome(status="done", ended=9.0))
    return [header, *sink.records]


JOURNAL = journal_of("run-1", 8)
FOREIGN = journal_of("run-2", 8)


def paths(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        return [path for key in value for path in paths(value[key], (*above, key))]
    if isinstance(value, list) and value:
        return [path for at in range(len(value)) for path in paths(value[at], (*above, at))]
    return [above]


def changed(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return "changed"
    if isinstance(value, (int, float)):
        return value + 1
    return value + "x" if isinstance(value, str) else "changed"


@st.composite
def corrupted(draw: st.DrawFn) -> tuple[Records, int]:
    """A journal with one bad record, and the position at which it must be found."""
    records = copy.deepcopy(JOURNAL)
    how = draw(
        st.sampled_from(["edit", "add", "remove", "drop", "swap", "repeat", "cut", "foreign"])
    )
    at = draw(st.integers(0, len(records) - 1))
    if how == "edit":
        path = draw(st.sampled_from(paths(records[at])))
        inside: Any = records[at]
        for step in path[:-1]:
            inside = inside[step]
        inside[path[-1]] = changed(inside[path[-1]])
    elif how == "add":
        records[at]["extra"] = 1
    elif how == "remove":
        del records[at][draw(st.sampled_from(sorted(records[at])))]
    elif how == "drop":
        del records[at]
    elif how == "swap":
        other = draw(st.integers(0, len(records) - 1).filter(lambda other: other != at))
        records[at], records[other] = records[other], records[at]
        at = min(at, other)
    elif how == "repeat":
        records.insert(at, copy.deepcopy(records[at]))
        # A repeated footer is a stranger among the effects; of others the second is too many.
        at = at if records[at]["record"] == "end" else at + 1
    elif how == "cut":
        del records[at:]
    else:
        records[at] = copy.deepcopy(FOREIGN[at])
    return records, at


@settings(max_examples=500, deadline=None)
@given(corrupted())
def test_every_corruption_of_one_record_is_found_at_that_record(
    case: tuple[Records, int],
) -> None:
    records, at = case
    damage = find_damage(records)
    assert damage is not None
    assert damage.record == at, damage.reason
    with pytest.raises(TraceError, match=f"record {at}: "):
        verify_chain(records)


@pytest.mark.parametrize("at", range(len(JOURNAL) - 1))
def test_an_edit_that_mends_its_own_digest_is_found_by_the_next_link(at: int) -> None:
    records = copy.deepcopy(JOURNAL)
    field = "meta" if at == 0 else "request"
    records[at][field] = {"something": "else"}
    body = {key: value for key, value in records[at].items() if key != "digest"}
    records[at]["digest"] = digest_of(body)
    damage = find_damage(records)
    assert damage is not None
    assert damage.record == at


def test_an_intact_journal_holds() -> None:
    verify_chain(JOURNAL, run_id="run-1")
    verify_chain(JOURNAL[:-1], sealed=False)
    verify_chain(JOURNAL[:1], sealed=False)


def test_a_journal_of_another_run_is_refused() -> None:
    with pytest.raises(TraceError, match=r"record 0: the header is of run run-2, expected run-1"):
        verify_chain(FOREIGN, run_id="run-1")


@pytest.mark.parametrize(("version", "match"), [(2, "upgrade"), (None, "expected a number")])
def test_another_schema_version_is_named(version: Any, match: str) -> None:
    header = {key: value for key, value in JOURNAL[0].items() if key != "digest"}
    header["schema"] = version
    header["digest"] = digest_of(header)
    footer = footer_record(
        run_id="run-1",
        count=0,
        head=header["digest"],
        outcome=Outcome(status="done", ended=2.0),
        blobs={},
    )
    with pytest.raises(TraceError, match=match):
        verify_chain([header, footer])


def test_an_entry_reads_back_as_it_was_written() -> None:
    for record in JOURNAL[1:-1]:
        assert Entry.from_record(record).record() == record


def test_a_garbled_entry_is_named() -> None:
    with pytest.raises(TraceError, match="record 3 lacks"):
        Entry.from_record({**JOURNAL[3], "key": None})
    with pytest.raises(TraceError, match="path#occurrence"):
        EffectKey.parse("plan", "model")


def test_nothing_follows_the_footer(meta: Callable[..., RunMeta]) -> None:
    journal = Journal(meta=meta(), header_digest="sha256:0", sink=Memory())
    journal.finish(Outcome(status="done", ended=1.0))
    with pytest.raises(TraceError, match="came too late"):
        journal.append(
            key=EffectKey("plan/1", 1, "clock"), request=Plain.of({}), started=1.0, ended=1.0
        )
    with pytest.raises(TraceError, match="over already"):
        journal.finish(Outcome(status="done", ended=1.0))
