"""The policies of a project: found, referred to, locked and labelled."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from seamline.errors import PolicyError
from seamline.policies.lock import LOCK_NAME, Lock, read_lock, write_lock
from seamline.policies.messages import policy_error
from seamline.policies.model import Policy
from seamline.policies.parse import load_policy
from seamline.policies.versions import is_version, version_key
from seamline.wording import did_you_mean, listed, shown
from seamline.writing import exclusive

__all__ = ["PRODUCTION", "PolicyProblem", "PolicyStore", "VersionState"]

PRODUCTION = "production"
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_MIN_DIGEST = 12

VersionState: TypeAlias = Literal["locked", "draft", "edited", "deleted"]
"""How a version stands: `edited` and `deleted` are locked versions whose file is not as it was."""


@dataclass(frozen=True)
class PolicyProblem:
    """Something wrong with a file or the lock, as `seamline check` shows it."""

    path: str
    message: str


class PolicyStore:
    """The policies under a folder `<root>/<agent>/<name>/<version>.md`.

    A *locked* version is released: its digest stands in `policies.lock` and its file must
    still match. A version that is not locked is a draft: it can be got by its exact
    version or digest, and no label can point to it.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._parsed: dict[Path, tuple[tuple[int, int, int], Policy]] = {}

    @property
    def lock_path(self) -> Path:
        """Where `policies.lock` is."""
        return self.root / LOCK_NAME

    def names(self) -> list[str]:
        """Every policy that has a file or a lock entry, sorted."""
        return sorted({*self._files(), *self._lock().policies})

    def versions(self, name: str) -> list[str]:
        """The versions of a policy that have a file, oldest first.

        Raises:
            PolicyError: There is no policy of that name.
        """
        files = self._files()
        if name not in files:
            raise self._unknown(name, files)
        return sorted(files[name], key=version_key)

    def labels(self, name: str) -> dict[str, str]:
        """Where each label of a policy points.

        Raises:
            PolicyError: There is no policy of that name.
        """
        names = self.names()
        if name not in names:
            raise self._unknown(name, names)
        return dict(sorted(self._lock().labels.get(name, {}).items()))

    def locked(self, name: str) -> dict[str, str]:
        """The digest of each locked version of a policy, oldest first."""
        entries = self._lock().policies.get(name, {})
        return {version: entries[version] for version in sorted(entries, key=version_key)}

    def states(self, name: str) -> dict[str, VersionState]:
        """How each version of a policy stands, oldest first, those whose file is gone included."""
        lock = self._lock()
        versions = {*self._files().get(name, ()), *lock.policies.get(name, {})}
        return {
            version: self._state(name, version, lock)
            for version in sorted(versions, key=version_key)
        }

    def get(self, ref: str) -> Policy:
        """The policy that a reference means.

        Args:
            ref: `agent/name@1.2.0`, `agent/name@label`, `agent/name@sha256:…` (at least 12
                hex digits), or `agent/name`, which is its `production` label.

        Raises:
            PolicyError: Nothing has that name, version, label or digest, the file is not a
                valid policy, or a locked version was edited or deleted.
        """
        name, at, want = ref.strip().partition("@")
        if at and not want:
            raise PolicyError(f"reference {shown(ref)} has nothing after '@'")
        versions = self.versions(name)
        lock = self._lock()
        if want.startswith("sha256:"):
            return self._by_digest(name, want, versions, lock)
        return self._version(name, self._resolve(name, want, versions, lock), lock)

    def load(self, name: str, version: str) -> Policy:
        """The policy in the file of one version, whatever the lock says of it."""
        path = self._path(name, version)
        try:
            status = path.stat()
        except OSError as error:
            raise policy_error(path, f"cannot be read: {error.strerror}") from None
        # An examples file takes part in the policy and may change by itself.
        beside = max((f.stat().st_mtime_ns for f in path.parent.glob("*.jsonl")), default=0)
        stamp = (status.st_mtime_ns, status.st_size, beside)
        known = self._parsed.get(path)
        if known is None or known[0] != stamp:
            known = self._parsed[path] = (stamp, load_policy(path))
        return known[1]

    def lock(self) -> list[Policy]:
        """Add every version that is not locked yet to the lock; these are returned.

        Raises:
            PolicyError: A locked version was edited or deleted, or a file is not a valid
                policy. Nothing is written then.
        """
        self._check_root()
        with exclusive(self.root):
            old = self._lock()
            problems = self._problems(old)
            if problems:
                raise PolicyError("\n".join(dict.fromkeys(p.message for p in problems)))
            added = [
                self.load(name, version)
                for name, versions in sorted(self._files().items())
                for version in sorted(versions, key=version_key)
                if version not in old.policies.get(name, {})
            ]
            policies = {name: dict(versions) for name, versions in old.policies.items()}
            for policy in added:
                policies.setdefault(policy.name, {})[policy.version] = policy.digest
            if added:
                write_lock(self.lock_path, Lock(policies=policies, labels=old.labels))
        return added

    def label(self, name: str, label: str, version: str) -> str | None:
        """Point a label to a locked version; the version it pointed to before, if any.

        Raises:
            PolicyError: The version is not locked, was edited, or the label is not a word.
        """
        if not _is_label(label):
            raise PolicyError(
                f"label {shown(label)} must be lower-case letters, digits, '-' and '_'"
            )
        self.versions(name)
        with exclusive(self.root):
            old = self._lock()
            locked = old.policies.get(name, {})
            if version not in locked:
                known = listed(sorted(locked, key=version_key))
                raise PolicyError(
                    f"policy {shown(f'{name}@{version}')} is not in {LOCK_NAME}; run `seamline "
                    f"policies lock`, or use one of: {known}"
                )
            self._version(name, version, old)
            labels = {key: dict(value) for key, value in old.labels.items()}
            before = labels.setdefault(name, {}).get(label)
            labels[name][label] = version
            if before != version:
                write_lock(self.lock_path, Lock(policies=old.policies, labels=labels))
        return before

    def verify(self) -> list[PolicyProblem]:
        """Everything wrong: invalid files, edits, deletions, drafts, labels to nowhere."""
        try:
            lock = self._lock()
        except PolicyError as error:
            return [PolicyProblem(str(self.lock_path), str(error))]
        problems = self._problems(lock)
        for name, versions in sorted(self._files().items()):
            for version in sorted(versions, key=version_key):
                if version not in lock.policies.get(name, {}):
                    problems.append(PolicyProblem(
                        str(self._path(name, version)),
                        f"policy '{name}@{version}' is not in {LOCK_NAME}; run `seamline "
                        "policies lock`",
                    ))  # fmt: skip
        for name, labels in sorted(lock.labels.items()):
            for label, version in sorted(labels.items()):
                if version not in lock.policies.get(name, {}):
                    problems.append(PolicyProblem(
                        str(self.lock_path),
                        f"label '{name}@{label}' points to {version}, which is not locked; run "
                        f"`seamline policies label {name} {label} VERSION`",
                    ))  # fmt: skip
        return problems

    def _problems(self, lock: Lock) -> list[PolicyProblem]:
        """Invalid files, stray files, and locked versions that changed."""
        found: list[PolicyProblem] = []
        files = self._files()
        for path in self._policy_paths():
            if not is_version(path.stem):
                message = (
                    f"{path}: the file name must be a version, such as 1.0.0.md; rename it, or "
                    "move it out of the policy's folder"
                )
                found.append(PolicyProblem(str(path), message))
        every = {(name, version) for name in files for version in files[name]}
        every |= {(name, version) for name in lock.policies for version in lock.policies[name]}
        for name, version in sorted(every, key=lambda item: (item[0], version_key(item[1]))):
            try:
                self._version(name, version, lock)
            except PolicyError as error:
                found.append(PolicyProblem(str(self._path(name, version)), str(error)))
        return found

    def _state(self, name: str, version: str, lock: Lock) -> VersionState:
        if version not in lock.policies.get(name, {}):
            return "draft"
        if not self._path(name, version).is_file():
            return "deleted"
        try:
            self._version(name, version, lock)
        except PolicyError:
            return "edited"
        return "locked"

    def _version(self, name: str, version: str, lock: Lock) -> Policy:
        digest = lock.policies.get(name, {}).get(version)
        path = self._path(name, version)
        if digest is None:
            return self.load(name, version)
        if not path.is_file():
            raise policy_error(
                path,
                f"policy '{name}@{version}' is locked but its file is gone; restore it from "
                "version control (a released version stays)",
            )
        change = (
            "a released version cannot change: restore the file from version control, or move "
            "the edit to a new version and run `seamline policies lock`"
        )
        try:
            policy = self.load(name, version)
        except PolicyError as error:
            raise policy_error(
                path, f"policy '{name}@{version}' is locked and was edited; {change} ({error})"
            ) from None
        if policy.digest != digest:
            raise policy_error(
                path,
                f"policy '{name}@{version}' is locked as {digest[:19]}… but reads as "
                f"{policy.digest[:19]}…; {change}",
            )
        return policy

    def _resolve(self, name: str, want: str, versions: list[str], lock: Lock) -> str:
        known = sorted({*versions, *lock.policies.get(name, {})}, key=version_key)
        if is_version(want):
            if want not in known:
                raise PolicyError(
                    f"policy '{name}' has no version {want}; there are: {listed(known)}"
                )
            return want
        labels = lock.labels.get(name, {})
        label = want or PRODUCTION
        if label not in labels:
            there = f"labels: {listed(sorted(labels))}; versions: {listed(known)}"
            near = did_you_mean(label, [*labels, *known])
            if not _is_label(label):
                raise PolicyError(
                    f"{shown(f'{name}@{label}')} is no reference to a policy ({there}).{near} "
                    "Write AGENT/NAME@VERSION or AGENT/NAME@LABEL"
                )
            first = (
                ""
                if known[-1] in lock.policies.get(name, {})
                else ("`seamline policies lock`, then ")
            )
            raise PolicyError(
                f"policy '{name}' has no label {shown(label)} ({there}).{near} Set it with "
                f"{first}`seamline policies label {name} {label} {known[-1]}`"
            )
        return labels[label]

    def _by_digest(self, name: str, want: str, versions: list[str], lock: Lock) -> Policy:
        if len(want) < len("sha256:") + _MIN_DIGEST:
            raise PolicyError(f"digest {shown(want)} needs at least {_MIN_DIGEST} hex digits")
        locked = lock.policies.get(name, {})
        found = [v for v, digest in locked.items() if digest.startswith(want)]
        found += [
            v for v in versions if v not in locked and self.load(name, v).digest.startswith(want)
        ]
        if len(found) != 1:
            problem = "has no version with" if not found else "has several versions with"
            raise PolicyError(
                f"policy '{name}' {problem} the digest {shown(want)}; versions: {listed(versions)}"
            )
        return self._version(name, found[0], lock)

    def _lock(self) -> Lock:
        return read_lock(self.lock_path)

    def _path(self, name: str, version: str) -> Path:
        return self.root / name / f"{version}.md"

    def _check_root(self) -> None:
        if not self.root.is_dir():
            raise policy_error(self.root, "no such folder; `seamline init` makes a project")

    def _policy_paths(self) -> list[Path]:
        """Every Markdown file in a policy's folder; READMEs may lie above, not among them."""
        return sorted(path for path in self.root.glob("*/*/*.md") if path.is_file())

    def _files(self) -> Mapping[str, set[str]]:
        self._check_root()
        files: dict[str, set[str]] = {}
        for path in self._policy_paths():
            if is_version(path.stem):
                name = path.parent.relative_to(self.root).as_posix()
                files.setdefault(name, set()).add(path.stem)
        return files

    def _unknown(self, name: str, files: Iterable[str]) -> PolicyError:
        return PolicyError(
            f"no policy {shown(name)} in {self.root}; there are: {listed(sorted(files))}."
            f"{did_you_mean(name, files)}"
        )


def _is_label(word: str) -> bool:
    return _LABEL.fullmatch(word) is not None and word != "sha256"
