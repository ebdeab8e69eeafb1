"""Training rows of the domain-free `decide` skill: policies, states and questions about them.

Run it to write the rows as JSONL: `python data.py OUT.jsonl --data FOLDER [--scale 1.0]`.
Outside data are read from the data folder and never kept here.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from seamline.loading import load_module

_HERE = Path(__file__).parent

FIRST_ROWS, ROWS = 1400, 8000
BASICS = 0.25

# Stems of wording that must not be learned; each matches at the start of a word.
DOMAIN_WORDS: tuple[str, ...] = (
    "patient", "doctor", "physician", "diagnos", "disease", "medic", "biomedic", "clinic",
    "hospital", "health", "drug", "symptom", "therap", "icd", "code set", "pharm", "surg",
    "nurse", "nursing", "cancer", "tumor", "tumour", "vaccin", "dosage", "prescri", "infect",
    "illness", "injur", "patholog", "psychiat", "psycholog", "epidem", "pandemic", "immun",
    "dentist", "dental", "contract", "clause", "agreement", "legal", "illegal", "law", "unlawful",
    "paralegal", "lawsuit", "liabilit", "liable", "nda", "attorney", "court", "litig", "jurisd",
    "indemn", "warrant", "statut", "legislat", "plaintiff", "defendant", "license terms",
    "licence terms", "licensing terms", "terms of", "terms and", "lease", "judicial", "tenan",
    "cyberchond", "neurolog", "anatom", "genom", "genetic", "blood", "virus", "nutri", "fitness",
    "wellness", "cardi", "bone", "brain", "organ transplant", "physiolog", "toxic", "treaty",
    "probation", "crime", "criminal",
    "forensic", "police", "prison", "genocid", "inmate", "justice", "complian",
    "regulatory", "patent", "copyright", "trademark", "intellectual property", "privacy policy",
    "service level", "arbitrat", "protein", "dna", "biops", "mental", "ailment", "biolog",
    "microb", "antibiot", "veterin", "treatment", "confidential", "diet", "bioethic", "hygien",
    "human rights", "insurance polic",
)  # fmt: skip
_DOMAIN = re.compile(r"(?<![a-z])(?:" + "|".join(map(re.escape, DOMAIN_WORDS)) + ")", re.IGNORECASE)


def domain_words_in(text: str) -> list[str]:
    """Words of a barred domain in the text; names such as `getHealthInfo` are taken apart."""
    plain = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text).replace("_", " ").lower()
    return _DOMAIN.findall(plain)


def first_stage(seed: int, scale: float) -> Iterator[dict]:
    """Plain facts and literal conditions alone.

    Comparing a condition with a fact is learned suddenly or not at all: mixed with everything
    else from the start, a base of this size stays at chance on it.
    """
    plain = load_module(_HERE / "basics.py").rows(random.Random(f"{seed} first"), joined=0.0)
    for row in islice(clean(plain), max(1, round(FIRST_ROWS * scale))):
        yield {**row, "stage": 1}


def sources(data: Path, seed: int) -> list[tuple[float, Iterator[dict]]]:
    """The generators with their share of the rows."""
    states, flows = load_module(_HERE / "states.py"), load_module(_HERE / "flows.py")
    tools, texts, boards = (load_module(_HERE / f"{n}.py") for n in ("tools", "texts", "boards"))
    balance = states.Balance()

    def dice(name: str) -> random.Random:
        return random.Random(f"{seed} {name}")

    seal = tools.seal_catalogue(data, domain_words_in)
    meta = tools.meta_catalogue(data, domain_words_in)
    return [
        (BASICS, load_module(_HERE / "basics.py").rows(dice("basics"), joined=0.6)),
        (0.20, states.worlds(dice("worlds"), balance)),
        (0.14, flows.flows(dice("flows"), balance)),
        (0.06, flows.reviews(dice("reviews"), balance)),
        (0.06, flows.definitions(dice("definitions"), balance)),
        (0.05, boards.boards(dice("boards"), balance)),
        (0.02, boards.needs(dice("needs"), balance)),
        (0.04, boards.mixed(dice("mixed"), balance)),
        (0.07, tools.catalogue_rows(meta, "metatool", dice("metatool"))),
        (0.06, tools.catalogue_rows(seal, "sealtools", dice("sealtools"))),
        (0.03, tools.described_rows(seal, dice("described"))),
        (0.07, texts.pair_rows(dice("pairs"))),
        (0.05, texts.step_rows(dice("steps"))),
        (0.08, texts.policy_rows(dice("policies"))),
        (0.06, texts.argument_rows(seal, dice("arguments"), balance)),
        (0.04, texts.surface_rows(meta, dice("surface"), balance)),
        (0.03, texts.guard_rows(data, meta, domain_words_in, dice("guards"), balance)),
    ]


def row_text(row: dict) -> str:
    """All words of a row."""
    branches = [branch["text"] for branch in row["branches"]]
    return "\n".join([row["instructions"], row["context"], *branches])


def clean(rows: Iterator[dict]) -> Iterator[dict]:
    """Rows without domain wording, each with a branch at least, stripped of notes."""
    for row in rows:
        if row["branches"] and not domain_words_in(row_text(row)):
            yield row


def annotated(data: Path, *, seed: int, scale: float = 1.0) -> Iterator[dict]:
    """The rows in training order, with the template of each rule branch."""
    rows: list[dict] = []
    shares = sources(data, seed)
    total = sum(share for share, _ in shares)
    for share, source in shares:
        rows += islice(clean(source), max(1, round(ROWS * scale * share / total)))
    random.Random(f"{seed} order").shuffle(rows)
    yield from first_stage(seed, scale)
    yield from ({**row, "stage": 2} for row in rows)


def build(data: Path, *, seed: int, scale: float = 1.0) -> Iterator[dict]:
    """The training rows, the same ones for the same seed.

    Args:
        data: The folder of outside data (`tooluse/`, `guardrails/`).
        seed: Decides every random choice.
        scale: 1.0 gives about 9,400 rows.

    Yields:
        `kind`, `source`, `stage`, `instructions`, `context` and `branches` (`text`, `label`,
        and `name` for an option).
    """
    for row in annotated(data, seed=seed, scale=scale):
        yield {**row, "branches": [_plain(branch) for branch in row["branches"]]}


def _plain(branch: dict) -> dict:
    return {key: branch[key] for key in ("name", "text", "label") if key in branch}


def print_statistics(rows: list[dict]) -> None:
    """Rows, branches, yes-rates per source, template and word."""
    labels: dict[str, list[int]] = defaultdict(list)
    templates: dict[str, list[int]] = defaultdict(list)
    words: dict[str, list[int]] = defaultdict(list)
    size: Counter[str] = Counter()
    for row in rows:
        size[row["source"]] += len(row_text(row))
        for branch in row["branches"]:
            labels[row["source"]].append(branch["label"])
            if row["kind"] == "rules":
                templates[branch.get("template", "?")].append(branch["label"])
                for word in set(re.findall(r"[a-z]+", branch["text"].split("\n")[0].lower())):
                    words[word].append(branch["label"])
    count = Counter(row["source"] for row in rows)
    print(f"{'source':14}{'rows':>7}{'branches':>10}{'yes':>7}{'tokens':>10}{'a row':>7}")
    for source in sorted(count):
        values, tokens = labels[source], size[source] // 4
        print(f"{source:14}{count[source]:7}{len(values):10}{sum(values) / len(values):7.3f}"
              f"{tokens:10}{tokens // count[source]:7}")  # fmt: skip
    every = [label for values in labels.values() for label in values]
    total = sum(size.values()) // 4
    print(f"{'all':14}{len(rows):7}{len(every):10}{sum(every) / len(every):7.3f}{total:10}"
          f"{total // len(rows):7}")  # fmt: skip
    for title, table, least in (("templates", templates, 40), ("words", words, 150)):
        rates = sorted((sum(v) / len(v), k, len(v)) for k, v in table.items() if len(v) >= least)
        print(f"\n{title}: {len(rates)} with at least {least} branches; the most one-sided:")
        for rate, key, number in rates[:10] + rates[-10:]:
            print(f"  {rate:.2f} {number:6} {key[:70]}")


def print_samples(rows: list[dict], seed: int, number: int = 20) -> None:
    """Some rows for reading."""
    for row in random.Random(seed).sample(rows, min(number, len(rows))):
        print(f"\n=== {row['kind']} {row['source']}\n{row['instructions']}\n{row['context']}")
        for branch in row["branches"]:
            print(f"  [{branch['label']}] " + branch["text"].replace("\n", " / "))


def main() -> None:
    """Write the rows and print what they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--samples", type=int, default=20)
    options = parser.parse_args()
    rows = list(annotated(options.data, seed=options.seed, scale=options.scale))
    with options.out.open("w", encoding="utf-8") as out:
        for row in rows:
            branches = [_plain(branch) for branch in row["branches"]]
            out.write(json.dumps({**row, "branches": branches}, ensure_ascii=False) + "\n")
    print_statistics(rows)
    print_samples(rows, options.seed, options.samples)


if __name__ == "__main__":
    main()
