from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seamline.errors import TraceError
from seamline.traces import EffectKey, Journal, Outcome, RunMeta, SqliteTraceStore
from seamline.traces.values import Plain
from seamline.traces.writer import WriteLock

MetaFactory = Callable[..., RunMeta]


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


def rows(path: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def child(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    preamble = """
    import sys, time
    from seamline.traces import EffectKey, Outcome, RunMeta, SqliteTraceStore
    from seamline.traces.values import Plain
    def add(journal, at, **request):
        journal.append(key=EffectKey(f"plan/{at}", 1, "model"), request=Plain.of(request),
                       result=Plain.of(at), started=1.0, ended=2.0)
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(preamble) + textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        **options,
    )


def test_a_run_is_there_after_it_ended(store: SqliteTraceStore, meta: MetaFactory) -> None:
    text = "note " * 5000
    journal = store.start_run(meta(input={"text": text}, policies={"plan": {"ref": "a@1.0.0"}}))
    for at in range(3):
        add(journal, at, document=text)
    finish(journal, result={"message": "coded", "text": text})

    with SqliteTraceStore(store.path) as other:
        summary = other.run("last")
        assert (summary.run_id, summary.status, summary.effects) == ("run-1", "done", 3)
        assert summary.seconds == 2.0
        trace = other.trace("run-1")
    assert trace.meta == journal.meta
    assert trace.outcome is not None
    assert trace.outcome.result == {"message": "coded", "text": text}
    assert [trace.request(entry)["document"] == text for entry in trace.entries] == [True] * 3
    assert rows(store.path, "SELECT COUNT(*) FROM blobs") == [(1,)], "one text is stored once"


def test_runs_are_listed_and_filtered(store: SqliteTraceStore, meta: MetaFactory) -> None:
    assert store.runs() == []
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


def test_a_run_is_found_by_a_unique_beginning(store: SqliteTraceStore, meta: MetaFactory) -> None:
    for name in ("abc", "abcd", "abd-1", "b%"):
        finish(store.start_run(meta(name)))
    assert store.run("abc").run_id == "abc"
    assert store.run("abd").run_id == "abd-1"
    assert store.run("b%").run_id == "b%"
    with pytest.raises(TraceError, match=r"ambiguous: abc, abcd, abd-1"):
        store.run("ab")
    for nothing in ("", "x", "%", "a_c"):
        with pytest.raises(TraceError, match="seamline traces list"):
            store.run(nothing)


def test_looking_makes_no_file(tmp_path: Path) -> None:
    store = SqliteTraceStore(tmp_path / "none" / "traces.sqlite")
    assert store.runs() == []
    for look in (store.run, store.trace):
        with pytest.raises(TraceError, match="no run is recorded"):
            look("last")
    assert list(tmp_path.iterdir()) == []


def test_deleting_is_real(store: SqliteTraceStore, meta: MetaFactory) -> None:
    shared, secret = "shared " * 1000, "".join(random.choices("0123456789", k=3000))
    for name in ("keep", "drop"):
        journal = store.start_run(meta(name, input=shared))
        add(journal, 1, note=secret if name == "drop" else "")
        finish(journal)
    reader = SqliteTraceStore(store.path)
    assert store.delete("drop").run_id == "drop"
    assert [run.run_id for run in reader.runs()] == ["keep"]
    assert reader.trace("keep").meta.input == shared
    reader.close()
    for file in filter(Path.is_file, store.path.parent.rglob("*")):
        assert secret[:200].encode() not in file.read_bytes(), file
    assert rows(store.path, "SELECT COUNT(*) FROM blobs") == [(1,)]
    store.delete("keep")
    assert rows(store.path, "SELECT COUNT(*) FROM blobs") == [(0,)]
    with pytest.raises(TraceError, match="no run"):
        store.delete("keep")


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        ("UPDATE effects SET record = replace(record, '0.5', '0.6') WHERE seq = 2", "record 2: it"),
        ("DELETE FROM effects WHERE seq = 2", "record 2: effect 2 is missing"),
        ("DELETE FROM effects WHERE seq = 3", "record 3: effects are missing"),
        ("UPDATE runs SET footer = NULL", "record 4: the journal ends here"),
        ("UPDATE runs SET header = replace(header, 'coder', 'other')", "record 0: the header"),
        ("UPDATE effects SET record = '{' WHERE seq = 1", "record 1: not JSON"),
        ("DELETE FROM blobs", "is missing"),
        ("UPDATE blobs SET data = 'x'", "damaged"),
    ],
)
def test_damage_is_named_and_nothing_else_is_lost(
    damage: str, match: str, store: SqliteTraceStore, meta: MetaFactory
) -> None:
    journal = store.start_run(meta(input="i" * 9000))
    for at in (1, 2, 3):
        add(journal, at)
    finish(journal)
    finish(store.start_run(meta("run-2")))
    connection = sqlite3.connect(store.path)
    connection.execute(damage)
    connection.commit()
    connection.close()
    with pytest.raises(TraceError, match=match):
        store.trace("run-1")
    assert len(store.runs()) == 2


def test_a_file_that_is_no_store_is_refused(tmp_path: Path, meta: MetaFactory) -> None:
    path = tmp_path / "traces.sqlite"
    path.write_bytes(b"something else entirely, and long enough to be looked at" * 100)
    with SqliteTraceStore(path) as store:
        with pytest.raises(TraceError, match="cannot be used"):
            store.runs()
        with pytest.raises(TraceError, match="cannot be used"):
            store.start_run(meta())
    assert path.read_bytes().startswith(b"something else")


def test_a_store_of_the_future_is_refused(store: SqliteTraceStore, meta: MetaFactory) -> None:
    finish(store.start_run(meta()))
    store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with SqliteTraceStore(store.path) as later:
        for use in (later.runs, lambda: later.start_run(meta("run-2"))):
            with pytest.raises(TraceError, match=r"version 99.*upgrade"):
                use()


def test_a_run_is_resumed_once(store: SqliteTraceStore, meta: MetaFactory) -> None:
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


def test_two_writers_of_one_run_are_kept_apart(store: SqliteTraceStore, meta: MetaFactory) -> None:
    journal = store.start_run(meta())
    add(journal, 1)
    finish(journal, "needs_answer")
    with SqliteTraceStore(store.path) as other:
        first = store.resume_run("run-1")
        with pytest.raises(TraceError, match="run-1 is still running"):
            other.resume_run("run-1")
        # A disk that several machines share may not keep locks between them.
        shutil.rmtree(f"{store.path}-running")
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


def test_threads_may_share_a_run(store: SqliteTraceStore, meta: MetaFactory) -> None:
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


def test_a_closed_store_takes_nothing(store: SqliteTraceStore, meta: MetaFactory) -> None:
    journal = store.start_run(meta())
    store.close()
    with pytest.raises(TraceError, match="closed"):
        add(journal, 1)
    assert rows(store.path, "SELECT run_id FROM runs") == [("run-1",)]
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_store_does_not_survive_a_fork(store: SqliteTraceStore, meta: MetaFactory) -> None:
    journal = store.start_run(meta())
    pid = os.fork()
    if pid == 0:
        try:
            add(journal, 1)
        except TraceError as error:
            os._exit(0 if "fork" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_write_lock_lets_one_in(tmp_path: Path) -> None:
    mine, other = (WriteLock(tmp_path / "lock", timeout=0.05) for _ in range(2))
    with mine.held(), pytest.raises(TraceError, match="another process has held"), other.held():
        pass
    with other.held():
        pass


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "traces.sqlite"
    code = """
    store = SqliteTraceStore(sys.argv[1])
    for number in range(6):
        journal = store.start_run(RunMeta(run_id=f"{sys.argv[2]}-{number}", agent="a", started=1.0))
        for at in range(40):
            add(journal, at, text="shared " * 2000, mine=sys.argv[2] * 50)
            if at % 10 == 0:
                journal.flush()
        journal.finish(Outcome(status="done", ended=2.0))
    store.close()
    """
    writers = [child(code, str(path), name) for name in ("left", "right")]
    for writer in writers:
        _, stderr = writer.communicate(timeout=300)
        assert writer.returncode == 0, stderr
    with SqliteTraceStore(path) as store:
        runs = store.runs(limit=100)
        assert len(runs) == 12
        assert all(len(store.trace(run.run_id).entries) == 40 for run in runs)
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_killed_process_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "traces.sqlite"
    code = """
    store = SqliteTraceStore(sys.argv[1])
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
    for kill in range(10):
        writer = child(code, str(path), f"run-{kill}")
        assert writer.stdout is not None
        last = int(writer.stdout.readline())
        time.sleep(dice.uniform(0, 0.2))
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate(timeout=60)
        # The last line may have been cut short by the kill.
        whole = rest[: rest.rfind("\n") + 1].split()
        acknowledged[f"run-{kill}"] = int(whole[-1]) if whole else last
    with SqliteTraceStore(path) as store:
        for run_id, count in acknowledged.items():
            trace = store.trace(run_id)
            assert len(trace.entries) >= count > 0
            assert trace.status == "running"
        finish(store.start_run(RunMeta(run_id="after", agent="a", started=1.0)))
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_killed_run_is_resumed_and_a_living_one_is_not(
    store: SqliteTraceStore, tmp_path: Path
) -> None:
    code = """
    store = SqliteTraceStore(sys.argv[1])
    journal = store.start_run(RunMeta(run_id="run-1", agent="a", started=1.0))
    add(journal, 1)
    journal.flush()
    print("running", flush=True)
    time.sleep(600)
    """
    running = child(code, str(store.path))
    assert running.stdout is not None
    assert running.stdout.readline() == "running\n"
    with pytest.raises(TraceError, match="run-1 is still running; wait for its end"):
        store.resume_run("run-1")
    running.kill()
    running.communicate(timeout=60)

    resumed = store.resume_run("run-1")
    assert [entry.key.path for entry in resumed.past] == ["plan/1"]
    with pytest.raises(TraceError, match="still running"):
        store.resume_run("run-1")
    add(resumed, 2)
    finish(resumed)
    assert len(store.trace("run-1").entries) == 2
    assert list(Path(f"{store.path}-running").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_is_an_error_and_loses_nothing_earlier(tmp_path: Path) -> None:
    path = tmp_path / "traces.sqlite"
    code = """
    import random, resource
    from seamline.errors import TraceError
    store = SqliteTraceStore(sys.argv[1])
    first = store.start_run(RunMeta(run_id="first", agent="a", started=1.0))
    add(first, 1)
    first.finish(Outcome(status="done", ended=2.0))
    second = store.start_run(RunMeta(run_id="second", agent="a", started=1.0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    kept = 0
    try:
        for at in range(100):
            add(second, at, noise=random.Random(at).randbytes(20_000).hex())
            second.flush()
            kept += 1
    except TraceError as error:
        print(kept, error)
    try:
        second.finish(Outcome(status="done", ended=2.0))
    except TraceError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    third = store.start_run(RunMeta(run_id="third", agent="a", started=1.0))
    third.finish(Outcome(status="done", ended=2.0))
    store.close()
    """
    stdout, stderr = child(code, str(path)).communicate(timeout=120)
    assert stderr == ""
    first, second = stdout.splitlines()
    kept = int(first.split()[0])
    assert kept > 0
    for line in (first, second):
        assert "run second cannot be recorded any further" in line
        assert "free some disk space" in line
    with SqliteTraceStore(path) as store:
        assert {run.run_id: run.status for run in store.runs()} == {
            "first": "done",
            "second": "running",
            "third": "done",
        }
        assert len(store.trace("second").entries) >= kept
        assert len(store.trace("first").entries) == 1
