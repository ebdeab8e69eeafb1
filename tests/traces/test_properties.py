"""What holds for every journal, whatever is in it and whatever happens to it."""

from __future__ import annotations

import copy
import json
import random
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seamline.errors import TraceError
from seamline.traces import (
    EffectKey,
    EffectKind,
    Outcome,
    RunMeta,
    SqliteTraceStore,
    Trace,
    add_trace,
    diff_traces,
    export_trace,
    read_trace,
)
from seamline.traces.journal import RecordedError, find_damage
from seamline.traces.values import (
    MAX_DEPTH,
    Blobs,
    Plain,
    canonical_json,
    digest_of,
    expand,
    externalise,
)

Records = list[dict[str, Any]]

CORRUPTIONS = 1000


# -- corruptions: of one record, in a sealed journal and in that of a killed run


class Original(NamedTuple):
    """An exported run: where it is, and what its journal holds."""

    folder: Path
    journal: bytes
    records: Records


def record_run(store: SqliteTraceStore, run_id: str, effects: int, *, killed: bool) -> Trace:
    journal = store.start_run(
        RunMeta(run_id=run_id, agent="coder", started=1.0, input={"text": run_id * 900})
    )
    for at in range(1, effects + 1):
        journal.append(
            key=EffectKey(f"plan/{at}", 1, "model"),
            request=Plain.of({"ask": "rules", "at": at, "threshold": 0.1, "text": "Ä" * at}),
            result=Plain.of({"scores": [0.1 * at, None, True], "codes": [{"code": "J18.9"}]}),
            started=float(at),
            ended=at + 0.5,
            annotations={"usage": {"input_tokens": at}},
        )
    if killed:
        store.flush()
    else:
        journal.finish(Outcome(status="done", ended=99.0, result={"codes": ["J18.9"]}))
    return store.trace(run_id)


@pytest.fixture(scope="module")
def originals() -> Iterator[tuple[list[Original], Records]]:
    """A sealed journal, that of a killed run, and the records of a longer run to take from."""
    with tempfile.TemporaryDirectory() as name, SqliteTraceStore(Path(name) / "t.sqlite") as store:
        made = []
        for run_id, killed in (("run-1", False), ("run-2", True)):
            trace = record_run(store, run_id, 8, killed=killed)
            folder = export_trace(trace, Path(name) / run_id)
            journal = (folder / "journal.jsonl").read_bytes()
            made.append(Original(folder, journal, [dict(record) for record in trace.records]))
        foreign = record_run(store, "run-3", 12, killed=False)
        yield made, [dict(record) for record in foreign.records]


