"""What every trace store promises; each test runs on SQLite and on Postgres."""

from __future__ import annotations

import dataclasses
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from seamline.errors import InputError, TraceError
from seamline.traces import EffectKey, Journal, Outcome, RunMeta, Trace, TraceStore, open_store
from seamline.traces.sql import SqlTraceStore
from seamline.traces.values import Plain, digest_of

MetaFactory = Callable[..., RunMeta]
Sql = Callable[[str], list[Any]]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def location(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres").new_database())
    return str(tmp_path / "traces.sqlite")


@pytest.fixture
def store(location: str) -> Iterator[TraceStore]:
    opened = open_store(location)
    yield opened
    opened.close()


@pytest.fixture
def other(location: str) -> Iterator[TraceStore]:
    """The same store as another process would see it."""
    opened = open_store(location)
    yield opened
    opened.close()


@pytest.fixture
def sql(location: str, run_sql: Callable[[str, str], list[Any]]) -> Sql:
    return lambda statement: run_sql(location, statement)


def add(journal: Journal, at: int, **request: Any) -> None:
    journal.append(
        key=EffectKey(f"plan/{at}", 1, "model"),
        request=Plain.of({"at": at, **request}),
        result=Plain.of({"scores": [0.5]}),
        started=float(at),
        ended=at + 0.25,
    )


def finish(journal: Journal, status: Any = "done", **fields: Any) -> None:
    journal.finish(Outcome(status=status, ended=journal.meta.started + 2, **fields))


def names(runs: list[Any]) -> list[str]:
    return [run.run_id for run in runs]


# -- writing and reading


def test_a_run_is_there_after_it_ended(
    store: TraceStore, other: TraceStore, meta: MetaFactory, sql: Sql
) -> None:
    text = "note " * 5000
    journal = store.start_run(meta(input={"text": text}, policies={"plan": {"ref": "a@1.0.0"}}))
    for at in range(3):
        add(journal, at, document=text)
    finish(journal, result={"message": "coded", "text": text})

    summary = other.run("last")
    assert (summary.run_id, summary.status, summary.effects) == ("run-1", "done", 3)
    assert summary.seconds == 2.0
    trace = other.trace("run-1")
    assert trace.meta == journal.meta
    assert trace.outcome is not None
    assert trace.outcome.result == {"message": "coded", "text": text}
    assert [trace.request(entry)["document"] == text for entry in trace.entries] == [True] * 3
    assert list(trace.entries) == other.effects("run-1")
    assert sql("SELECT COUNT(*) FROM blobs") == [(1,)], "one text is stored once"


def test_a_flush_commits_what_came_before(
    store: TraceStore, other: TraceStore, meta: MetaFactory
) -> None:
    journal = store.start_run(meta())
    for at in range(50):
        add(journal, at)
    journal.flush()
    assert len(other.effects("run-1")) == 50
    assert other.trace("run-1").status == "running"


def test_large_and_odd_values_come_back_as_they_were(
    store: TraceStore, other: TraceStore, meta: MetaFactory
) -> None:
    values = [
        random.Random(5).randbytes(4_000_000).hex(),
        {"$blob": "sha256:no reference", "text": "\0 \u2028 \U0001f9ea \x7f é"},
        [1, 1.0, True, None, 1e-300, 2**70],
        {"": {"": [[], {}, ""]}},
    ]
    journal = store.start_run(meta(conversation="talk 'é' %s ? \\", input=values[1]))
    for at, value in enumerate(values):
        add(journal, at, value=value)
    finish(journal, "failed", error="broke at \0 here \ud800", result=values)
    trace = other.trace("last")
    read = [trace.request(entry)["value"] for entry in trace.entries]
    assert [repr(value) for value in read] == [repr(value) for value in values]
    assert trace.meta.input == values[1]
    assert trace.outcome is not None
    assert trace.outcome.error == "broke at \0 here \ud800"
    assert trace.outcome.result == values
    assert other.run("last").error == "broke at \ufffd here \ufffd"
    assert names(other.runs(conversation="talk 'é' %s ? \\")) == ["run-1"]


def test_threads_may_share_a_run(store: TraceStore, meta: MetaFactory) -> None:
    journal = store.start_run(meta())

    def add_fifty(first: int) -> None:
        for number in range(first, first + 50):
            add(journal, number)

    threads = [threading.Thread(target=add_fifty, args=(n,)) for n in range(0, 400, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    finish(journal)
    assert len(store.trace("run-1").entries) == 400


def test_a_closed_store_takes_nothing(store: TraceStore, meta: MetaFactory, sql: Sql) -> None:
    journal = store.start_run(meta())
    store.close()
    with pytest.raises(TraceError, match="closed"):
        add(journal, 1)
    assert sql("SELECT run_id FROM runs") == [("run-1",)]
    store.close()


def test_an_empty_store_has_no_runs(store: TraceStore) -> None:
    assert store.runs() == []
    assert store.prune(keep=0) == []
    store.compact()
    for look in (store.run, store.trace, store.resume_run, store.delete):
        with pytest.raises(TraceError, match="no run is recorded"):
            look("last")
    with pytest.raises(TraceError, match="no run of conversation 'talk'"):
        store.delete_conversation("talk")


# -- finding


def test_runs_are_listed_and_filtered(store: TraceStore, meta: MetaFactory) -> None:
    for at in range(6):
        agent, talk = ("coder", None) if at % 2 else ("reviewer", "talk")
        run = meta(f"run-{at}", agent=agent, started=100.0 + at, conversation=talk)
        journal = store.start_run(run)
        if at < 4:
            finish(journal, "failed" if at == 1 else "done", error="no model" if at == 1 else None)
    store.flush()

    def ids(**filters: Any) -> list[str]:
        return [run.run_id[-1] for run in store.runs(**filters)]

    assert ids() == list("543210")
    assert ids(limit=2) == list("54")
    assert ids(agent="coder") == list("531")
    assert ids(status="running") == list("54")
    assert ids(status="done", agent="reviewer") == list("20")
    assert ids(since=103.0) == list("543")
    assert ids(conversation="talk") == list("420")
    assert [run.error for run in store.runs(status="failed")] == ["no model"]


def test_runs_of_one_moment_are_listed_by_arrival(store: TraceStore, meta: MetaFactory) -> None:
    for name in ("b", "a", "c"):
        store.start_run(meta(name))
    store.flush()
    assert names(store.runs()) == ["c", "a", "b"]
    assert store.run("last").run_id == "c"


def test_a_run_is_found_by_a_unique_beginning(store: TraceStore, meta: MetaFactory) -> None:
    for name in ("abc", "abcd", "abd-1", "b%", "B"):
        finish(store.start_run(meta(name)))
    assert store.run("abc").run_id == "abc"
    assert store.run("abd").run_id == "abd-1"
    assert store.run("b").run_id == "b%"
    assert store.run("B").run_id == "B"
    with pytest.raises(TraceError, match=r"ambiguous: abc, abcd, abd-1"):
        store.run("ab")
    for nothing in ("", "x", "%", "a_c", "last run"):
        with pytest.raises(TraceError, match="seamline traces list"):
            store.run(nothing)


# -- resuming


def test_a_run_is_resumed_once(store: TraceStore, meta: MetaFactory) -> None:
    journal = store.start_run(meta())
    add(journal, 1)
    finish(journal, "needs_answer")
    resumed = store.resume_run("run-1")
    assert [entry.key.path for entry in resumed.past] == ["plan/1"]
    assert store.run("run-1").status == "running"
    add(resumed, 2)
    finish(resumed)
    assert store.trace("run-1").status == "done"
    with pytest.raises(TraceError, match="is over"):
        store.resume_run("run-1")


def test_two_writers_of_one_run_are_kept_apart(
    store: SqlTraceStore, other: SqlTraceStore, meta: MetaFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = store.start_run(meta())
    add(journal, 1)
    finish(journal, "needs_answer")
    first = store.resume_run("run-1")
    with pytest.raises(TraceError, match="run-1 is still running"):
        other.resume_run("run-1")
    # Where that is not known, such as on a disk that machines share, the rows keep them apart.
    monkeypatch.setattr(other._running, "take", lambda run_id: None)
    second = other.resume_run("run-1")
    bystander = other.start_run(meta("run-2"))
    add(first, 2)
    finish(first)
    add(second, 2)
    add(bystander, 1)
    with pytest.raises(TraceError, match="another process is writing the same run"):
        finish(second)
    finish(bystander)
    assert store.trace("run-1").status == "done"
    assert store.trace("run-2").status == "done"


def test_a_killed_run_is_resumed_and_a_living_one_is_not(
    store: TraceStore, location: str, child: Callable[..., subprocess.Popen[str]]
) -> None:
    code = """
    import time
    journal = store.start_run(RunMeta(run_id="run-1", agent="a", started=1.0))
    add(journal, 1)
    journal.flush()
    print("running", flush=True)
    time.sleep(600)
    """
    running = child(code, location)
    assert running.stdout is not None
    assert running.stdout.readline() == "running\n"
    with pytest.raises(TraceError, match="run-1 is still running; wait for its end"):
        store.resume_run("run-1")
    running.kill()
    running.communicate(timeout=60)

    resumed = _soon(lambda: store.resume_run("run-1"))
    assert [entry.key.path for entry in resumed.past] == ["plan/1"]
    with pytest.raises(TraceError, match="still running"):
        store.resume_run("run-1")
    add(resumed, 2)
    finish(resumed)
    assert len(store.trace("run-1").entries) == 2


def _soon(work: Callable[[], Any]) -> Any:
    """What `work` gives once a server has noticed that its client is gone."""
    for _ in range(50):
        try:
            return work()
        except TraceError:
            time.sleep(0.1)
    return work()


def test_a_run_id_is_taken_once(store: TraceStore, other: TraceStore, meta: MetaFactory) -> None:
    finish(store.start_run(meta()))
    again = other.start_run(meta())
    with pytest.raises(TraceError, match="run-1 cannot be recorded any further"):
        finish(again)
    assert store.trace("run-1").status == "done"


# -- copying


def test_runs_are_copied_whole(store: TraceStore, tmp_path: Any, meta: MetaFactory) -> None:
    source = open_store(tmp_path / "source.sqlite")
    shared = "shared " * 1000
    for number in range(3):
        journal = source.start_run(
            meta(f"run-{number}", input=shared, parent="elsewhere", forked_at="plan/1#1")
        )
        add(journal, 1, note={"deep": [shared, "n" * 9000]})
        if number < 2:
            finish(journal, result=shared)
    source.flush()
    traces = [source.trace(f"run-{number}") for number in range(3)]
    assert store.write_runs(traces) == 3
    for trace in traces:
        copy = store.trace(trace.run_id)
        assert copy.to_json(full=True) == trace.to_json(full=True)
        assert dataclasses.replace(store.run(trace.run_id)) == source.run(trace.run_id)
    source.close()
    resumed = store.resume_run("run-2")
    finish(resumed)
    assert store.delete("run-0", "run-1")
    assert store.trace("run-2").meta.input == shared, "its blobs are its own"


def test_a_copy_never_replaces_a_run(store: TraceStore, meta: MetaFactory) -> None:
    finish(store.start_run(meta()))
    fresh = retold(store.trace("run-1"), run_id="run-2")
    with pytest.raises(TraceError, match="run-1 is in the store already"):
        store.write_runs([fresh, store.trace("run-1")])
    assert names(store.runs()) == ["run-1"], "what was given together is written together"
    assert store.write_runs([fresh]) == 1


def test_a_copy_without_its_blobs_is_refused(store: TraceStore, meta: MetaFactory) -> None:
    finish(store.start_run(meta(input="i" * 9000)))
    trace = store.trace("run-1")
    store.delete("run-1")
    with pytest.raises(TraceError, match=r"blob sha256:\w+ is missing"):
        store.write_runs([trace])
    assert store.runs() == []


def retold(trace: Trace, *, schema: int = 1, **meta: Any) -> Trace:
    """The trace of an ended run without effects under another header."""
    changed = trace.meta.model_copy(update=meta)
    header = {**trace.records[0], "run_id": changed.run_id, "schema": schema}
    header["meta"] = changed.model_dump(mode="json")
    footer = {**trace.records[-1], "run_id": changed.run_id}
    del header["digest"], footer["digest"]
    header["digest"] = footer["head"] = digest_of(header)
    footer["digest"] = digest_of(footer)
    return dataclasses.replace(trace, meta=changed, records=(header, footer))


def test_a_journal_of_the_future_is_refused(store: TraceStore, meta: MetaFactory) -> None:
    finish(store.start_run(meta()))
    store.write_runs([retold(store.trace("run-1"), schema=99, run_id="run-2")])
    with pytest.raises(TraceError, match=r"version is 99.*upgrade"):
        store.trace("run-2")
    assert store.trace("run-1").status == "done"
    assert len(store.runs()) == 2


# -- deleting


def test_deleting_takes_the_run_and_its_blobs(
    store: TraceStore, other: TraceStore, meta: MetaFactory, sql: Sql
) -> None:
    shared = "shared " * 1000
    for name in ("keep", "drop", "gone"):
        journal = store.start_run(meta(name, input=shared))
        add(journal, 1, note=name * 3000)
        finish(journal)
    assert sql("SELECT COUNT(*) FROM blobs") == [(4,)]
    assert names(store.delete("drop", "gone", "dro")) == ["drop", "gone"]
    assert names(other.runs()) == ["keep"]
    assert other.trace("keep").meta.input == shared
    assert sql("SELECT COUNT(*) FROM blobs") == [(2,)]
    assert sql("SELECT COUNT(*) FROM effects") == [(1,)]
    with pytest.raises(TraceError, match="no run 'drop'"):
        store.delete("keep", "drop")
    assert names(other.runs()) == ["keep"], "a wrong name deletes nothing"
    store.delete("keep")
    for table in ("runs", "effects", "blobs", "run_blobs"):
        assert sql(f"SELECT COUNT(*) FROM {table}") == [(0,)]


def test_a_run_that_is_written_can_be_deleted(store: TraceStore, meta: MetaFactory) -> None:
    journal = store.start_run(meta())
    add(journal, 1)
    store.delete("run-1")
    add(journal, 2)
    with pytest.raises(TraceError, match="run-1 cannot be recorded any further"):
        finish(journal)
    assert store.runs() == []
    finish(store.start_run(meta("run-2")))


def test_forks_outlive_their_parent(store: TraceStore, meta: MetaFactory) -> None:
    text = "input " * 2000
    for run in (
        meta("parent", input=text),
        meta("fork", input=text, parent="parent", forked_at="plan/1#1"),
    ):
        journal = store.start_run(run)
        add(journal, 1, note=text)
        finish(journal)
    store.delete("parent")
    fork = store.trace("fork")
    assert (fork.meta.parent, fork.meta.forked_at) == ("parent", "plan/1#1")
    assert store.run("fork").parent == "parent"
    assert fork.request(fork.entries[0])["note"] == fork.meta.input == text


def test_a_conversation_is_deleted_as_one(store: TraceStore, meta: MetaFactory) -> None:
    for at, talk in enumerate(("a", "b", "a", None)):
        finish(store.start_run(meta(f"run-{at}", conversation=talk)))
    assert names(store.delete_conversation("a")) == ["run-2", "run-0"]
    assert names(store.runs()) == ["run-3", "run-1"]
    with pytest.raises(TraceError, match="no run of conversation 'a'"):
        store.delete_conversation("a")


def test_pruning_deletes_what_every_rule_gives_up(store: TraceStore, meta: MetaFactory) -> None:
    for at in range(8):
        agent = "coder" if at % 2 else "reviewer"
        finish(store.start_run(meta(f"{at}", agent=agent, started=100.0 + at)))
    with pytest.raises(InputError, match="no rule"):
        store.prune()
    assert names(store.prune(keep=3, dry_run=True)) == list("43210")
    assert names(store.prune(agent="coder", keep=1, dry_run=True)) == list("531")
    assert names(store.prune(before=102.0, dry_run=True)) == list("10")
    assert names(store.prune(before=106.0, keep=4, agent=None, dry_run=True)) == list("3210")
    assert len(store.runs()) == 8
    assert names(store.prune(before=104.0, agent="reviewer")) == list("20")
    assert names(store.prune(keep=4)) == list("31")
    assert names(store.runs()) == list("7654")
    assert names(store.prune(agent="coder")) == list("75")
    assert names(store.prune(keep=0)) == list("64")


def test_pruning_spares_what_runs_now(store: TraceStore, meta: MetaFactory) -> None:
    now = time.time()
    for name, started in (("killed", now - 200_000), ("alive", now - 50)):
        store.start_run(meta(name, started=started)).flush()
    finish(store.start_run(meta("waits", started=now - 60)), "needs_answer")
    assert names(store.prune(keep=0)) == ["waits", "killed"]
    assert names(store.runs()) == ["alive"]


# -- damage


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        ("UPDATE effects SET record = replace(record, '0.5', '0.6') WHERE seq = 2", "record 2: it"),
        ("DELETE FROM effects WHERE seq = 2", "record 2: effect 2 is missing"),
        ("DELETE FROM effects WHERE seq = 3", "record 3: effects are missing"),
        ("UPDATE runs SET footer = NULL", "record 4: the journal ends here"),
        ("UPDATE runs SET header = replace(header, 'coder', 'other')", "record 0: the header"),
        ("UPDATE effects SET record = '{' WHERE seq = 1", "record 1: not JSON"),
        ("DELETE FROM blobs", r"blob sha256:\w+ is missing"),
        ("UPDATE blobs SET data = 'x'", "damaged"),
    ],
)
def test_damage_is_named_and_nothing_else_is_lost(
    damage: str, match: str, store: TraceStore, meta: MetaFactory, sql: Sql
) -> None:
    journal = store.start_run(meta(input="i" * 9000))
    for at in (1, 2, 3):
        add(journal, at)
    finish(journal)
    sql(damage)
    finish(store.start_run(meta("run-2")))
    with pytest.raises(TraceError, match=match):
        store.trace("run-1")
    assert len(store.runs()) == 2
    assert store.trace("run-2").status == "done"
    store.delete("run-1")
    assert names(store.runs()) == ["run-2"]


def test_a_store_of_the_future_is_refused(
    store: TraceStore, other: TraceStore, location: str, meta: MetaFactory, sql: Sql
) -> None:
    finish(store.start_run(meta()))
    store.close()
    postgres = location.startswith("postgresql:")
    sql("UPDATE store SET version = 99" if postgres else "PRAGMA user_version = 99")
    for use in (other.runs, lambda: other.trace("last"), lambda: other.start_run(meta("run-2"))):
        with pytest.raises(TraceError, match=r"version 99.*upgrade"):
            use()


# -- several processes


def test_processes_write_at_once(
    store: TraceStore, location: str, child: Callable[..., Any]
) -> None:
    code = """
    for number in range(6):
        journal = store.start_run(RunMeta(run_id=f"{sys.argv[2]}-{number}", agent="a", started=1.0))
        for at in range(40):
            # In another order in each process.
            text = (number * (1 if sys.argv[2] == "left" else -1) + at) % 5
            add(journal, at, text=f"shared {text} " * 2000, mine=sys.argv[2] * 50)
            if at % 10 == 0:
                journal.flush()
        journal.finish(Outcome(status="done", ended=2.0))
    store.delete(f"{sys.argv[2]}-0")
    store.close()
    """
    writers = [child(code, location, name) for name in ("left", "right", "third")]
    for writer in writers:
        _, stderr = writer.communicate(timeout=300)
        assert writer.returncode == 0, stderr
    runs = store.runs(limit=100)
    assert len(runs) == 15
    for run in runs:
        trace = store.trace(run.run_id)
        assert len(trace.entries) == 40
        for entry in trace.entries:
            assert trace.request(entry)["text"].startswith("shared")


def test_a_killed_process_loses_nothing_acknowledged(
    store: TraceStore, location: str, meta: MetaFactory, child: Callable[..., Any]
) -> None:
    code = """
    journal = store.start_run(RunMeta(run_id=sys.argv[2], agent="a", started=1.0))
    at = 0
    while True:
        for _ in range(at % 7 + 1):
            at += 1
            add(journal, at, text="t" * (at % 3 * 3000), n=at)
        journal.flush()
        print(at, flush=True)
    """
    dice = random.Random(7)
    acknowledged: dict[str, int] = {}
    for kill in range(4):
        writer = child(code, location, f"run-{kill}")
        last = int(writer.stdout.readline())
        time.sleep(dice.uniform(0, 0.2))
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate(timeout=60)
        # The last line may have been cut short by the kill.
        whole = rest[: rest.rfind("\n") + 1].split()
        acknowledged[f"run-{kill}"] = int(whole[-1]) if whole else last
    for run_id, count in acknowledged.items():
        trace = store.trace(run_id)
        assert len(trace.entries) >= count > 0
        assert trace.status == "running"
    resumed = store.resume_run("run-0")
    add(resumed, 0)
    finish(resumed)
    finish(store.start_run(meta("after")))
