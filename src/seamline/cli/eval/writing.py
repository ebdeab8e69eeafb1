"""The report of an evaluation as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seamline.errors import InputError

__all__ = ["write_report"]


def write_report(report: dict[str, Any], out: Path, *, png: bool) -> None:
    """Write `report.json`, `report.html` and, with `png`, plots into a folder.

    Raises:
        InputError: It cannot be written.
    """
    import base64
    import json

    from seamline.models.evaluation.plots import plots
    from seamline.models.evaluation.report import page

    images = plots(report["cells"]) if png else {}
    shown = {
        name.removesuffix(".png").replace("_", " "): base64.b64encode(image).decode()
        for name, image in images.items()
    }
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").write_text(text, encoding="utf-8")
        (out / "report.html").write_text(page(report, shown), encoding="utf-8")
        for name, image in images.items():
            (out / name).write_bytes(image)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error}; name another folder") from error
