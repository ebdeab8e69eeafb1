"""Parting the rows: what is held out, how labels are evened out, the order of training."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from seamline.errors import ConfigError
from seamline.models.dataset.cleaning import Outcome
from seamline.models.dataset.rows import Record, classes, comparable, context_text, prompt_text
from seamline.models.dataset.settings import Balance

__all__ = ["balanced", "group_of", "hold_out", "own_split", "shared_groups", "shuffled"]

VALID = "valid"
"""What a row of `data.py` says in `split` when it is not to be trained on."""


def group_of(record: Record) -> str:
    """What a row belongs to; one without a group is its own, by its text.

    Pairs about one text belong together, whatever was written about it.
    """
    group = record.row.get("group")
    if group not in (None, ""):
        return f"group {group}"
    text = context_text(record.row) if "chosen" in record.row else prompt_text(record.row)
    return f"text {comparable(text)}"


def hold_out(
    records: Sequence[Record], share: float, seed: int
) -> tuple[list[Record], list[Record]]:
    """The rows to train on and those to hold out, in their order; no group is in both.

    Groups are taken in the order of a hash of seed and group, each if that brings the held-out
    rows nearer to `share`. So the same rows are parted alike in whatever order they come, and
    what is held out differs from `share` by half of the largest group at most, unless a part
    would be empty.

    Raises:
        ConfigError: All rows are of one group.
    """
    sizes: dict[str, int] = Counter(group_of(record) for record in records)
    if len(sizes) < 2:
        raise ConfigError(
            f"{len(records)} rows make {len(sizes)} group, so none can be held out; name another "
            "column as `group`, or set data.hold_out: 0"
        )
    order = sorted(sizes, key=lambda group: _hash(seed, group))
    goal = share * len(records)
    held: set[str] = set()
    rows = 0
    for group in order:
        if sizes[group] < 2 * (goal - rows) and len(held) < len(sizes) - 1:
            held.add(group)
            rows += sizes[group]
    if not held:
        held = {min(order, key=lambda group: sizes[group])}
    train = [record for record in records if group_of(record) not in held]
    return train, [record for record in records if group_of(record) in held]


def own_split(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """The parts that the rows name themselves: `split: valid` is held out."""
    train = [record for record in records if record.row.get("split") != VALID]
    return train, [record for record in records if record.row.get("split") == VALID]


def shared_groups(train: Sequence[Record], held: Sequence[Record]) -> list[str]:
    """The groups that rows of both parts name, sorted."""
    trained, kept = ({str(r.row.get("group") or "") for r in part} for part in (train, held))
    return sorted(trained & kept - {""})


def balanced(records: Sequence[Record], balance: Balance, seed: int) -> Outcome:
    """The rows with frequent labels capped, then rare ones repeated.

    Which rows a cap keeps is drawn by `seed`; they stay in their order.
    """
    kept, dropped = list(records), list[tuple[Record, str]]()
    if balance.cap is not None:
        kept, dropped = _capped(records, balance.cap, seed)
    repeated = _repeated(kept, balance.weights) if balance.weights is not None else kept
    added = len(repeated) - len(kept)
    return Outcome(repeated, dropped, noticed={"repeated": added} if added else None)


def shuffled(records: Sequence[Record], seed: int) -> list[Record]:
    """The rows in the order of training."""
    found = list(records)
    random.Random(seed).shuffle(found)
    return found


def _hash(seed: int, group: str) -> str:
    return hashlib.sha256(f"{seed}:{group}".encode("utf-8", "surrogatepass")).hexdigest()


def _capped(
    records: Sequence[Record], cap: int, seed: int
) -> tuple[list[Record], list[tuple[Record, str]]]:
    seen: Counter[str] = Counter()
    chosen: set[int] = set()
    for at in random.Random(seed).sample(range(len(records)), len(records)):
        labels = classes(records[at].row)
        if min(seen[label] for label in labels) < cap:
            chosen.add(at)
            seen.update(labels)
    return (
        [record for at, record in enumerate(records) if at in chosen],
        [(r, f"label has {cap} rows") for at, r in enumerate(records) if at not in chosen],
    )


def _repeated(records: Sequence[Record], most: int) -> list[Record]:
    counts: dict[str, int] = defaultdict(int)
    for record in records:
        for label in classes(record.row):
            counts[label] += 1
    top = max(counts.values(), default=0)
    out: list[Record] = []
    for record in records:
        rarest = min(counts[label] for label in classes(record.row))
        out += [record] * min(most, round(top / rarest))
    return out
