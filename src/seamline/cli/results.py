"""A result for people: its message, tables of its lists, what to look at, where the trace is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from seamline.cli.common import console, err
from seamline.terminal import plain

if TYPE_CHECKING:
    from seamline.agents.result import AgentResult

__all__ = ["show_result"]

MAX_ROWS = 200
_NUMBERS = ("confidence", "score")
_FLAGS = ("needs_review", "flagged")
_NEEDED = ("answer", "confidence", "evidence", "text", "reasons", "reason")
_HEADINGS = {"confidence": "conf."}
_SHORT = 14
"""Cells up to this many columns are not broken over lines."""
_LEAST_TEXT, _LONG_WORD = 18, 24
"""A column of text keeps this width, or that of its longest word, where one must give way."""
_GAP = 2
_STYLES = {
    "done": "green",
    "needs_answer": "yellow",
    "refused": "red",
    "budget_exceeded": "yellow",
    "failed": "red",
}


def show_result(result: AgentResult, text: str) -> None:
    """Print a result; offsets into `text` are shown as the words they mean.

    What went wrong with a failed one is an error, and told on stderr.
    """
    out = console()
    if result.status == "failed":
        err().print(f"error: {result.error or result.message}", soft_wrap=True)
    else:
        out.print(Text(result.message or result.status, style="bold"))
    output = result.output or {}
    tables = {name: value for name, value in output.items() if _is_table(value)}
    for name, rows in tables.items():
        out.print()
        out.print(Text(f"{_words(name)} ({len(rows)})", style="bold"))
        out.print(_table(rows, text, out.width))
        if len(rows) > MAX_ROWS:
            out.print(Text(f"and {len(rows) - MAX_ROWS} more; --json shows all", style="dim"))
    if tables:
        out.print()
    for name, value in output.items():
        # The result says itself, below, what a person should look at.
        told = name in tables or name in ("needs_review", "reasons", "stopped")
        if not told and (cell := _cell(value, text)):
            out.print(Text.assemble((f"{_words(name)}: ", "dim"), cell))
    for flag in result.flags:
        out.print(Text(f"flag: {flag}", style="yellow"))
    reasons = _untold(result)
    if result.needs_review and (reasons or result.flags):
        why = "; ".join(reasons) or "see the flags"
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


def _untold(result: AgentResult) -> list[str]:
    """The reasons that the message, or the error, has not said already."""
    return [
        reason
        for reason in result.reasons
        if reason not in result.message and not (result.error and result.error in reason)
    ]


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _table(rows: list[dict[str, Any]], text: str, width: int) -> Table:
    """One row an object, with the columns that tell rows apart and fit; `--json` has all."""
    shown = rows[:MAX_ROWS]
    flat = [_flat(row, text, excerpt=width * 3 // 4) for row in shown]
    names = _fitting(flat, width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for name in names:
        short = _longest(name, flat) <= _SHORT
        table.add_column(
            _HEADINGS.get(name, _words(name)),
            justify="right" if name in _NUMBERS else "left",
            no_wrap=short,
            overflow="ellipsis" if short else "fold",
        )
    for cells, row in zip(flat, shown, strict=True):
        texts = [Text(cells.get(name, "")) for name in names]
        table.add_row(*texts, style="yellow" if _doubtful(row) else "")
    return table


def _fitting(rows: list[dict[str, str]], width: int) -> list[str]:
    """The columns that tell rows apart; of the spare ones, those that tell least give way."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = {name: tuple(row.get(name, "") for row in rows) for name in names}
    first = {values: name for name, values in reversed(cells.items())}
    kept = [
        name
        for name in names
        if any(cells[name])
        and first[cells[name]] == name
        and (name in (names[0], *_NEEDED) or len(rows) == 1 or len(set(cells[name])) > 1)
    ]

    def needed() -> int:
        each = (_least(name, rows) for name in kept)
        return sum(each) + _GAP * (len(kept) - 1)

    spare = [name for name in kept[1:] if name not in _NEEDED]
    for name in sorted(spare, key=lambda name: len(set(cells[name]))):
        if needed() > width:
            kept.remove(name)
    return kept


def _least(name: str, rows: list[dict[str, str]]) -> int:
    """How narrow a column may get: no word of usual length is broken."""
    words = (word for cell in _cells(name, rows) for word in cell.split())
    word = min(max(map(cell_len, words)), _LONG_WORD)
    return min(_longest(name, rows), max(word, _LEAST_TEXT))


def _longest(name: str, rows: list[dict[str, str]]) -> int:
    return max(map(cell_len, _cells(name, rows)))


def _cells(name: str, rows: list[dict[str, str]]) -> list[str]:
    return [_HEADINGS.get(name, _words(name)), *(row.get(name, "") for row in rows)]


def _doubtful(row: Mapping[str, Any]) -> bool:
    return any(row.get(key) is True for key in _FLAGS)


def _flat(row: Mapping[str, Any], text: str, excerpt: int) -> dict[str, str]:
    """The cells of a row; a pair of offsets becomes the beginning of the words it stands for."""
    cells: dict[str, str] = {}
    words = _span(row, text)
    own = words and words == _cell(row.get("text"), text)
    for key, value in row.items():
        nested = isinstance(value, list) and key != "reasons"
        nested = nested or (isinstance(value, dict) and not _span(value, text))
        word_for_number = key.endswith("level") and "confidence" in row
        shown_below = (words and key in ("start", "end")) or (own and key == "text")
        if nested or word_for_number or shown_below:
            continue
        cells[key] = _shortened(_cell(value, text), excerpt)
    if "reasons" in cells:
        # What flags a row says so in words, for whoever sees no colour.
        flags = [key for key in _FLAGS if cells.pop(key, "")]
        cells["reasons"] = cells["reasons"] or ", ".join(map(_words, flags))
    if words and not any(cells.get(key) for key in ("evidence", "text")):
        words = words.lstrip("# ").removeprefix(cells.get("heading", "")).lstrip()
        cells["text"] = _shortened(words, excerpt)
    return cells


def _span(row: Mapping[str, Any], text: str) -> str:
    start, end = row.get("start"), row.get("end")
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end:
        return ""
    return " ".join(plain(text[start:end]).split())


def _shortened(words: str, limit: int) -> str:
    return words if len(words) <= limit else words[: limit - 1].rstrip() + "…"


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
            return " ".join(plain(str(value.get("text") or span)).split())
        return ", ".join(f"{_words(k)}: {_cell(v, text)}" for k, v in value.items() if v)
    if isinstance(value, list):
        return "; ".join(_cell(one, text) for one in value)
    return " ".join(plain(str(value)).split())


def _words(name: str) -> str:
    return name.replace("_", " ")