def leaves(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        return [path for key in value for path in leaves(value[key], (*above, key))]
    if isinstance(value, list) and value:
        return [path for at in range(len(value)) for path in leaves(value[at], (*above, at))]
    return [above]


def change(record: dict[str, Any], path: tuple[Any, ...], dice: random.Random) -> None:
    inside: Any = record
    for step in path[:-1]:
        inside = inside[step]
    old = inside[path[-1]]
    choices: list[Any] = [None, True, 0, -1.5, "", "changed", [], {}, [old]]
    choices += [f"{old}x", json.dumps(old)]
    if isinstance(old, (int, float)) and not isinstance(old, bool):
        choices += [old + 1, old * 2 + 1]
    different = [new for new in choices if canonical_json(new) != canonical_json(old)]
    inside[path[-1]] = dice.choice(different)


Corruption = Callable[[Records, int, Records, random.Random], int]
"""Damages the records at a position; gives the position at which that has to be found."""


def edit(records: Records, at: int, foreign: Records, dice: random.Random) -> int:
    """A field or a digest has another value."""
    change(records[at], dice.choice(leaves(records[at])), dice)
    return at


def edit_with_digest(records: Records, at: int, foreign: Records, dice: random.Random) -> int:
    """A field has another value, and the record's digest was made to match."""
    # Another schema version is a newer Seamline's, and not damage.
    paths = [path for path in leaves(records[at]) if path[0] not in ("digest", "schema")]
    change(records[at], dice.choice(paths), dice)
    del records[at]["digest"]
    records[at]["digest"] = digest_of(records[at])
    return at


def add_field(records: Records, at: int, foreign: Records, dice: random.Random) -> int:
    records[at][dice.choice(["extra", "error", "", "Ä"])] = 1
    return at


def remove_field(records: Records, at: int, foreign: Records, dice: random.Random) -> int:
    del records[at][dice.choice(sorted(records[at]))]
    return at


def drop(records: Records, at: int, foreign: Records, dice: random.Random) -> int:
    """A record is missing: named where it should stand."""
    del records[at]
    return at


def repeat(records: Records, at: int, foreign: Records, dice: random.Random) -> int:
    """A record stands there twice: the second is too many; of two footers the first is amiss."""
    records.insert(at, copy.deepcopy(records[at]))
    return at if records[at]["record"] == "end" else at + 1


def swap(records: Records, at: int, foreign: Records, dice: random.Random) -> int:
    """Two records changed places: named at the earlier place."""
    other = dice.choice([place for place in range(len(records)) if place != at])
    records[at], records[other] = records[other], records[at]
    return min(at, other)


def replace(records: Records, at: int, foreign: Records, dice: random.Random) -> int:
    """A record of another run stands there, of the same place or of any."""
    records[at] = copy.deepcopy(dice.choice([foreign[at], dice.choice(foreign)]))
    return at


def insert(records: Records, at: int, foreign: Records, dice: random.Random) -> int:
    """A record of another run was put in between."""
    records.insert(at, copy.deepcopy(dice.choice([foreign[at], dice.choice(foreign)])))
    return at


def truncate(records: Records, at: int, foreign: Records, dice: random.Random) -> int:
    """The journal ends too early: named where it should go on."""
    del records[at:]
    return at


CHANGES: list[Corruption] = [
    edit, edit_with_digest, add_field, remove_field, drop, repeat, swap, replace, insert, truncate,
]  # fmt: skip


def found_in(folder: Path, journal: bytes) -> str:
    (folder / "journal.jsonl").write_bytes(journal)
    with pytest.raises(TraceError) as raised:
        read_trace(folder)
    return str(raised.value).partition("journal.jsonl: ")[2]


def test_a_thousand_corruptions_of_one_record_are_found_at_that_record(
    originals: tuple[list[Original], Records],
) -> None:
    exported, foreign = originals
    for seed in range(CORRUPTIONS):
        dice = random.Random(seed)
        original, corrupt = exported[seed % 2], CHANGES[seed // 2 % len(CHANGES)]
        records = copy.deepcopy(original.records)
        at = corrupt(records, dice.randrange(len(records)), foreign, dice)
        journal = "".join(canonical_json(record) + "\n" for record in records).encode()
        found = found_in(original.folder, journal)
        assert found.startswith(f"record {at}"), (seed, corrupt.__name__, found)
        assert not found[len(f"record {at}")].isdigit(), (seed, corrupt.__name__, found)


def test_a_thousand_flipped_bits_are_found_in_their_record(
    originals: tuple[list[Original], Records],
) -> None:
    for seed in range(CORRUPTIONS):
        dice = random.Random(seed)
        folder, journal, _ = originals[0][seed % 2]
        offset = dice.randrange(len(journal))
        flipped = bytearray(journal)
        flipped[offset] ^= 1 << dice.randrange(8)
        at = journal.count(b"\n", 0, offset)
        found = found_in(folder, bytes(flipped))
        assert found.startswith((f"record {at}:", f"record {at} ")), (seed, offset, found)


def test_every_length_that_is_too_short_is_found_where_it_ends(
    originals: tuple[list[Original], Records],
) -> None:
    for folder, journal, _ in originals[0]:
        for length in range(0, len(journal), 17):
            found = found_in(folder, journal[:length])
            at = journal.count(b"\n", 0, length)
            assert found.startswith((f"record {at}:", f"record {at} ")), (length, found)


def test_a_journal_alone_names_the_record_too(
    originals: tuple[list[Original], Records],
) -> None:
    """In a store no manifest helps; only a footer with a digest of its own is out of reach."""
    original, foreign = originals[0][0], originals[1]
    for seed in range(CORRUPTIONS):
        dice = random.Random(seed)
        corrupt = CHANGES[seed % len(CHANGES)]
        records = copy.deepcopy(original.records)
        last = len(records) - 1
        position = dice.randrange(last if corrupt is edit_with_digest else len(records))
        at = corrupt(records, position, foreign, dice)
        damage = find_damage(records, run_id="run-1")
        assert damage is not None, (seed, corrupt.__name__)
        assert damage.record == at, (seed, corrupt.__name__, damage.reason)


def test_a_flipped_bit_in_a_blob_is_found(originals: tuple[list[Original], Records]) -> None:
    folder, journal, _ = originals[0][0]
    (folder / "journal.jsonl").write_bytes(journal)
    (blob,) = (folder / "blobs").iterdir()
    content = blob.read_bytes()
    for seed in range(100):
        dice = random.Random(seed)
        flipped = bytearray(content)
        flipped[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        blob.write_bytes(flipped)
        with pytest.raises(TraceError, match=f"blobs/{blob.name}: was edited"):
            read_trace(folder)
    blob.write_bytes(content)
    assert read_trace(folder).run_id == "run-1"


# -- round trips


def nested(depth: int, value: Any) -> Any:
    for level in range(depth):
        value = {"in": value} if level % 2 else [value]
    return value


CHARACTERS = st.characters(exclude_categories=())
TEXT = st.text(CHARACTERS, max_size=30) | st.sampled_from(
    ["\x1b[31m red", "a\r\nb\rc\n", "Ä\u2028\u202e\ufeff", "\ud83d\ude00", "\ud83d", "\0", "~" * 9]
)
LARGE = st.builds(lambda text, times: (text or "x") * times, TEXT, st.integers(1, 3000))
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**64, -(10**40), 1e-320, 1.5e308, -0.0, 0.1])
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | LARGE
)
VALUE = st.recursive(
    SCALAR,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.just("$blob"), inner, max_size=4)
    ),
    max_leaves=12,
) | st.builds(nested, st.integers(0, MAX_DEPTH), SCALAR)
EFFECT = st.tuples(
    st.sampled_from(["plan/1", "tool:select/1", "tool:select/1/model", "Ä b#3", "/"]),
    st.sampled_from(get_args(EffectKind)),
    VALUE,
    VALUE | st.builds(RecordedError, st.just("ToolCallError"), TEXT | LARGE),
)


