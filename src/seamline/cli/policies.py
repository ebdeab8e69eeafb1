"""`seamline policies`: list, show, lock, label and diff the policies of a project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamline.cli.common import (
    JsonOption,
    ProjectOption,
    console,
    emit_json,
    handle_errors,
    project_root,
)
from seamline.errors import PolicyError
from seamline.policies import Policy, PolicyStore
from seamline.policies import diff as policy_diff

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["app"]

app = typer.Typer(
    name="policies", help="List, show, lock, label and compare policies.", no_args_is_help=True
)

Ref = Annotated[
    str, typer.Argument(help="agent/name, or with @1.2.0, @production or @sha256:… behind it.")
]


@app.command("list")
@handle_errors
def list_policies(project: ProjectOption = None, json: JsonOption = False) -> None:
    """List every policy with its versions and labels."""
    store = _store(project)
    rows: list[dict[str, Any]] = []
    for name in store.names():
        locked = store.locked(name)
        try:
            versions, labels = store.versions(name), store.labels(name)
        except PolicyError:  # locked, but every file is gone; `check` tells more
            versions, labels = [], {}
        rows.append({
            "name": name,
            "versions": versions,
            "drafts": [version for version in versions if version not in locked],
            "labels": labels,
        })  # fmt: skip
    if json:
        emit_json(rows)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("policy", "versions", "labels", box=None, pad_edge=False)
    for row in rows:
        drafts = row["drafts"]
        table.add_row(
            Text(row["name"]),
            Text(", ".join(v + " (draft)" * (v in drafts) for v in row["versions"]) or "gone"),
            Text(", ".join(f"{k} → {v}" for k, v in row["labels"].items())),
        )
    console().print(table)


@app.command()
@handle_errors
def show(ref: Ref, project: ProjectOption = None, json: JsonOption = False) -> None:
    """Show one version of a policy: what it decides, and its prompt."""
    store = _store(project)
    policy = store.get(ref)
    labels = [k for k, v in store.labels(policy.name).items() if v == policy.version]
    locked = policy.version in store.locked(policy.name)
    if json:
        value = policy.model_dump(mode="json")
        emit_json({**value, "labels": labels, "locked": locked})
        return
    console().print(_shown(policy, labels, locked), soft_wrap=True)


@app.command()
@handle_errors
def lock(project: ProjectOption = None, json: JsonOption = False) -> None:
    """Release new versions: their digests go into policies.lock, their files stay as they are."""
    added = _store(project).lock()
    if json:
        emit_json([
            {"name": p.name, "version": p.version, "digest": p.digest} for p in added
        ])  # fmt: skip
        return
    for policy in added:
        console().print(f"locked {policy.ref} {policy.digest[:19]}…", soft_wrap=True)
    if not added:
        console().print("nothing new to lock")


@app.command()
@handle_errors
def label(
    name: Annotated[str, typer.Argument(help="agent/name")],
    label: Annotated[str, typer.Argument(help="The label, such as production.")],
    version: Annotated[str, typer.Argument(help="The locked version it is to point to.")],
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Point a label to a locked version."""
    before = _store(project).label(name, label, version)
    if json:
        emit_json({"name": name, "label": label, "version": version, "before": before})
        return
    was = f" (was {before})" if before else ""
    console().print(f"{name}@{label} → {version}{was}", soft_wrap=True)


@app.command()
@handle_errors
def diff(
    a: Annotated[str, typer.Argument(help="The reference of the earlier one.")],
    b: Annotated[str, typer.Argument(help="The reference of the later one.")],
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Show what changes from one version of a policy to another."""
    store = _store(project)
    found = policy_diff(store.get(a), store.get(b))
    if json:
        emit_json(found.to_json())
    else:
        console().print(found, soft_wrap=True)


def _store(project: Path | None) -> PolicyStore:
    return PolicyStore(project_root(project) / "policies")


def _shown(policy: Policy, labels: list[str], locked: bool) -> Text:
    from rich.text import Text

    text = Text()
    text.append(policy.ref, style="bold")
    text.append(f"  {policy.kind}, {'locked' if locked else 'draft'}")
    text.append(f", {', '.join(labels)}\n" if labels else "\n")
    text.append(f"{policy.description}\n{policy.digest}\n{policy.path}\n", style="dim")
    for check in policy.checks:
        text.append(f"check  {check.name} ({check.kind})\n")
    for number, rule in enumerate(policy.rules, 1):
        text.append(f"rule {number}  when {rule.when} → {rule.then}")
        text.append(f"  ({rule.because})\n" if rule.because else "\n", style="dim")
    if policy.tools:
        text.append(f"tools  {', '.join(policy.tools)}\n")
    text.append(f"otherwise → {policy.otherwise}\n")
    for title, body in (("system", policy.system), ("user", policy.user)):
        text.append(f"\n{title}:\n", style="bold")
        text.append(f"{body}\n")
    text.rstrip()
    return text
