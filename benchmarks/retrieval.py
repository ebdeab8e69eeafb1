"""How often the right code is among the first k candidates, by what the search may use.

    python benchmarks/retrieval.py --data FOLDER [--json]

Two files: pick-list entries of intensive care (`icd10/eicu_open.jsonl`, a dev file), and a tenth
of the codes of `icd10/synonyms.jsonl`, whose terms no index here holds. The peer is TF-IDF over
characters 3 to 5 on titles and inclusion terms, with the tool's rule that a category leads to
its unspecified leaf. Rows with an embedder need it pulled
(`seamline models pull all-minilm-l6-v2`); without it they are left out, and that is said.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seamline.loading import load_module
from seamline.project import state_home

ROOT = Path(__file__).resolve().parents[1]
SEARCH = ROOT / "tools" / "icd10_search"
KS = (1, 5, 10, 20, 50)
EMBEDDER = "all-minilm-l6-v2"

index_module = load_module(SEARCH / "index.py")
build_module = load_module(SEARCH / "build.py")
meanings = load_module(SEARCH / "meanings.py")
glossary = load_module(SEARCH / "glossary.py").glossary

Query = tuple[str, str]
"""A phrase and its context."""
Find = Callable[[Sequence[Query]], list[list[str]]]
"""The first 50 codes of each query."""


def held_out(code: str) -> bool:
    """A tenth of the codes, told by a digest and so the same everywhere."""
    return int(hashlib.sha256(f"held out:{code}".encode()).hexdigest(), 16) % 10 == 0


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]


def pick_list(data: Path) -> tuple[list[Query], list[set[str]]]:
    """The mention of each entry with the levels around it, as the tool takes them, and its codes.

    Nine entries have two codes, of which either is right.
    """
    rows = read(data / "icd10" / "eicu_open.jsonl")
    queries = []
    for row in rows:
        system, *levels = row["text"].split("|")
        queries.append((" ".join(levels[-2:] or [system]), " ".join([system, *levels[:-2]])))
    return queries, [set(row["code"].split(";")) for row in rows]


def characters(index: Any) -> Callable[[bool], Find]:
    """TF-IDF over characters 3 to 5 on titles and inclusion terms, by scikit-learn."""
    import numpy as np
    import simple_icd_10_cm as icd
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, owner = [], []
    for code, title in zip(index.codes, index.titles, strict=True):
        for text in [title, *icd.get_inclusion_term(code)]:
            texts.append(text)
            owner.append(dict.fromkeys((index.default(code), code)))
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5))
    entries = vectorizer.fit_transform(texts).T.tocsr()

    def find(queries: Sequence[Query], headings: bool) -> list[list[str]]:
        found = []
        vectors = vectorizer.transform([text for text, _ in queries])
        for start in range(0, len(queries), 100):
            for row in (vectors[start : start + 100] @ entries).toarray():
                order = np.argsort(-row, kind="stable")[:1000]
                codes = [c for i in order for c in [*owner[i]][: 2 if headings else 1]]
                found.append(list(dict.fromkeys(codes))[: KS[-1]])
        return found

    return lambda headings: lambda queries: find(queries, headings)


def by_index(index: Any, *, headings: bool, context: bool) -> Find:
    def find(queries: Sequence[Query]) -> list[list[str]]:
        words = [index_module.normalise(text) for text, _ in queries]
        around = [index_module.normalise(text) if context else [] for _, text in queries]
        hits = index.candidates_of(words, KS[-1], around, headings=headings)
        return [[hit.code for hit in row] for row in hits]

    return find


def bare_index() -> Any:
    """The tabular list alone, without the tool's glossary."""
    tables = build_module.build(lambda *_: None, ())
    return index_module.Icd10Index(release=index_module.release_name(), tables=tables)


def systems(data: Path) -> Iterator[tuple[str, Callable[[bool], Find]]]:
    """What is compared; each gets whether categories count as candidates."""
    cache = state_home() / "cache" / "icd10_search"
    plain = bare_index()
    yield "characters 3-5 (peer)", characters(plain)
    yield "words", lambda h: by_index(plain, headings=h, context=False)
    index = index_module.Icd10Index.open(cache)
    yield "words, glossary", lambda h: by_index(index, headings=h, context=False)
    yield "words, glossary, context", lambda h: by_index(index, headings=h, context=True)
    rows = read(data / "icd10" / "synonyms.jsonl")
    terms = [(row["term"], row["code"]) for row in rows if not held_out(row["code"])]
    own = index_module.Icd10Index.open(cache, synonyms=terms)
    yield "… and a synonyms file", lambda h: by_index(own, headings=h, context=True)
    embedder = meanings.pulled_embedder(EMBEDDER)
    if embedder is None:
        print(f"{EMBEDDER} is not pulled: rows with meaning are left out", file=sys.stderr)
        return
    both = index_module.Icd10Index.open(cache, embedder=embedder, progress=tell)
    yield "words, glossary, context, meaning", lambda h: by_index(both, headings=h, context=True)


def tell(done: int, total: int, what: str) -> None:
    print(f"\r{what} {done} of {total}", end="" if done < total else "\n", file=sys.stderr)


def measured(find: Find, queries: Sequence[Query], gold: Sequence[set[str]]) -> dict[str, float]:
    started = time.perf_counter()
    found = find(queries)
    seconds = time.perf_counter() - started
    pairs = list(zip(found, gold, strict=True))
    shares = {f"recall@{k}": sum(not own.isdisjoint(codes[:k]) for codes, own in pairs) for k in KS}
    shares["category@1"] = sum(
        codes[:1] != [] and codes[0][:3] in {code[:3] for code in own} for codes, own in pairs
    )
    rounded = {name: round(n / len(gold), 3) for name, n in shares.items()}
    return {**rounded, "seconds for 14": round(14 * seconds / len(gold), 3)}


def measure(data: Path) -> dict[str, dict[str, dict[str, float]]]:
    """The numbers of each file and system."""
    index = index_module.Icd10Index.open(state_home() / "cache" / "icd10_search")
    entries, codes = pick_list(data)
    terms = [
        (row["term"], index.default(row["code"]))
        for row in read(data / "icd10" / "synonyms.jsonl")
        if held_out(row["code"]) and index.default(row["code"])
    ]
    files = {
        f"eicu_open, {len(codes)} rows": (True, entries, codes),
        f"held-out synonyms, {len(terms)} rows": (
            False, [(term, "") for term, _ in terms], [{code} for _, code in terms],
        ),
    }  # fmt: skip
    found: dict[str, dict[str, dict[str, float]]] = {file: {} for file in files}
    for name, made in systems(data):
        for file, (headings, queries, gold) in files.items():
            # A term of the list has no context, so that row would repeat the one above it.
            if headings or not name.endswith("context"):
                found[file][name] = measured(made(headings), queries, gold)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("SEAMLINE_DATA"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.data is None:
        parser.error("needs --data, or SEAMLINE_DATA: the folder of outside data")
    results = measure(Path(options.data))
    if options.json:
        print(json.dumps({"load": os.getloadavg()[0], "files": results}, indent=2))
        return
    for file, rows in results.items():
        columns = list(next(iter(rows.values())))
        table = Table(file, *columns)
        for name, row in rows.items():
            table.add_row(name, *(f"{row[column]:.3f}" for column in columns))
        Console().print(table)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