@pytest.fixture(scope="module")
def shelf() -> Iterator[tuple[SqliteTraceStore, SqliteTraceStore, Path]]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        with SqliteTraceStore(path / "a.sqlite") as a, SqliteTraceStore(path / "b.sqlite") as b:
            yield a, b, path


NUMBERS = count()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    effects=st.lists(EFFECT, max_size=5),
    texts=st.tuples(TEXT.filter(bool), TEXT),
    given_value=VALUE,
    result=VALUE,
    killed=st.booleans(),
)
def test_any_journal_comes_back_from_its_folder(
    shelf: tuple[SqliteTraceStore, SqliteTraceStore, Path],
    effects: list[tuple[str, EffectKind, Any, Any]],
    texts: tuple[str, str],
    given_value: Any,
    result: Any,
    killed: bool,
) -> None:
    store, other, path = shelf
    run_id = f"run-{next(NUMBERS)}"
    agent, error = (text.encode("utf-8", "replace").decode() for text in texts)
    meta = RunMeta(run_id=run_id, agent=agent, started=1.0, input={"given": shallow(given_value)})
    journal = store.start_run(meta)
    for at, (where, kind, request, outcome) in enumerate(effects):
        failed = outcome if isinstance(outcome, RecordedError) else None
        journal.append(
            key=EffectKey(where, at + 1, kind),
            request=Plain.of(request),
            result=None if failed else Plain.of(outcome),
            error=failed,
            started=float(at),
            ended=at + 0.5,
        )
    if killed:
        store.flush()
    else:
        journal.finish(Outcome(status="failed", ended=9.0, result=shallow(result), error=error))
    trace = store.trace(run_id)

    folder = export_trace(trace, path / run_id)
    back = read_trace(folder)
    assert canonical_json(back.to_json(full=True)) == canonical_json(trace.to_json(full=True))
    assert (back.meta, back.entries, back.records) == (trace.meta, trace.entries, trace.records)
    assert [canonical_json(effect.request) for effect in back.effects] == [
        canonical_json(Plain.of(request).value) for _, _, request, _ in effects
    ]
    assert diff_traces(trace, back, everything=True).same
    assert add_trace(back, other)
    assert not add_trace(back, other)
    again = export_trace(other.trace(run_id), path / f"{run_id}-again")
    assert content(folder) == content(again)


def shallow(value: Any) -> Any:
    """The value, or its JSON where an object around it would make it too deep."""
    try:
        Plain.of([[value]])
    except TraceError:
        return canonical_json(value)
    return value


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@settings(max_examples=200, deadline=None)
@given(VALUE)
def test_canonical_json_is_stable(value: Any) -> None:
    plain = Plain.of(value)
    assert plain.text.isascii()
    assert canonical_json(plain.value) == plain.text
    assert canonical_json(json.loads(plain.text)) == plain.text
    assert Plain.of(plain.value) == plain


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"$blob": value}])
def test_blobs_are_named_after_the_one_spelling_of_their_value(wrap: Any) -> None:
    blobs: Blobs = {}
    stored = externalise(Plain.of(wrap({10: "x" * 5000, 9: "y"})), blobs)
    value = expand(stored, blobs.__getitem__)
    assert blobs == {digest_of(value): canonical_json(value).encode()}


def test_what_is_nested_too_deep_is_refused_when_it_is_recorded() -> None:
    assert Plain.of(nested(MAX_DEPTH, 1)).value == nested(MAX_DEPTH, 1)
    for depth in (MAX_DEPTH + 1, 600):
        with pytest.raises(TraceError, match="nested more than 200 deep"):
            Plain.of(nested(depth, 1))
    wide: list[list[list[int]]] = [[[]] for _ in range(5000)]
    assert Plain.of(wide).value == wide
