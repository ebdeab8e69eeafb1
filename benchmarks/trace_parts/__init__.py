"""The parts of `benchmarks/traces.py`; each module has `rows()`, which measures and yields."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Row"]


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, against what, and what was asked for.

    `value` and `target` are in `unit`; `better` says on which side of the target is good;
    `peer` names what a ratio was taken against, in the same run.
    """

    what: str
    value: float
    unit: str
    target: float
    better: str
    peer: str = ""

    @property
    def holds(self) -> bool:
        """Whether the target is met."""
        return self.value <= self.target if self.better == "lower" else self.value >= self.target
