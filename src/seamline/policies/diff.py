"""What changed between two versions of a policy."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from seamline.policies.model import Policy, Rule
from seamline.policies.similarity import likeness, trigrams

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["FieldChange", "PolicyDiff", "RuleChange", "diff"]

_ALIKE = 0.5  # from here on two rules are one rule, changed
# What the diff shows elsewhere (rules, body), or what always differs (path, digest).
_APART = {"rules", "system", "user", "path", "digest"}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldChange(_Frozen):
    """One value of the front matter; None is absent."""

    field: str
    before: Any = None
    after: Any = None


class RuleChange(_Frozen):
    """One rule; indices count from 0. `moved` is also set on a changed rule that moved."""

    change: Literal["added", "removed", "changed", "moved"]
    before_index: int | None = None
    after_index: int | None = None
    before: Rule | None = None
    after: Rule | None = None
    moved: bool = False


class PolicyDiff(_Frozen):
    """The difference of two policies: fields, rules, and the lines of the body."""

    before: str
    after: str
    fields: tuple[FieldChange, ...] = ()
    rules: tuple[RuleChange, ...] = ()
    body: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether nothing but the version differs."""
        return not self.rules and not self.body and all(f.field == "version" for f in self.fields)

    def to_json(self) -> dict[str, Any]:
        """The difference as plain JSON values."""
        return self.model_dump(mode="json")

    def __rich__(self) -> Text:
        from rich.text import Text

        text = Text()
        for line, style in self._lines():
            text.append(line + "\n", style=style)
        text.rstrip()
        return text

    def __str__(self) -> str:
        return "\n".join(line for line, _ in self._lines())

    def _lines(self) -> list[tuple[str, str]]:
        lines = [(f"{self.before} → {self.after}", "bold")]
        if self.same:
            lines.append(("no difference but the version", "dim"))
        for change in self.fields:
            lines.append((change.field, "bold"))
            if change.before is not None:
                lines.append((f"  - {_short(change.before)}", "red"))
            if change.after is not None:
                lines.append((f"  + {_short(change.after)}", "green"))
        for rule in self.rules:
            lines.extend(_rule_lines(rule))
        for line in self.body:
            style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
            lines.append((line, style))
        return lines


def diff(a: Policy, b: Policy) -> PolicyDiff:
    """What changes from `a` to `b`.

    Rules are paired by likeness of their words, so an edited rule shows as changed, not as
    removed and added; those whose order among the pairs changed show as moved.
    """
    before, after = (_flat(_front(policy)) for policy in (a, b))
    fields = tuple(
        FieldChange(field=key, before=before.get(key), after=after.get(key))
        for key in dict.fromkeys((*before, *after))
        if before.get(key) != after.get(key)
    )
    body = difflib.unified_diff(_body(a), _body(b), fromfile=a.ref, tofile=b.ref, lineterm="", n=2)
    return PolicyDiff(
        before=a.ref,
        after=b.ref,
        fields=fields,
        rules=_rule_changes(a.rules, b.rules),
        body=tuple(body),
    )


def _front(policy: Policy) -> dict[str, Any]:
    return policy.model_dump(mode="json", exclude=_APART)


def _body(policy: Policy) -> list[str]:
    return ["system:", *policy.system.split("\n"), "user:", *policy.user.split("\n")]


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones; named rows (checks, examples) by their name."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        path = f"{prefix}{key}"
        if isinstance(item, Mapping):
            flat.update(_flat(item, f"{path}."))
        elif isinstance(item, list) and item and all(isinstance(row, Mapping) for row in item):
            for number, row in enumerate(item, 1):
                label = row.get("name") or row.get("id") or row.get("version") or number
                flat[f"{path}[{label}]"] = row
        elif item not in (None, "", []):
            flat[path] = item
    return flat


def _rule_changes(a: Sequence[Rule], b: Sequence[Rule]) -> tuple[RuleChange, ...]:
    pairs = _aligned(a, b)
    kept = _rising([pairs[i] for i in sorted(pairs)])
    changes: list[RuleChange] = []
    for i, rule in enumerate(a):
        if i not in pairs:
            changes.append(RuleChange(change="removed", before_index=i, before=rule))
            continue
        j = pairs[i]
        moved = j not in kept
        if rule != b[j] or moved:
            changes.append(RuleChange(
                change="changed" if rule != b[j] else "moved",
                before_index=i, after_index=j, before=rule, after=b[j], moved=moved,
            ))  # fmt: skip
    paired = set(pairs.values())
    changes += [
        RuleChange(change="added", after_index=j, after=rule)
        for j, rule in enumerate(b)
        if j not in paired
    ]
    return tuple(changes)


def _aligned(a: Sequence[Rule], b: Sequence[Rule]) -> dict[int, int]:
    """Index pairs, the most alike first; equal conditions before all others."""
    grams_a = [trigrams(f"{rule.when} {rule.then}") for rule in a]
    grams_b = [trigrams(f"{rule.when} {rule.then}") for rule in b]
    scored = sorted(
        (
            (2.0 if x == y else 1.5 if x.when == y.when else likeness(grams_a[i], grams_b[j])),
            -abs(i - j), -i, -j,
        )
        for i, x in enumerate(a)
        for j, y in enumerate(b)
    )  # fmt: skip
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for score, _, minus_i, minus_j in reversed(scored):
        if score < _ALIKE:
            break
        if -minus_i not in pairs and -minus_j not in taken:
            pairs[-minus_i] = -minus_j
            taken.add(-minus_j)
    return pairs


def _rising(values: Sequence[int]) -> set[int]:
    """A longest rising run of the values, gaps allowed: what kept its order."""
    runs: list[list[int]] = [[]]
    for value in values:
        before: list[int] = max((run for run in runs if not run or run[-1] < value), key=len)
        runs.append([*before, value])
    longest: list[int] = max(runs, key=len)
    return set(longest)


def _rule_lines(change: RuleChange) -> list[tuple[str, str]]:
    places = " → ".join(
        str(index + 1) for index in (change.before_index, change.after_index) if index is not None
    )
    what = "changed, moved" if change.change == "changed" and change.moved else change.change
    lines = [(f"rule {places}: {what}", "bold")]
    if change.change == "moved" and change.after is not None:
        return [*lines, (f"    {_rule_text(change.after)}", "")]
    if change.before is not None:
        lines.append((f"  - {_rule_text(change.before)}", "red"))
    if change.after is not None:
        lines.append((f"  + {_rule_text(change.after)}", "green"))
    return lines


def _rule_text(rule: Rule) -> str:
    text = f"when {rule.when} then {rule.then}"
    text += f" because {rule.because}" if rule.because else ""
    return text + (f" say {rule.say!r}" if rule.say else "")


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
