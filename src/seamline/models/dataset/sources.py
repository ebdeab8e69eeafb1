"""Rows from the files and data sets that a recipe declares."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from seamline.errors import ConfigError
from seamline.models.dataset.rows import PAIR, Record
from seamline.models.dataset.settings import Fields, Source

__all__ = ["declared_file", "read_columns", "read_source", "whole_row"]

_MAX_CELL = 1 << 24
"""Longest CSV cell, in characters; the csv module's own bound is that of a short text."""


def declared_file(data: Path, name: str) -> Path:
    """The file that a recipe names, which lies below the data folder.

    Raises:
        ConfigError: It is missing, or lies elsewhere.
    """
    path = (data / name).resolve()
    if not path.is_relative_to(data.resolve()):
        raise ConfigError(f"recipe.yaml names file {name!r}, which is outside {data}; move it in")
    if not path.is_file():
        raise ConfigError(f"no file {name!r} in {data}; recipe.yaml names it, --data says where")
    return path


def read_source(source: Source, data: Path) -> Iterator[Record]:
    """The rows of one declared source.

    Raises:
        ConfigError: It cannot be read, or does not hold what the recipe says; the message
            names the file and the line.
    """
    if source.file is not None:
        where, lines = source.file, read_columns(declared_file(data, source.file))
    else:
        where, lines = str(source.dataset), _hub_rows(source)
    for at, found in lines:
        place = f"{where}:{at}"
        row = (
            whole_row(found, place) if source.fields is None else _row(found, source.fields, place)
        )
        if "labels" in row:
            row["labels"] = list(dict.fromkeys(source.labels.get(x, x) for x in row["labels"]))
        row.setdefault("source", source.title)
        name = place if row.get("id") is None else str(row["id"])
        yield Record(name=name, source=source.title, row=row)


def read_columns(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each record of a JSONL or CSV file, with the line it ends on, from 1.

    Raises:
        ConfigError: The file is not what its name says.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            if path.suffix.lower() == ".csv":
                yield from _csv(stream, path.name)
            else:
                yield from _jsonl(stream, path.name)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name} is not UTF-8 ({error}); save it as UTF-8") from error
    except csv.Error as error:
        raise ConfigError(f'{path.name} is no CSV: {error}; quote cells with "') from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _csv(stream: Iterable[str], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(_MAX_CELL)
    reader = csv.DictReader(stream, strict=True)
    columns = reader.fieldnames or []
    if len(set(columns)) != len(columns):
        raise ConfigError(f"{name} names a column twice: {', '.join(columns)}; rename one")
    for row in reader:
        if None in row or None in row.values():
            raise ConfigError(
                f"{name}:{reader.line_num} does not have the {len(columns)} cells of the header; "
                'quote cells that hold a comma with "'
            )
        yield reader.line_num, row


def _jsonl(stream: Iterable[str], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for at, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{name}:{at} is no JSON: {error}; one object a line") from error
        if not isinstance(row, dict):
            raise ConfigError(f"{name}:{at} is a {type(row).__name__}; expected an object")
        yield at, row


def _hub_rows(source: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    if importlib.util.find_spec("datasets") is None:
        raise ConfigError(
            f"source {source.title!r} needs the datasets library: pip install datasets; "
            "or export the rows as JSONL and name them as `file`"
        )
    library: Any = importlib.import_module("datasets")
    try:
        found = library.load_dataset(source.dataset, split=source.split, revision=source.revision)
    except Exception as error:
        # The library raises errors of its own, of its file layer and of its HTTP client.
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"data set {source.dataset!r}, split {source.split!r}, cannot be loaded: {first}; "
            "check its name and the network, or export the rows as JSONL and name them as `file`"
        ) from error
    column = source.fields.label if source.fields else None
    # A data set may hold its labels as numbers, with their names beside the rows.
    names = getattr(found.features.get(column), "names", None)
    for at, row in enumerate(found, 1):
        cells = dict(row)
        if names and column is not None and isinstance(cells[column], int):
            cells[column] = names[cells[column]]
        yield at, cells


def _row(found: Mapping[str, Any], fields: Fields, place: str) -> dict[str, Any]:
    def cell(column: str) -> Any:
        if column not in found:
            raise ConfigError(
                f"{place} has no column {column!r}, which recipe.yaml names; "
                f"it has: {', '.join(map(str, found)) or 'none'}"
            )
        return found[column]

    context = {name: "" if (v := cell(c)) is None else v for name, c in fields.context.items()}
    for name, value in context.items():
        if not isinstance(value, str | int | float):
            raise ConfigError(
                f"{place}: {name!r} is a {type(value).__name__}; expected a text or a number"
            )
    row: dict[str, Any] = {"context": {name: str(value) for name, value in context.items()}}
    if fields.label is not None:
        row["labels"] = _labels(cell(fields.label), fields.separator, place)
    for key, column in (("group", fields.group), ("id", fields.id)):
        if column is not None and (value := cell(column)) not in (None, ""):
            row[key] = str(value)
    return row


def _labels(value: Any, separator: str | None, place: str) -> list[str]:
    if isinstance(value, str) and separator is not None:
        value = value.split(separator)
    many = value if isinstance(value, list) else [value]
    labels = []
    for one in many:
        if isinstance(one, bool) or not isinstance(one, str | int | None):
            raise ConfigError(
                f"{place}: the label is a {type(one).__name__}; expected a text or a list of texts"
            )
        if one is not None and str(one).strip():
            labels.append(str(one).strip())
    return labels


def whole_row(found: dict[str, Any], place: str) -> dict[str, Any]:
    """A row in the form that `data.py` gives, its shape checked.

    Raises:
        ConfigError: It has another shape; `place` says in the message which row it is.
    """
    context, branches, labels = found.get("context"), found.get("branches"), found.get("labels")
    pair = [found[key] for key in PAIR if key in found]
    answers = [one for one in (branches, labels, pair or None) if one is not None]
    right = isinstance(context, dict | str) and len(answers) == 1
    if right and pair:
        right = len(pair) == 2 and all(isinstance(one, str) for one in pair)
    if right and labels is not None:
        right = isinstance(labels, list) and all(isinstance(one, str) for one in labels)
    if right and branches is not None:
        right = isinstance(branches, list) and all(
            isinstance(one, dict) and one.get("label") in (0, 1) for one in branches
        )
    if not right:
        raise ConfigError(
            f'{place} is no row: expected "context" and either "labels", a list of texts, or '
            '"branches", objects with "label" 0 or 1, or the texts "chosen" and '
            '"rejected"; or say with `fields` which column is what'
        )
    return found
