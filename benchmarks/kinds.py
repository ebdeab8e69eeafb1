"""LoRA and aLoRA at equal budget: one skill trained in both ways on the same rows, and compared.

    python benchmarks/kinds.py [clause_type@0.3.0] --data FOLDER [--share 0.1] [--epochs 1]
        [--batch-tokens 1024] [--limit 300]

Everything but `method` and its learning rate, the default of each, is that of the skill's recipe:
rows, prompt, rank, and about as many steps. The defaults are for two cores; `--share 2 --epochs 4
--batch-tokens 8192` is the whole of `clause_type@0.3.0`, which asks for a GPU. Training,
evaluation and the paired interval are those of `seamline train` and `seamline eval --gate`, in a
project of their own, from the bare base, without early stopping and calibration.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from seamline.models.bases import path
from seamline.models.encoding import Encoder
from seamline.models.recipes import Recipe
from seamline.models.training import examples_from
from seamline.project import Project

ROOT = Path(__file__).resolve().parents[1]
KINDS = {"lora": "100.0.0", "alora": "101.0.0"}
"""The first is released, and the second gated against it."""
LEAST_BATCH_TOKENS = 256
GATE_NOT_PASSED = 8


class Bench:
    """One skill in a project of its own, with a version a kind."""

    def __init__(self, reference: str, data: Path, folder: Path) -> None:
        self.name, _, version = reference.partition("@")
        self.data, self.root = data, folder / "project"
        skip = shutil.ignore_patterns("work", "__pycache__")
        for part in ("agents", "models", "policies", "tools"):
            shutil.copytree(ROOT / part, self.root / part, ignore=skip)
        (self.root / "traces").mkdir()
        shutil.copy(ROOT / "seamline.yaml", self.root)
        self.source = self.root / "models/skills" / self.name / version
        lock = self.root / "models/skills/skills.lock"
        known = json.loads(lock.read_text("utf-8"))
        for part in known.values():
            part.pop(self.name, None)
        lock.write_text(json.dumps(known), "utf-8")

    def declare(self, kind: str, share: float, epochs: float, batch_tokens: int) -> Path:
        """The version of one kind, not yet trained; its folder."""
        told: dict[str, Any] = yaml.safe_load((self.source / "recipe.yaml").read_text("utf-8"))
        told |= {"version": KINDS[kind], "method": kind, "calibration": {"fixed": {}}}
        told.pop("continues", None)
        training = told["training"]
        training.pop("learning_rate", None)
        training |= {
            "scale": share, "epochs": epochs, "batch_tokens": batch_tokens, "held_out_rows": 0
        }  # fmt: skip
        folder = self.source.parent / KINDS[kind]
        folder.mkdir(exist_ok=True)
        for file in [*self.source.glob("*.py"), *self.source.glob("*.yaml")]:
            if file.name != "skill.yaml":
                shutil.copy(file, folder)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(told, sort_keys=False), "utf-8")
        return folder

    def run(self, command: str, kind: str, *options: object, codes: tuple[int, ...] = (0,)) -> Any:
        """What a command reports; its progress goes to stderr."""
        words = [command, f"{self.name}@{KINDS[kind]}", "--data", self.data, "-p", self.root]
        line = [sys.executable, "-m", "seamline.cli.main", *map(str, (*words, *options)), "--json"]
        done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode not in codes:
            sys.exit(f"`seamline {' '.join(line[3:])}` ended with {done.returncode}")
        return json.loads(done.stdout)

    def question_share(self, folder: Path, rows: Path) -> float:
        """The share of a row's tokens that stand behind its prefix, which an aLoRA trains on."""
        from transformers import AutoTokenizer

        recipe = Recipe.load(folder)
        base = Project.open(self.root).bases[recipe.base]
        encoder = Encoder(
            AutoTokenizer.from_pretrained(path(base)), max_tokens=recipe.training.max_tokens
        )
        lines = rows.read_text("utf-8").splitlines()[:300]
        told = examples_from(map(json.loads, lines), recipe.contract)
        encoded = [encoder.row(one.request, recipe.contract) for one in told]
        return 1 - sum(len(row.prefix) for row in encoded) / sum(map(len, encoded))


def compare(bench: Bench, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train both kinds, and evaluate the second against the first."""
    version = bench.declare("lora", options.share, options.epochs, LEAST_BATCH_TOKENS)
    data = Path(bench.run("train", "lora", "--work", folder / "lora", "--only", "data")["folder"])
    asked = bench.question_share(version, data / "train.jsonl")
    # As many rows a step, though an aLoRA's batch counts the questions alone.
    fewer = max(LEAST_BATCH_TOKENS, round(options.batch_tokens * asked))
    batch_tokens = {"lora": round(fewer / asked), "alora": fewer}
    found: dict[str, Any] = {}
    for kind in KINDS:
        version = bench.declare(kind, options.share, options.epochs, batch_tokens[kind])
        bench.run("train", kind, "--work", folder / kind, "--no-evaluate")
        told = json.loads((version / "training.json").read_text("utf-8"))["training"]
        found[kind] = {key: told[key] for key in ("rows", "steps", "seconds")}
    Project.open(bench.root).skills.label(bench.name, "production", KINDS["lora"])
    limit = ("--limit", options.limit) if options.limit else ()
    report = bench.run(
        "eval", "alora", "--gate", "--cells", "adapter", *limit, codes=(0, GATE_NOT_PASSED)
    )
    low, mean, high = report["gate"]["difference"]
    found["alora"]["accuracy"] = report["cells"]["adapter"]["accuracy"]
    found["lora"]["accuracy"] = found["alora"]["accuracy"] - mean
    return {
        "skill": options.skill,
        "file": report["file"],
        "measure": report["measure"],
        "evaluated": report["rows"],
        **found,
        "alora minus lora": {"mean": mean, "low": low, "high": high},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "skill", nargs="?", default="clause_type@0.3.0",
        help="SKILL@VERSION with a recipe and a question in its contract",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, default=os.environ.get("SEAMLINE_DATA"))
    parser.add_argument("--share", type=float, default=0.1, help="of the rows of data.py")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument(
        "--batch-tokens",
        type=int,
        default=1024,
        help="in a step of the LoRA; the aLoRA gets as many rows",
    )
    parser.add_argument("--limit", type=int, help="rows or documents to evaluate on")
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data FOLDER (or SEAMLINE_DATA) is needed")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.skill, options.data, Path(folder))
        print(json.dumps(compare(bench, options, Path(folder)), indent=2))


if __name__ == "__main__":
    main()
