"""`seamline policies`: list, show, lock, label and diff the policies of a project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seamline.cli.common import (
    JsonOption,
    ProjectOption,
    console,
    emit_json,
    handle_errors,
    project_root,
)
from seamline.policies import Policy, PolicyStore
from seamline.policies import diff as policy_diff

if TYPE_CHECKING:
    from rich.text import Text

    from seamline.policies.store import VersionState

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
    """List every policy with its versions and labels.

    A version that is not locked yet is a draft; a locked one whose file was edited or deleted
    says so, and `seamline check` says what to do.
    """
    store = _store(project)
    states = {name: store.states(name) for name in store.names()}
    labels = {name: store.labels(name) for name in states}
    if json:
        emit_json([
            {
                "name": name,
                "versions": [version for version in known if known[version] != "deleted"],
                "drafts": _those(known, "draft"),
                "edited": _those(known, "edited"),
                "deleted": _those(known, "deleted"),
                "labels": labels[name],
            }
            for name, known in states.items()
        ])  # fmt: skip
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("policy", "versions", "labels", box=None, pad_edge=False)
    for name, known in states.items():
        told = (v if state == "locked" else f"{v} ({state})" for v, state in known.items())
        table.add_row(
            Text(name),
            Text(", ".join(told)),
            Text(", ".join(f"{label} → {version}" for label, version in labels[name].items())),
        )
    console().print(table)
    for name, known in states.items():
        for state in ("edited", "deleted"):
            for version in _those(known, state):
                line = f"{state}: {name}@{version}; `seamline check` says what to do"
                console().print(Text(line, style="yellow"), soft_wrap=True)


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


def _those(states: dict[str, VersionState], state: VersionState) -> list[str]:
    return [version for version, known in states.items() if known == state]


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
