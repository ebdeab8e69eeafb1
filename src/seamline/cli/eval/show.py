"""Reports of evaluations as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seamline.cli import common

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["show", "show_all"]


def show(report: dict[str, Any]) -> None:
    """Everything of one report: cells, differences, slices, gate."""
    from rich.text import Text

    from seamline.models.evaluation.report import told_p

    out = common.console()
    cells = report["cells"]
    _show_cells(report)
    for name, pair in report["pairs"].items():
        out.print(
            f"{name}: {pair['mean']:+.3f} ({pair['low']:+.3f} to {pair['high']:+.3f}), "
            f"{told_p(pair['p'])}",
            soft_wrap=True,
        )  # fmt: skip
    slices = _table("slice", "rows", *cells)
    slices.show_header = bool(report["slices"])
    for one in report["slices"]:
        told = (_number(one["accuracy"][name]) for name in cells)
        slices.add_row(Text(one["slice"]), str(one["rows"]), *told)
    out.print(slices)
    if report["gate"]:
        _show_gate(report["gate"])
    if report.get("recorded"):
        _show_recorded(report["skill"], report["recorded"])


def show_all(found: dict[str, Any]) -> None:
    """The cells of every evaluation, and whether they are as recorded."""
    out = common.console()
    for report in found["evaluations"]:
        _show_cells(report)
        out.print(f"  {report['command']}", soft_wrap=True)
        if report["reproduced"] is None:
            out.print("  not compared with a record")
        elif report["reproduced"]:
            out.print(f"  as recorded, to within {found['tolerance']}")
        for name, pair in report["differences"].items():
            told = f"recorded {_number(pair['recorded'])}, found {_number(pair['found'])}"
            out.print(f"  {name}: {told}", soft_wrap=True)
        out.print()


def _show_cells(report: dict[str, Any]) -> None:
    from rich.text import Text

    from seamline.models.evaluation.report import COLUMNS, told_threshold

    out = common.console()
    of = "a sample of the" if report["sampled"] else "all"
    within = f" in {report['groups']} groups" if report["groups"] < report["rows"] else ""
    out.print(
        f"{report['skill']}: {report['measure']}; {report['rows']} rows{within}, {of} rows of "
        f"{report['file']}",
        soft_wrap=True,
    )  # fmt: skip
    if report["measured_with"]:
        other = report["recorded_with"]
        told = f"; its record with {other}, so the two do not compare" if other else ""
        out.print(f"measured with {report['measured_with']}{told}", soft_wrap=True)
    cells = report["cells"]
    table = _table("measure", *cells)
    for key, title in COLUMNS.items():
        if any(key in cell for cell in cells.values()):
            table.add_row(title, *(_number(cell.get(key)) for cell in cells.values()))
    for key in next(iter(cells.values()))["further"]:
        table.add_row(Text(key), *(_number(cell["further"][key]) for cell in cells.values()))
    out.print(table)
    if report["retrieval_threshold"] is not None:
        out.print(f"retrieval answers from a score of {report['retrieval_threshold']:.2f} on")
    for name, found in report["base_threshold"].items():
        out.print(told_threshold(name, found), soft_wrap=True)


def _show_gate(gate: dict[str, Any]) -> None:
    from seamline.models.evaluation.report import told_p

    low, mean, high = gate["difference"]
    passed = "passed" if gate["passed"] else "not passed"
    cell = "" if gate["cell"] == "adapter" else f", cell {gate['cell']}"
    out = common.console()
    out.print(
        f"gate {passed}: against {gate['against']}{cell} {mean:+.3f} ({low:+.3f} to {high:+.3f}), "
        f"{told_p(gate['p'])}",
        soft_wrap=True,
    )  # fmt: skip
    for one in gate["numbers"]:
        low, mean, high = one["difference"]
        out.print(
            f"  {one['name']}: {one['before']:.3f} to {one['after']:.3f}, "
            f"{mean:+.3f} ({low:+.3f} to {high:+.3f})",
            soft_wrap=True,
        )  # fmt: skip
    for one in gate["collapsed"]:
        out.print(
            f"  slice {one['slice']} ({one['rows']} rows): {one['before']:.3f} to "
            f"{one['after']:.3f}, p {one['p']:.4f}",
            soft_wrap=True,
        )  # fmt: skip


def _show_recorded(skill: str, recorded: dict[str, Any]) -> None:
    from rich.text import Text

    out = common.console()
    if not recorded["same_rows"]:
        out.print(
            f"the record of {skill} is of other rows ({recorded['rows']:,}), so nothing is "
            f"compared: {recorded['command']}",
            soft_wrap=True,
        )
        return
    table = _table(f"beside {skill}", "recorded", "found", "difference")
    for name, one in recorded["numbers"].items():
        told = (_number(one["recorded"]), _number(one["found"]), f"{one['difference']:+.3f}")
        table.add_row(Text(name), *told)
    out.print(table)
    if "interval" in recorded:
        low, high = recorded["interval"]
        was = recorded["numbers"]["adapter accuracy"]["recorded"]
        lies = "within" if low <= was <= high else "outside"
        out.print(
            f"the recorded accuracy lies {lies} the 95 % interval of the one found, "
            f"{low:.3f} to {high:.3f}",
            soft_wrap=True,
        )


def _table(*titles: str) -> Table:
    """A table whose words are folded in a narrow terminal, and never cut."""
    from rich.table import Column, Table

    columns = (Column(title, overflow="fold") for title in titles)
    return Table(*columns, box=None, pad_edge=False)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
