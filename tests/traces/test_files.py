from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from seamline.cli import common
from seamline.cli.main import app
from seamline.errors import TraceError
from seamline.traces import EffectKey, Journal, Outcome, RunMeta, SqliteTraceStore, Trace
from seamline.traces.files import add_trace, export_trace, is_trace_folder, read_trace
from seamline.traces.journal import RecordedError, footer_record
from seamline.traces.values import Plain, canonical_json, digest_of

MetaFactory = Callable[..., RunMeta]
NOTE = "Befund: Übelkeit, 39 °C.\nHusten seit drei Tagen.\n" * 200
CODES = [{"code": f"J{n}.9", "text": "Lungenentzündung"} for n in range(200)]


def record_run(journal: Journal, *, last: bool = True) -> None:
    def add(path: str, kind: Any, request: Any, result: Any, **fields: Any) -> None:
        key = EffectKey(path, 1, kind)
        plain = None if result is None else Plain.of(result)
        journal.append(
            key=key, request=Plain.of(request), result=plain, started=2.0, ended=2.5, **fields
        )

    add("plan/1", "clock", {}, 1.25)
    add("plan/1", "model", {"text": NOTE}, {"decision": {"choice": "find codes"}})
    add("tool:select/1", "tool", {"input": {"text": NOTE}}, {"value": CODES})
    error = RecordedError("ToolCallError", "the release has no code J99")
    add("tool:check/1", "tool", {"input": "J99"}, None, error=error)
    add("plan/2", "model", {"noise": "\x1b[31m" * 900}, {"decision": {"choice": "finish"}})
    if last:
        journal.finish(Outcome(status="done", ended=3.0, result={"codes": CODES}))


@pytest.fixture
def trace(store: SqliteTraceStore, meta: MetaFactory) -> Trace:
    record_run(store.start_run(meta(input={"text": NOTE}, seamline_version="0.1.0")))
    return store.trace("run-1")


@pytest.fixture
def folder(trace: Trace, tmp_path: Path) -> Path:
    return export_trace(trace, tmp_path / "exported")


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_run_comes_back_whole_without_a_store(trace: Trace, folder: Path) -> None:
    back = read_trace(folder)
    assert (back.meta, back.entries, back.outcome) == (trace.meta, trace.entries, trace.outcome)
    assert back.records == trace.records
    assert back.effects == trace.effects
    assert back.meta.input == {"text": NOTE}
    assert back.to_json(full=True) == trace.to_json(full=True)
    with pytest.raises(TraceError, match="is not in trace folder"):
        back.read_blob("sha256:0")


