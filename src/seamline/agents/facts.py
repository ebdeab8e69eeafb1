"""Facts: the short `name: value` lines that are all a policy gets to see of a run."""

from __future__ import annotations

from collections.abc import Mapping

from seamline.tools.contract import FactValue

__all__ = ["fact_lines", "fact_text"]

MAX_VALUE_CHARS = 120


def fact_text(value: FactValue | None) -> str:
    """One value as a policy reads it: yes and no for booleans, two decimals, one line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    line = " ".join(str(value).split())
    return line if len(line) <= MAX_VALUE_CHARS else line[: MAX_VALUE_CHARS - 1] + "…"


def fact_lines(facts: Mapping[str, FactValue | None]) -> str:
    """The facts, one a line, as `- name: value`."""
    return "\n".join(f"- {name}: {fact_text(value)}" for name, value in facts.items())
