"""Boards of items, needed things, and requests beside a state, for the `decide` skill."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seamline.loading import load_module

_HERE = Path(__file__).parent


V, S, T, P, X = (
    load_module(_HERE / f"{n}.py") for n in ("vocabulary", "states", "tools", "pairs", "texts")
)


def names_of(rng: random.Random, number: int) -> list[str]:
    """Names of the items on a board."""
    people, words = V.PEOPLE.split(), V.NONSENSE
    kinds = ["kite", "lamp", "bread", "map", "drum", "stamp", "boat", "tile", "key", "song"]
    pool = rng.choice([people, words, kinds, [f"{w}-{rng.randint(1, 99)}" for w in words]])
    return rng.sample(pool, number)


def board_context(items: dict[str, bool], words: tuple[str, str], plural: str,
                  rng: random.Random) -> str:  # fmt: skip
    """The board: one line an item, one line in all, or the items of each mark."""
    yes, no = words
    marks = {name: yes if done else no for name, done in items.items()}
    style = rng.choice(["lines", "inline", "groups", "table"])
    if style == "lines":
        return f"{plural}:\n" + "\n".join(f"- {n}: {m}" for n, m in marks.items())
    if style == "inline":
        return f"{plural}: " + ", ".join(f"{n} ({m})" for n, m in marks.items())
    if style == "table":
        return "\n".join(f"{n} | {m}" for n, m in marks.items())
    return "\n".join(
        f"{mark}: " + (", ".join(n for n, m in marks.items() if m == mark) or "none")
        for mark in rng.sample(words, 2)
    )


def board_atoms(items: dict[str, bool], words: tuple[str, str], noun: tuple[str, str],
                rng: random.Random) -> Iterator[Any]:  # fmt: skip
    """Conditions over all items and over single ones."""
    (yes, no), (plural, single) = words, noun
    names, total, n = list(items), len(items), sum(items.values())
    a, b = rng.sample(names, 2)
    k = rng.randint(1, total)
    some = "are" if k != 1 else "is"
    nouns = plural if k != 1 else single
    table: list[tuple[str, str, bool]] = [
        ("b all", f"all {plural} are {yes}", n == total),
        ("b every", f"every {single} is {yes}", n == total),
        ("b none left", f"no {single} is {no} any more", n == total),
        ("b not all", f"not all {plural} are {yes}", n < total),
        ("b some no", f"at least one {single} is still {no}", n < total),
        ("b there no", f"there is a {single} that is {no}", n < total),
        ("b none", f"none of the {plural} is {yes}", n == 0),
        ("b all no", f"every {single} is {no}", n == 0),
        ("b some", f"at least one {single} is {yes}", n > 0),
        ("b mixed", f"some {plural} are {yes} and some are {no}", 0 < n < total),
        ("b one", f"exactly one {single} is {yes}", n == 1),
        ("b one no", f"only one {single} is {no}", total - n == 1),
        ("b least", f"at least {S.number_words(rng, k)} {nouns} {some} {yes}", n >= k),
        ("b more", f"more {plural} are {yes} than {no}", n > total - n),
        ("b is", f"{a} is {yes}", items[a]),
        ("b is no", f"{a} is {no}", not items[a]),
        ("b not", f"{b} is not {yes}", not items[b]),
        ("b and", f"both {a} and {b} are {yes}", items[a] and items[b]),
        ("b but", f"{a} is {yes} but {b} is {no}", items[a] and not items[b]),
        ("b neither", f"neither {a} nor {b} is {yes}", not items[a] and not items[b]),
        ("b or", f"{a} or {b} is {yes}", items[a] or items[b]),
        ("b only", f"{a} is the only {single} that is {no}", not items[a] and n == total - 1),
    ]
    for template, text, truth in table:
        yield S.Atom(template, text, truth)


def boards(rng: random.Random, balance: Any) -> Iterator[dict]:
    """Several items with a mark each; often once more with one mark changed."""
    while True:
        names = names_of(rng, rng.randint(2, 6))
        share = rng.choice([0, 0, 0.3, 0.6, 0.8, 1, 1, 1])
        items = {name: rng.random() < share for name in names}
        yes, no = rng.choice(V.triples(V.MARKS))
        noun = rng.choice(V.triples(V.ITEMS))
        lines = S.instruction(rng)
        for turn in range(rng.choice([1, 2])):
            if turn:
                name = rng.choice(names)
                items = items | {name: not items[name]}
            context = board_context(items, (yes, no), noun[0], rng)
            atoms = list(board_atoms(items, (yes, no), noun, rng))
            chosen = balance.pick(rng, atoms, rng.randint(5, 7))
            yield S.rule_row("boards", lines, context, chosen)


NEEDS = """name|address|start date|number of pieces|colour|size|destination|reason|language|budget
phone number|order number|title|format|length|name of the sender|unit|place|time|room"""


def needs(rng: random.Random, balance: Any) -> Iterator[dict]:
    """What is needed and what has been given."""
    while True:
        fields = rng.sample(V.pipes(NEEDS), rng.randint(3, 6))
        wanted = fields[: rng.randint(2, len(fields))]
        share = rng.choice([0.3, 0.6, 1, 1])
        given = [f for f in fields if rng.random() < share]
        rng.shuffle(given)
        lack = [f for f in wanted if f not in given]
        a, b = rng.sample(fields, 2)
        form = rng.choice(
            [
                "needed: {}\ngiven: {}",
                "Required fields: {}. Filled in: {}.",
                "must have = {}\nhas = {}",
                "The form asks for {}. We know: {}.",
            ]
        )
        atoms = [S.Atom(t, text, truth) for t, text, truth in [
            ("n all", "everything that is needed has been given", not lack),
            ("n complete", "no required detail is missing", not lack),
            ("n some", "something that is needed is still missing", bool(lack)),
            ("n one", "exactly one needed detail is missing", len(lack) == 1),
            ("n more", "more than one needed detail is missing", len(lack) > 1),
            ("n nothing", "nothing has been given yet", not given),
            ("n given", f"the {a} is given", a in given),
            ("n not given", f"the {a} is not given", a not in given),
            ("n needed", f"the {b} is needed", b in wanted),
            ("n not needed", f"the {b} is not needed", b not in wanted),
            ("n lack", f"the {b} is needed but has not been given", b in lack),
            ("n ok", f"the {b} is needed and has been given", b in wanted and b in given),
            ("n both", f"the {a} and the {b} are both given", a in given and b in given),
            ("n extra", "something was given that is not needed", bool(set(given) - set(wanted))),
        ]]  # fmt: skip
        context = form.format(", ".join(wanted), ", ".join(given) or "nothing")
        yield S.rule_row("needs", S.instruction(rng), context,
                         balance.pick(rng, atoms, rng.randint(5, 7)))  # fmt: skip


SERVED = ["the request can be served by a tool for this: {}", "the request calls for this: {}",
          "what the user wants is this: {}"]  # fmt: skip


def mixed(rng: random.Random, balance: Any) -> Iterator[dict]:
    """A request beside a state: conditions on either, and on both."""
    table = P.pair_table()
    while True:
        one, first, two, second = rng.choice(table)
        query, right, near = rng.choice([(one, first, second), (two, second, first)])
        query = X.filled(query, X.pair_values(rng))
        far = rng.choice(rng.choice(table)[1::2])
        facts = S.world_facts(rng)[:4]
        single, _ = S.conditions(facts, rng)
        asked = []
        for tool in dict.fromkeys([right, near, far]):
            about = tool[1][0].lower() + tool[1][1:]
            form = rng.choice(SERVED)
            asked.append(S.Atom(form, form.format(about), tool is right))
            asked.append(S.Atom("served not", f"the user does not ask for this: {about}",
                                tool is not right))  # fmt: skip
        both = list(S.joined([asked, single], rng)) if single else []
        request, state = T.request_line(query, rng), S.render(facts, rng)
        context = "\n".join(rng.sample([request, state], 2))
        chosen = balance.pick(rng, asked, 2) + balance.pick(rng, both, 1)
        chosen += balance.pick(rng, single, 2)
        rng.shuffle(chosen)
        yield S.rule_row("mixed", S.instruction(rng), context, chosen)
