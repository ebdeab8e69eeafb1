"""A result for people: its message, tables of its lists, what to look at, where the trace is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from seamline.cli.common import console, err

if TYPE_CHECKING:
    from seamline.agents.result import AgentResult

__all__ = ["show_result"]

MAX_ROWS = 200
_EVIDENCE_CHARS = 90
_STYLES = {
    "done": "green",
    "needs_answer": "yellow",
    "refused": "red",
    "budget_exceeded": "yellow",
    "failed": "red",
}


def show_result(result: AgentResult, text: str) -> None:
    """Print a result; offsets into `text` are shown as the words they mean."""
    out = console()
    head = Text(result.message or result.status, style="bold")
    out.print(head)
    for name, value in (result.output or {}).items():
        if _is_table(value):
            out.print()
            out.print(_table(name, value, text))
    for name, value in (result.output or {}).items():
        if not _is_table(value) and _cell(value, text):
            out.print(Text.assemble((f"{_words(name)}: ", "dim"), _cell(value, text)))
    for flag in result.flags:
        out.print(Text(f"flag: {flag}", style="yellow"))
    if result.needs_review:
        why = "; ".join(result.reasons) or "see the flags"
        out.print(Text(f"needs review: {why}", style="yellow"))
    if result.question is not None:
        hint = f"answer: seamline run {result.agent} --resume {result.run_id} --answer TEXT"
        out.print(Text(hint, style="yellow"), soft_wrap=True)
    used = result.usage
    err().print(
        Text.assemble(
            (result.status, _STYLES[result.status]),
            f" in {used.seconds:.1f} s, {used.steps} steps, {used.model_calls} model calls, "
            f"{used.input_tokens + used.output_tokens} tokens; "
            f"seamline traces show {result.run_id}",
            style="dim",
        ),
        soft_wrap=True,
    )


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _table(name: str, rows: list[dict[str, Any]], text: str) -> Table:
    """One row an object, with the columns that tell rows apart; `--json` has all of them."""
    flat = [_flat(row, text) for row in rows]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    columns = [key for key in columns if _tells(key, columns, flat)]
    table = Table(title=f"{_words(name)} ({len(rows)})", title_justify="left", title_style="bold")
    for column in columns:
        number = any(column == word for word in ("confidence", "score"))
        table.add_column(_words(column), justify="right" if number else "left", overflow="fold")
    for row, whole in zip(flat[:MAX_ROWS], rows, strict=False):
        doubtful = any(whole.get(key) is True for key in ("needs_review", "flagged"))
        cells = [Text(row.get(key, "")) for key in columns]
        table.add_row(*cells, style="yellow" if doubtful else "")
    if len(rows) > MAX_ROWS:
        table.caption = f"and {len(rows) - MAX_ROWS} more; --json shows all"
    return table


def _tells(column: str, columns: list[str], rows: list[dict[str, str]]) -> bool:
    cells = {row.get(column, "") for row in rows}
    return cells != {""} and (len(cells) > 1 or len(rows) == 1 or column == columns[0])


def _flat(row: Mapping[str, Any], text: str) -> dict[str, str]:
    """The cells of a row; a pair of offsets becomes the words it stands for."""
    cells: dict[str, str] = {}
    span = _span(row, text)
    for key, value in row.items():
        nested = isinstance(value, list) and key != "reasons"
        nested = nested or (isinstance(value, dict) and not _span(value, text))
        if nested or (span and key in ("start", "end")):
            continue
        cells[key] = _cell(value, text)
    if span and not any(cells.get(key) for key in ("evidence", "text")):
        cells["text"] = span
    return cells


def _span(row: Mapping[str, Any], text: str) -> str:
    start, end = row.get("start"), row.get("end")
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end:
        return ""
    words = " ".join(text[start:end].split())
    return words if len(words) <= _EVIDENCE_CHARS else words[: _EVIDENCE_CHARS - 1] + "…"


def _cell(value: Any, text: str) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, dict):
        span = _span(value, text)
        if span:
            return str(value.get("text") or span)
        return ", ".join(f"{_words(k)}: {_cell(v, text)}" for k, v in value.items() if v)
    if isinstance(value, list):
        return "; ".join(_cell(one, text) for one in value)
    return " ".join(str(value).split())


def _words(name: str) -> str:
    return name.replace("_", " ")
