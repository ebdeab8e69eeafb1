"""`seamline traces export|import`: runs as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seamline.cli import common
from seamline.cli.progress import TransferProgress

__all__ = ["app"]

app = typer.Typer()


@app.command("export")
@common.handle_errors
def export(
    run: Annotated[str, typer.Argument(help="Run id, a unique beginning of it, or `last`.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is not there yet.")],
    json: common.JsonOption = False,
) -> None:
    """Write one run as a self-contained folder, for git or for somebody else.

    The folder holds everything the run was given and gave, documents included.
    """
    from seamline.traces.files import export_trace

    with common.open_store() as store, TransferProgress() as progress:
        progress(0, 0, "exporting")
        trace = store.trace(run)
        target = export_trace(trace, folder)
    sizes = [file.stat().st_size for file in target.rglob("*") if file.is_file()]
    if json:
        common.emit_json(
            {
                "run_id": trace.run_id,
                "folder": str(target),
                "status": trace.status,
                "effects": len(trace.entries),
                "files": len(sizes),
                "bytes": sum(sizes),
            }
        )
        return
    common.console().print(
        f"run {trace.run_id} ({trace.status}, {len(trace.entries)} effects) is in {target}: "
        f"{len(sizes)} files, {sum(sizes):,} bytes",
        soft_wrap=True,
    )


@app.command("import")
@common.handle_errors
def import_run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An exported run.")],
    json: common.JsonOption = False,
) -> None:
    """Verify an exported run and copy it into the trace store."""
    from seamline.traces.files import add_trace, read_trace

    with common.open_store() as store, TransferProgress() as progress:
        progress(0, 0, "importing")
        trace = read_trace(folder)
        added = add_trace(trace, store)
    if json:
        common.emit_json(
            {
                "run_id": trace.run_id,
                "added": added,
                "status": trace.status,
                "effects": len(trace.entries),
            }
        )
        return
    what = "imported" if added else "already there, with the same content"
    common.console().print(
        f"run {trace.run_id} ({trace.status}, {len(trace.entries)} effects): {what}",
        soft_wrap=True,
    )
