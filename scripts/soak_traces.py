"""Kill writers of one trace store at random moments and look for anything that was lost.

    python scripts/soak_traces.py [--kills 300] [--store FILE] [--seed N]

A writer prints its run and the number of its last effect after each flush that returned, is
killed with SIGKILL within a quarter of a second, and the next one starts on the same file; one
in four resumes the killed run. At the end every acknowledged effect must be there, every
journal must verify, and SQLite must find the file intact. Exits with 1 where that is not so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from seamline.errors import TraceError
from seamline.traces import EffectKey, RunMeta, SqliteTraceStore
from seamline.traces.values import Plain

PATIENCE = 60.0
LONGEST_LIFE = 0.25


@dataclass
class Result:
    """What was counted; `lost` names each thing that should be there and is not."""

    kills: int
    runs: int
    resumed: int
    acknowledged: int
    found: int
    integrity: str
    lost: list[str]

    @property
    def holds(self) -> bool:
        """Whether nothing was lost."""
        return not self.lost and self.integrity == "ok"


def write(path: Path, run_id: str, seed: int) -> None:
    """Journal effects until killed, saying on stdout what is committed; never returns."""
    dice = random.Random(seed)
    store = SqliteTraceStore(path)
    try:
        journal = store.resume_run(run_id)
    except TraceError:
        journal = store.start_run(RunMeta(run_id=run_id, agent="soak", started=time.time()))
    at = len(journal.past)
    shared = ["shared " * 1000 * size for size in range(1, 4)]
    while True:
        for _ in range(dice.randint(1, 40)):
            at += 1
            text = dice.choice([*shared, dice.randbytes(3000).hex(), "short", "short"])
            journal.append(
                key=EffectKey(f"step/{at}", 1, "model"),
                request=Plain.of({"at": at, "text": text}),
                result=Plain.of(at),
                started=time.time(),
                ended=time.time(),
            )
        journal.flush()
        print(run_id, at, flush=True)


def kill_once(path: Path, run_id: str, dice: random.Random) -> int:
    """How many effects a writer acknowledged before it was killed."""
    command = [sys.executable, __file__, "--write", run_id, "--store", str(path)]
    command += ["--seed", str(dice.getrandbits(30))]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    # Some are killed while they open the store, most while they write.
    if dice.random() < 0.9:
        first = writer.stdout.readline()
        time.sleep(dice.uniform(0, LONGEST_LIFE))
    else:
        first = ""
        time.sleep(dice.uniform(0, 1.0))
    writer.send_signal(signal.SIGKILL)
    rest, _ = writer.communicate(timeout=PATIENCE)
    if writer.returncode != -signal.SIGKILL:
        raise SystemExit(f"the writer ended on its own with {writer.returncode}")
    # What the kill cut short was not acknowledged.
    lines = (first + rest).rpartition("\n")[0].splitlines()
    return int(lines[-1].split()[1]) if lines else 0


def examine(path: Path, acknowledged: dict[str, int]) -> tuple[int, str, list[str]]:
    """How many effects are there, what SQLite says of the file, and what is lost."""
    found, lost = 0, []
    with SqliteTraceStore(path) as store:
        for run_id, count in acknowledged.items():
            try:
                entries = store.trace(run_id).entries
            except TraceError as error:
                if count:
                    lost.append(f"run {run_id}, {count} acknowledged: {error}")
                continue
            found += len(entries)
            if len(entries) < count:
                lost.append(f"run {run_id}: {len(entries)} of {count} acknowledged effects")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        integrity = str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    return found, integrity, lost


def soak(path: Path, *, kills: int, seed: int) -> Result:
    """Kill so many writers on one file, then look for what they had acknowledged."""
    dice = random.Random(seed)
    acknowledged: dict[str, int] = {}
    resumed, told = 0, time.monotonic()
    for number in range(kills):
        again = [run_id for run_id, count in acknowledged.items() if count]
        if again and dice.random() < 0.25:
            run_id = dice.choice(again)
            resumed += 1
        else:
            run_id = f"soak-{number:05}"
        count = kill_once(path, run_id, dice)
        acknowledged[run_id] = max(count, acknowledged.get(run_id, 0))
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{number + 1} of {kills} writers killed", file=sys.stderr, flush=True)
    found, integrity, lost = examine(path, acknowledged)
    return Result(
        kills=kills,
        runs=len(acknowledged),
        resumed=resumed,
        acknowledged=sum(acknowledged.values()),
        found=found,
        integrity=integrity,
        lost=lost,
    )


def main() -> int:
    """Run the soak, or one of its writers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--store", type=Path, help="a new file; by default a temporary one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", metavar="RUN", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(options.store, options.write, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        path = options.store or Path(folder) / "traces.sqlite"
        if path.exists():
            raise SystemExit(f"{path} exists; name a new file")
        started = time.monotonic()
        result = soak(path, kills=options.kills, seed=options.seed)
        size = path.stat().st_size / 1e6
    print(
        f"{result.kills} writers killed in {time.monotonic() - started:.0f} s"
        f" (load {os.getloadavg()[0]:.1f}), {result.runs} runs, {result.resumed} resumed;"
        f" {result.acknowledged} effects acknowledged, {result.found} found, {size:.0f} MB;"
        f" {len(result.lost)} runs lost something; integrity_check: {result.integrity}"
    )
    print("\n".join(result.lost), end="")
    return 0 if result.holds else 1


if __name__ == "__main__":
    sys.exit(main())
