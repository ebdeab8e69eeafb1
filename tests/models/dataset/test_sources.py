"""Declared files: what is read, and what is told of one that does not fit."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from seamline.errors import ConfigError
from seamline.models.dataset.settings import EvaluationFile, Source
from seamline.models.dataset.sources import read_source

FIELDS = {"context": {"text": "body"}, "label": "topic"}


def source(**given: Any) -> Source:
    return Source.model_validate({"title": "mails", "licence": "own", **given})


def read(folder: Path, name: str, content: str | bytes, **given: Any) -> list[dict[str, Any]]:
    raw = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(raw)
    return [dict(one.row) for one in read_source(source(file=name, **given), folder)]


def test_csv_columns_become_context_label_group_and_id(tmp_path: Path) -> None:
    fields = FIELDS | {"group": "who", "id": "no", "separator": "|"}
    content = '\ufeffno,who,body,topic\r\n7,ann,"a, ""b""\nc",bill|post\r\n,,d,\r\n'
    found = read(tmp_path, "m.csv", content, fields=fields, labels={"bill": "billing"})
    assert found == [
        {
            "context": {"text": 'a, "b"\nc'},
            "labels": ["billing", "post"],
            "group": "ann",
            "id": "7",
            "source": "mails",
        },
        {"context": {"text": "d"}, "labels": [], "source": "mails"},
    ]


def test_jsonl_holds_columns_or_whole_rows(tmp_path: Path) -> None:
    lines = '{"body": "a", "topic": ["x", "y"]}\n\n{"body": 3, "topic": 4}\n'
    found = read(tmp_path, "m.jsonl", lines, fields=FIELDS)
    assert [one["labels"] for one in found] == [["x", "y"], ["4"]]
    assert found[1]["context"] == {"text": "3"}
    row = '{"context": {"text": "a"}, "branches": [{"title": "t", "label": 1}]}\n'
    assert read(tmp_path, "w.jsonl", row)[0]["branches"] == [{"title": "t", "label": 1}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", "body,kind\na,b\n", r"m.csv:2 has no column 'topic'.*it has: body, kind"),
        ("m.csv", "body,topic\na,b,c\n", r"m.csv:2 does not have the 2 cells"),
        ("m.csv", "body,topic\na\n", r"m.csv:2 does not have the 2 cells"),
        ("m.csv", 'body,topic\n"a"b,c\n', r"m.csv is no CSV"),
        ("m.csv", "body,body\n", r"names a column twice"),
        ("m.csv", b"body,topic\n\xff,x\n", r"m.csv is not UTF-8"),
        ("m.jsonl", '{"body": \n', r"m.jsonl:1 is no JSON"),
        ("m.jsonl", "[1]\n", r"m.jsonl:1 is a list; expected an object"),
        ("m.jsonl", '{"body": {"a": 1}, "topic": "x"}', r"m.jsonl:1: 'text' is a dict"),
        ("m.jsonl", '{"body": "a", "topic": 1.5}', r"m.jsonl:1: the label is a float"),
    ],
)
def test_a_file_that_does_not_fit_is_told_with_its_line(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, name, content, fields=FIELDS)


@pytest.mark.parametrize(
    "line",
    [
        '{"text": "a", "label": "x"}',
        '{"context": {"text": "a"}, "labels": "x"}',
        '{"context": {"text": "a"}, "branches": [{"title": "t", "label": 2}]}',
        '{"context": {"text": "a"}, "branches": [], "labels": []}',
    ],
)
def test_a_whole_row_of_another_shape_is_told(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=r"m.jsonl:1 is no row: expected \"context\""):
        read(tmp_path, "m.jsonl", line)


def test_a_file_elsewhere_or_missing_is_told(tmp_path: Path) -> None:
    for name, message in (("../m.jsonl", "outside"), ("m.jsonl", "no file 'm.jsonl'")):
        with pytest.raises(ConfigError, match=message):
            list(read_source(source(file=name), tmp_path))


@pytest.mark.skipif(
    importlib.util.find_spec("datasets") is not None, reason="the datasets library is installed"
)
def test_a_data_set_without_the_library_names_the_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pip install datasets; or export the rows as JSONL"):
        list(read_source(source(dataset="some/mails", fields=FIELDS), tmp_path))


@pytest.mark.parametrize(
    "given",
    [
        {"file": "a.parquet", "fields": FIELDS},
        {"file": "a.csv"},
        {"file": "a.csv", "fields": {"context": {"text": "body"}}},
        {"file": "a.csv", "dataset": "b", "fields": FIELDS},
        {"fields": FIELDS},
        {"dataset": "b"},
    ],
)
def test_a_source_that_cannot_be_read_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        source(**given)


def test_an_evaluation_csv_needs_its_columns() -> None:
    with pytest.raises(ValidationError, match="which column is the text"):
        EvaluationFile(file="a.csv")
