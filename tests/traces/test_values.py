from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seamline.errors import TraceError
from seamline.traces.values import (
    BLOB_BYTES,
    Blobs,
    Plain,
    canonical_json,
    compress_blob,
    decompress_blob,
    diff_fields,
    digest_of,
    expand,
    externalise,
    record_text,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20) | st.just("long " * 1000),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=6) | st.just("$blob"), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


def round_trip(value: Any) -> tuple[Any, Any, Blobs]:
    blobs: Blobs = {}
    stored = externalise(Plain.of(value), blobs)
    return stored, expand(stored, lambda digest: blobs[digest]), blobs


@given(JSON)
def test_any_value_comes_back_from_its_stored_form(value: Any) -> None:
    stored, back, blobs = round_trip(value)
    assert canonical_json(back) == canonical_json(value)
    assert all(digest_of(expand({"$blob": d}, blobs.__getitem__)) == d for d in blobs)
    assert canonical_json(stored) == canonical_json(round_trip(value)[0])


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=4))
def test_a_record_reads_back_with_its_digest(record: dict[str, Any]) -> None:
    assert digest_of(json.loads(record_text(record))) == digest_of(record)
    assert ('"$blob"' in record_text(record)) == ('"$blob"' in canonical_json(record))


@pytest.mark.parametrize("value", [2**70, -(2**64), "\ud800", -0.0, 1e22, 5e-324, 1.0, "\0\u2028"])
def test_odd_values_of_a_record_read_back(value: Any) -> None:
    assert digest_of(json.loads(record_text({"value": value}))) == digest_of({"value": value})


def test_small_values_stay_and_large_members_move_out() -> None:
    document = "word " * BLOB_BYTES
    stored, back, blobs = round_trip({"name": "x", "text": document})
    assert stored["name"] == "x"
    assert stored["text"]["bytes"] == len(document) + 2
    assert list(blobs) == [stored["text"]["$blob"]]
    assert back["text"] == document


def test_data_that_looks_like_a_reference_is_never_followed() -> None:
    forged = {"$blob": digest_of("secret"), "bytes": 8}
    stored, back, _ = round_trip({"field": forged})
    assert stored["field"] != forged
    assert back == {"field": forged}
    assert round_trip(forged)[1] == forged


def test_keys_are_text_in_one_order_however_they_came() -> None:
    assert Plain.of({10: 1, 2: (1, 2)}).value == {"10": 1, "2": [1, 2]}
    assert digest_of(Plain.of({10: 1, 2: 2}).value) == digest_of({"2": 2, "10": 1})


@pytest.mark.parametrize("value", [math.nan, math.inf, b"x", {1, 2}, object()])
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(TraceError, match="not plain JSON"):
        canonical_json({"field": value})


def test_a_blob_is_checked_against_its_digest_and_size() -> None:
    with pytest.raises(TraceError, match="does not match its digest"):
        expand({"$blob": digest_of("a")}, lambda _: b'"b"')
    packed = compress_blob(b"x" * 10_000)
    assert decompress_blob(packed, size=10_000) == b"x" * 10_000
    with pytest.raises(TraceError, match="another size"):
        decompress_blob(packed, size=9)
    with pytest.raises(TraceError, match="damaged"):
        decompress_blob(b"not zstd at all", size=9)


def test_a_diff_names_each_field() -> None:
    recorded = {"policy": {"version": "1.0.0"}, "ask": ["a", "b"], "same": 1, "was": True}
    asked = {"policy": {"version": "1.1.0"}, "ask": ["a", "c", "d"], "same": 1, "new": 1.0}
    found = {diff.field: (diff.recorded, diff.asked) for diff in diff_fields(recorded, asked)}
    assert found == {
        "ask[1]": ('"b"', '"c"'),
        "ask[2]": ("(absent)", '"d"'),
        "new": ("(absent)", "1.0"),
        "policy.version": ('"1.0.0"', '"1.1.0"'),
        "was": ("true", "(absent)"),
    }
    assert [d.field for d in diff_fields({"n": 1}, {"n": True})] == ["n"]


def test_a_diff_of_long_texts_shows_where_they_part() -> None:
    [diff] = diff_fields("a" * 500 + "left", "a" * 500 + "right")
    assert "left" in diff.recorded
    assert "right" in diff.asked
    assert len(diff.recorded) < 70