def test_the_folder_reads_well_and_tells_what_it_holds(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["run_id"] == "run-1"
    assert manifest["status"] == "done"
    assert manifest["effects"] == {"total": 5, "clock": 1, "model": 2, "tool": 2}
    lines = (folder / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["record"] for line in lines] == ["run", *["effect"] * 5, "end"]
    blobs = {name: data for name, data in content(folder).items() if name.startswith("blobs/")}
    assert {entry["file"] for entry in manifest["blobs"].values()} == set(blobs)
    by_digest = {digest: blobs[entry["file"]] for digest, entry in manifest["blobs"].items()}
    assert by_digest[digest_of(NOTE)] == NOTE.encode(), "a text is kept as a person reads it"
    assert by_digest[digest_of(CODES)].decode().splitlines()[1] == (
        '{"code":"J0.9","text":"Lungenentzündung"},'
    )
    assert not any(b"\x1b" in data for data in blobs.values()), "nothing reaches a terminal"


def test_exports_are_equal_byte_for_byte_also_by_way_of_another_store(
    trace: Trace, folder: Path, tmp_path: Path
) -> None:
    again = export_trace(trace, tmp_path / "again")
    with SqliteTraceStore(tmp_path / "other.sqlite") as other:
        assert add_trace(read_trace(folder), other)
        assert not add_trace(read_trace(folder), other)
        far = export_trace(other.trace("run-1"), tmp_path / "far")
        assert [run.status for run in other.runs()] == ["done"]
    assert content(folder) == content(again) == content(far)


def test_git_shows_a_change_as_text(folder: Path, tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "core.autocrlf=true"]
        done = subprocess.run(
            [*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout

    git("init", "-q", ".")
    git("add", "exported")
    git("commit", "-qm", "one")
    shutil.rmtree(folder)
    git("checkout", "-q", "exported")
    read_trace(folder)  # Line ends survive a checkout that would change them.
    blob = next((folder / "blobs").glob("*.txt"))
    blob.write_text(blob.read_text().replace("Husten", "Fieber", 1))
    assert "+Fieber seit drei Tagen." in git("diff")


def test_a_run_that_was_killed_can_be_exported(
    store: SqliteTraceStore, meta: MetaFactory, tmp_path: Path
) -> None:
    record_run(store.start_run(meta()), last=False)
    store.flush()
    folder = export_trace(store.trace("run-1"), tmp_path / "killed")
    assert read_trace(folder).status == "running"
    with SqliteTraceStore(tmp_path / "other.sqlite") as other:
        add_trace(read_trace(folder), other)
        assert (other.run("run-1").status, other.run("run-1").effects) == ("running", 5)
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "journal.jsonl").write_bytes(b"".join(lines[:-1]))
    with pytest.raises(TraceError, match=r"journal\.jsonl: record 5: the journal ends here"):
        read_trace(folder)


# -- damage


def edit_manifest(folder: Path, **fields: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def journal_lines(folder: Path) -> list[bytes]:
    return (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)


def put_line(folder: Path, at: int, line: bytes) -> None:
    lines = journal_lines(folder)
    lines[at] = line
    (folder / "journal.jsonl").write_bytes(b"".join(lines))


def reseal(folder: Path, at: int, **fields: Any) -> None:
    record = {**json.loads(journal_lines(folder)[at]), **fields}
    del record["digest"]
    line = canonical_json({**record, "digest": digest_of(record)}).encode() + b"\n"
    put_line(folder, at, line)


def swap(folder: Path) -> None:
    lines = journal_lines(folder)
    put_line(folder, 2, lines[4])
    put_line(folder, 4, lines[2])


def blob(folder: Path, ending: str = ".txt") -> Path:
    return sorted((folder / "blobs").glob(f"*{ending}"))[0]


def link(folder: Path, name: str) -> None:
    path = folder / name
    target = path.rename(folder.parent / f"moved-{path.name}")
    path.symlink_to(target)


def instead(path: Path, make: Callable[[Path], object]) -> None:
    shutil.move(path, path.parent.parent / "moved")
    make(path)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no manifest": (lambda f: (f / "manifest.json").unlink(), r"manifest\.json: is missing"),
    "no journal": (lambda f: (f / "journal.jsonl").unlink(), r"journal\.jsonl: is missing"),
    "empty journal": (
        lambda f: (f / "journal.jsonl").write_bytes(b""),
        r"journal\.jsonl: record 0: the header is missing",
    ),
    "binary manifest": (
        lambda f: (f / "manifest.json").write_bytes(os.urandom(2000)),
        r"manifest\.json: not JSON",
    ),
    "other JSON": (lambda f: (f / "manifest.json").write_text("[]"), "does not say that its"),
    "deep manifest": (
        lambda f: (f / "manifest.json").write_text("[" * 100_000),
        r"manifest\.json: not JSON",
    ),
    "format of the future": (lambda f: edit_manifest(f, format_version=2), r"version 2.*upgrade"),
    "format of no version": (
        lambda f: edit_manifest(f, format_version="x"),
        r'manifest\.json: format_version is "x", but by the journal 1',
    ),
    "manifest of another run": (
        lambda f: edit_manifest(f, run_id="run-9"),
        r"manifest\.json: is of run run-9, and journal\.jsonl of run run-1",
    ),
    "wrong status": (
        lambda f: edit_manifest(f, status="running"),
        r'manifest\.json: status is "running", but by the journal "done"',
    ),
    "wrong counts": (
        lambda f: edit_manifest(f, effects={"total": 4}),
        r"manifest\.json: effects\.clock is \(absent\), but by the journal 1",
    ),
    "manifest without a journal": (
        lambda f: edit_manifest(f, journal=None),
        r"manifest\.json: journal is null",
    ),
    "truncated": (
        lambda f: (f / "journal.jsonl").write_bytes(b"".join(journal_lines(f)[:4])),
        r"journal\.jsonl: record 4: the journal ends here",
    ),
    "truncated in a line": (
        lambda f: (f / "journal.jsonl").write_bytes(
            (f / "journal.jsonl").read_bytes()[: -len(journal_lines(f)[-1]) - 20]
        ),
        r"journal\.jsonl: record 5 is cut short",
    ),
    "reordered": (swap, r"journal\.jsonl: record 2: effect 2 is missing or moved"),
    "edited": (
        lambda f: put_line(f, 3, journal_lines(f)[3].replace(b"select", b"reject", 1)),
        r"journal\.jsonl: record 3: it was edited",
    ),
    "spelled otherwise": (
        lambda f: put_line(f, 3, journal_lines(f)[3].replace(b'":', b'": ', 1)),
        r"journal\.jsonl: record 3: it was edited: an export spells it otherwise",
    ),
    "edited with its digest": (
        lambda f: reseal(f, 3, request={"input": "other"}),
        r"journal\.jsonl: record 3: it was replaced",
    ),
    "last effect edited with its digest": (
        lambda f: reseal(f, 5, request={"input": "other"}),
        r"journal\.jsonl: record 5: it was replaced",
    ),
    "outcome edited with its digest": (
        lambda f: reseal(f, 6, outcome={"status": "failed", "ended": 3.0}),
        r"journal\.jsonl: record 6: the footer was replaced",
    ),
    "head edited with its digest": (
        lambda f: reseal(f, 6, head="sha256:0"),
        r"journal\.jsonl: record 6: the footer was replaced",
    ),
    "not JSON": (
        lambda f: put_line(f, 2, b"{oops}\n"),
        r"journal\.jsonl: record 2: not JSON",
    ),
    "not an object": (
        lambda f: put_line(f, 2, b"[1]\n"),
        r"journal\.jsonl: record 2: not a JSON object",
    ),
    "no number": (
        lambda f: put_line(f, 2, b'{"a":NaN}\n'),
        r"journal\.jsonl: record 2: a value for the journal is not plain JSON",
    ),
    "deep line": (
        lambda f: put_line(f, 2, b'{"a":' + b"[" * 300 + b"]" * 300 + b"}\n"),
        r"journal\.jsonl: record 2: a value is nested more than 200 deep",
    ),
    "very deep line": (
        lambda f: put_line(f, 2, b"[" * 100_000 + b"]" * 100_000 + b"\n"),
        r"journal\.jsonl: record 2: not JSON",
    ),
    "huge line": (
        lambda f: put_line(f, 2, b'{"a":"' + b"x" * (16 << 20) + b'"}\n'),
        r"journal\.jsonl: record 2 has more than 16777216 bytes",
    ),
    "binary line": (
        lambda f: put_line(f, 2, b"\x00\xff\xfe\x80\n"),
        r"journal\.jsonl: record 2: not JSON",
    ),
    "missing blob": (lambda f: blob(f).unlink(), r"blobs/[0-9a-f]{64}: is missing, and record 0"),
    "no blobs": (lambda f: shutil.rmtree(f / "blobs"), r"blobs/[0-9a-f]{64}: is missing"),
    "edited blob": (
        lambda f: blob(f).write_text("other"),
        r"blobs/[0-9a-f]{64}\.txt: was edited: it is not what record 0 refers to",
    ),
    "blob spelled otherwise": (
        lambda f: blob(f, ".json").write_bytes(b" " + blob(f, ".json").read_bytes()),
        r"blobs/[0-9a-f]{64}\.json: was edited",
    ),
    "binary blob": (lambda f: blob(f).write_bytes(b"\xff\xfe"), r"\.txt: was edited: not text"),
    "extra blob": (
        lambda f: (f / "blobs" / "notes.txt").write_text("x"),
        r"blobs/'notes\.txt': no record refers to it; remove it",
    ),
    "linked blob": (
        lambda f: link(f, str(blob(f).relative_to(f))),
        r"blobs/[0-9a-f]{64}\.txt: is a link",
    ),
    "linked blobs": (lambda f: link(f, "blobs"), "blobs: is a link"),
    "linked journal": (lambda f: link(f, "journal.jsonl"), r"journal\.jsonl: is a link"),
    "linked manifest": (lambda f: link(f, "manifest.json"), r"manifest\.json: is a link"),
    "journal is a folder": (
        lambda f: instead(f / "journal.jsonl", Path.mkdir),
        r"journal\.jsonl: ",
    ),
    "journal is a pipe": (
        lambda f: instead(f / "journal.jsonl", os.mkfifo),
        r"journal\.jsonl: is not a plain file",
    ),
    "blobs is a file": (
        lambda f: instead(f / "blobs", Path.touch),
        r"blobs: cannot be read \(Not a directory\)",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_with_file_and_record(name: str, folder: Path) -> None:
    damage, match = DAMAGE[name]
    damage(folder)
    with pytest.raises(TraceError, match=match) as raised:
        read_trace(folder)
    assert len(str(raised.value)) < 700


def test_files_beside_the_trace_are_left_alone(folder: Path) -> None:
    (folder / "README.md").write_text("why this run is kept")
    assert read_trace(folder).run_id == "run-1"
    assert is_trace_folder(folder)
    assert not is_trace_folder(folder / "blobs")


@pytest.mark.parametrize("there", ["nothing", "file"])
def test_what_is_no_folder_is_said_to_be_none(tmp_path: Path, there: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(TraceError, match=r"no trace folder|cannot be read \(Not a directory\)"):
        read_trace(tmp_path / there)


@pytest.mark.parametrize(
    ("header", "effect", "match"),
    [
        ({"run_id": "last"}, {}, "run id 'last' cannot be used"),
        ({"run_id": "a/../b"}, {}, "run id 'a/../b' cannot be used"),
        ({"run_id": "\x1b[2J"}, {}, "run id .* cannot be used"),
        ({"started": 1e300}, {}, "started: Input should be less than or equal to"),
        ({"agent": ["x"]}, {}, "agent: Input should be a valid string"),
        ({"unknown": 1}, {}, "unknown: Extra inputs.*newer"),
        ({}, {"kind": "eval"}, "record 1 lacks or garbles a field \\(kind\\)"),
        ({}, {"started": "soon"}, "garbles a field \\(started\\)"),
        ({}, {"ended": 10**400}, "garbles a field \\(ended\\)"),
        ({}, {"annotations": []}, "garbles a field \\(annotations\\)"),
        ({}, {"error": {"type": 1, "message": ""}}, "garbles a field \\(error\\)"),
        ({}, {"error": "os.system"}, "garbles a field"),
        ({}, {"key": "plan/1#" + "9" * 5000}, "not of the form path#occurrence"),
        ({}, {"request": {"$blob": "../../etc/passwd", "bytes": 1}}, "is not the digest of a blob"),
        ({}, {"request": {"$blob": "sha256:" + "0" * 64}}, f"blobs/{'0' * 64}: is missing"),
    ],
)
def test_a_forged_run_with_right_digests_is_refused(
    header: dict[str, Any], effect: dict[str, Any], match: str, tmp_path: Path
) -> None:
    folder = tmp_path / "forged"
    forge(folder, header, effect)
    with pytest.raises(TraceError, match=match):
        read_trace(folder)


def test_a_journal_of_a_newer_seamline_says_so(tmp_path: Path) -> None:
    forge(tmp_path / "newer", {}, {"prev": "chained otherwise"}, schema=99)
    with pytest.raises(TraceError, match=r"journal\.jsonl: journal schema version is 99.*upgrade"):
        read_trace(tmp_path / "newer")


def forge(folder: Path, header: dict[str, Any], effect: dict[str, Any], *, schema: int = 1) -> None:
    """A folder in which every digest is right, and a field is not."""
    meta = {**RunMeta(run_id="run-1", agent="a", started=1.0).model_dump(mode="json"), **header}

    def sealed(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "digest": digest_of(body)}

    first = sealed({"record": "run", "schema": schema, "run_id": meta["run_id"], "meta": meta})
    body = {
        "record": "effect", "seq": 1, "key": "plan/1#1", "kind": "clock", "request": {},
        "result": 1.0, "started": 1.0, "ended": 1.0, "annotations": {}, "prev": first["digest"],
    }  # fmt: skip
    second = sealed({**body, **effect})
    end = Outcome(status="done", ended=2.0)
    run_id, head = meta["run_id"], second["digest"]
    third = footer_record(run_id=run_id, count=1, head=head, outcome=end, blobs={})
    folder.mkdir()
    journal = "".join(canonical_json(record) + "\n" for record in (first, second, third))
    (folder / "journal.jsonl").write_text(journal)
    manifest = {"format": "seamline trace", "format_version": 1, "run_id": run_id}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_second_effect_with_the_same_key_is_refused(
    store: SqliteTraceStore, meta: MetaFactory, tmp_path: Path
) -> None:
    journal = store.start_run(meta())
    for _ in range(2):
        key, nothing = EffectKey("plan/1", 1, "clock"), Plain.of({})
        journal.append(key=key, request=nothing, result=nothing, started=1.0, ended=1.0)
    journal.finish(Outcome(status="done", ended=2.0))
    with pytest.raises(TraceError, match=r"record 2: a second effect plan/1#1 \(clock\)"):
        export_trace(store.trace("run-1"), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_too_large_a_folder_is_not_read(folder: Path) -> None:
    with (folder / "journal.jsonl").open("r+b") as file:
        file.truncate(300 << 20)  # Sparse: it takes no room on the disk.
    with pytest.raises(TraceError, match=r"journal\.jsonl: has more than the 268435456 bytes"):
        read_trace(folder)


# -- writing


def test_nothing_that_is_there_is_overwritten(trace: Trace, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for name, match in (("full", "is not empty"), ("file", "no folder"), ("link", "no folder")):
        with pytest.raises(TraceError, match=match):
            export_trace(trace, tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before
    export_trace(trace, tmp_path / "empty")
    assert read_trace(tmp_path / "empty").run_id == "run-1"


def test_the_current_folder_is_not_replaced(
    trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(TraceError, match="is the current folder"):
        export_trace(trace, ".")
    assert export_trace(trace, "inside") == tmp_path / "here" / "inside"


def test_a_trace_that_lacks_a_blob_leaves_nothing(trace: Trace, tmp_path: Path) -> None:
    def missing(digest: str) -> bytes:
        raise TraceError(f"blob {digest} is missing")

    broken = Trace(trace.meta, trace.entries, trace.outcome, trace.records, missing)
    with pytest.raises(TraceError, match="is missing"):
        export_trace(broken, tmp_path / "new" / "folder")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_run_with_other_content_is_refused(
    trace: Trace, folder: Path, meta: MetaFactory, tmp_path: Path
) -> None:
    with SqliteTraceStore(tmp_path / "other.sqlite") as other:
        journal = other.start_run(meta())
        journal.finish(Outcome(status="done", ended=1_700_000_001.0))
        with pytest.raises(TraceError, match=r"has a run run-1 with other content.*delete"):
            add_trace(read_trace(folder), other)
        other.start_run(meta("run-10")).finish(Outcome(status="done", ended=1_700_000_001.0))
        other.delete("run-1")
        # "run-1" is the beginning of another run's id now, which is no reason to refuse it.
        assert add_trace(read_trace(folder), other)
        assert len(other.trace("run-1").entries) == 5


@contextlib.contextmanager
def small_disk(size: str) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    point = Path(tempfile.mkdtemp(prefix="seamline-small-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(point)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        point.rmdir()
        pytest.skip(f"mounting a small file system is not allowed here: {done.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)
        point.rmdir()


def test_an_export_to_a_full_disk_leaves_nothing(trace: Trace) -> None:
    with small_disk("16k") as disk:
        with pytest.raises(TraceError, match=r"No space left on device.*Nothing was left"):
            export_trace(trace, disk / "folder")
        assert list(disk.iterdir()) == []


def test_an_import_on_a_full_disk_keeps_what_was_there(
    folder: Path, meta: MetaFactory, tmp_path: Path
) -> None:
    with small_disk("400k") as disk:
        with SqliteTraceStore(disk / "traces.sqlite") as store:
            store.start_run(meta("first")).finish(Outcome(status="done", ended=1_700_000_001.0))
            ballast = disk / "ballast"
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 512)
            with pytest.raises(TraceError, match="free"):
                add_trace(read_trace(folder), store)
            assert [run.run_id for run in store.runs()] == ["first"]
            ballast.unlink()
        with SqliteTraceStore(disk / "traces.sqlite") as store:
            assert add_trace(read_trace(folder), store)
            assert len(store.trace("run-1").entries) == 5


@contextlib.contextmanager
def without_root() -> Iterator[None]:
    """Root may read and write everything, so it becomes somebody else for a moment."""
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(mine)


@pytest.fixture
def open_folder(folder: Path) -> Iterator[Path]:
    """A copy of the exported run where any user may look."""
    with tempfile.TemporaryDirectory(prefix="seamline-open-") as name:
        Path(name).chmod(0o755)
        yield Path(shutil.copytree(folder, Path(name) / "exported"))


@pytest.mark.parametrize("name", ["manifest.json", "journal.jsonl", "blobs", "blobs/*.txt"])
def test_what_may_not_be_read_is_named(open_folder: Path, name: str) -> None:
    file = next(open_folder.glob(name))
    file.chmod(0)
    try:
        with without_root(), pytest.raises(TraceError, match="Permission denied") as raised:
            read_trace(open_folder)
    finally:
        file.chmod(0o755)
    assert f"{file.relative_to(open_folder)}: cannot be read" in str(raised.value)


def test_where_nothing_may_be_written_is_named(trace: Trace, open_folder: Path) -> None:
    open_folder.parent.chmod(0o555)
    with without_root(), pytest.raises(TraceError, match=r"Permission denied.*mend the rights"):
        export_trace(read_trace(open_folder), open_folder.parent / "new")
    open_folder.parent.chmod(0o755)


# -- the command line


def seamline(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["traces", *map(str, arguments)])


def test_export_and_import_at_the_command_line(folder: Path, tmp_path: Path) -> None:
    done = seamline("import", folder, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["added"] is True
    again = seamline("import", folder)
    assert "already there, with the same content" in again.stdout
    copy = seamline("export", "last", tmp_path / "copy", "--json")
    assert copy.exit_code == 0, copy.output
    assert json.loads(copy.stdout)["files"] == len(content(folder))
    assert content(tmp_path / "copy") == content(folder)
    refused = seamline("export", "last", tmp_path / "copy")
    assert refused.exit_code == 2
    assert "is not empty" in refused.stderr


def test_damage_at_the_command_line_is_one_line(folder: Path) -> None:
    (folder / "journal.jsonl").unlink()
    done = seamline("import", folder, "--json")
    assert done.exit_code == 2
    assert "journal.jsonl: is missing" in json.loads(done.stdout)["error"]
    assert len(done.stderr.splitlines()) == 1


def test_half_a_surrogate_pair_passes_through_everything(meta: MetaFactory, tmp_path: Path) -> None:
    half = {"\ud800": "\udfff" * 5000}
    with common.open_store() as store:
        journal = store.start_run(meta(input=half))
        journal.finish(Outcome(status="done", ended=1_700_000_001.0, result=half))
    assert seamline("export", "last", tmp_path / "half").exit_code == 0
    assert read_trace(tmp_path / "half").meta.input == half
    shown = seamline("show", "last", "--json", "--full")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["run"]["meta"]["input"] == half
