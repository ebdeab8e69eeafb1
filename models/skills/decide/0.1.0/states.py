"""Synthetic policy states of the `decide` skill: facts, how they read, and conditions on them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from seamline.loading import load_module

_HERE = Path(__file__).parent


V = load_module(_HERE / "vocabulary.py")


class Atom(NamedTuple):
    """One condition: its template, its words and whether it is met."""

    template: str
    text: str
    truth: bool


class Balance:
    """Keeps met and unmet even within each template, so that no wording tells the label."""

    def __init__(self) -> None:
        """Start with nothing picked."""
        self.surplus: dict[str, int] = defaultdict(int)

    def pick(self, rng: random.Random, atoms: list[Atom], want: int = 1) -> list[Atom]:
        """Up to `want` atoms of different words, each bringing its template towards balance."""
        pool = list(atoms)
        rng.shuffle(pool)
        chosen: list[Atom] = []
        for slack in (0, 1):
            for atom in pool:
                step = 1 if atom.truth else -1
                if len(chosen) == want:
                    return chosen
                if any(atom.text == other.text for other in chosen):
                    continue
                if sum(atom.template == other.template for other in chosen) > 1:
                    continue
                if self.surplus[atom.template] * step <= slack:
                    self.surplus[atom.template] += step
                    chosen.append(atom)
        return chosen


@dataclass
class Fact:
    """One thing that is known about the world."""

    kind: str
    subject: str
    value: object
    words: tuple[str, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)

    def twin(self, rng: random.Random) -> Fact:
        """The same fact with another value."""
        for _ in range(20):
            other = FACTS[self.kind](rng, self)
            if other.value != self.value:
                return other
        return self


def number_words(rng: random.Random, value: int) -> str:
    """A small number as a word or in digits."""
    names = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ]
    return names[value] if 0 < value <= 12 and rng.random() < 0.4 else str(value)


def join_or(names: list[str]) -> str:
    """`a, b or c`."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]


# --- facts ------------------------------------------------------------------------------------


def step_fact(rng: random.Random, like: Fact | None = None) -> Fact:
    """Something done or not done to things."""
    words = like.words if like else rng.choice(V.triples(V.VERBS)) + rng.choice(V.triples(V.THINGS))
    return Fact("step", f"{words[1]} {words[3]}", rng.random() < 0.5, words)


def flag_fact(rng: random.Random, like: Fact | None = None) -> Fact:
    """A thing that is so, is the opposite, or is unknown."""
    words = like.words if like else rng.choice(V.triples(V.FLAGS))
    value = rng.choice(["yes", "yes", "no", "no", "unknown"])
    return Fact("flag", words[0], value, words)


def count_fact(rng: random.Random, like: Fact | None = None) -> Fact:
    """How many things there are."""
    words = like.words if like else rng.choice(V.triples(V.THINGS))
    value = rng.choice([0, 0, 1, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, rng.randint(13, 90)])
    return Fact("count", words[0], value, words)


def score_fact(rng: random.Random, like: Fact | None = None) -> Fact:
    """A decimal or a percentage."""
    subject = like.subject if like else rng.choice(V.pipes(V.SCORES))
    percent = like.words[0] if like else rng.choice(["%", "."])
    return Fact("score", subject, rng.randint(2, 98), (percent,))


def level_fact(rng: random.Random, like: Fact | None = None) -> Fact:
    """Low, medium or high."""
    subject = like.subject if like else rng.choice(V.pipes(V.LEVELS))
    return Fact("level", subject, rng.choice(["low", "medium", "high"]))


def category_fact(rng: random.Random, like: Fact | None = None) -> Fact:
    """One value of a few."""
    subject = like.subject if like else rng.choice(sorted(V.CATEGORIES))
    words = tuple(V.CATEGORIES[subject].split())
    return Fact("category", subject, rng.choice(words), words)


def list_fact(rng: random.Random, like: Fact | None = None) -> Fact:
    """A list of names, often empty."""
    words = like.words if like else rng.choice(V.triples(V.THINGS))
    names = rng.sample(V.PEOPLE.split() + V.NONSENSE, rng.choice([0, 0, 1, 2, 3, 4]))
    return Fact("list", words[0], tuple(names), words)


def role_fact(rng: random.Random, like: Fact | None = None) -> Fact:
    """A name that is set or not set."""
    subject = like.subject if like else rng.choice(V.ROLES.split())
    value = rng.choice([None, rng.choice(V.PEOPLE.split())])
    return Fact("role", subject, value)


def last_fact(rng: random.Random, _like: Fact | None = None) -> Fact:
    """The last step and how it ended."""
    verb = rng.choice(V.triples(V.VERBS))[0]
    done = rng.random() < 0.5
    return Fact("last", "last step", (verb, done), (verb, rng.choice(V.pipes(V.ERRORS))))


FACTS: dict[str, Callable[..., Fact]] = {
    "step": step_fact, "flag": flag_fact, "count": count_fact, "score": score_fact,
    "level": level_fact, "category": category_fact, "list": list_fact, "role": role_fact,
    "last": last_fact,
}  # fmt: skip


# --- how facts read ---------------------------------------------------------------------------


def score_words(fact: Fact) -> str:
    """The number as the fact writes it."""
    value = int(str(fact.value))
    return f"{value}%" if fact.words[0] == "%" else f"{value / 100:.2f}".rstrip("0")


def fact_pair(fact: Fact, rng: random.Random) -> tuple[str, str]:
    """Key and value of a fact in a list of facts."""
    if fact.kind == "step":
        verb, past, _, plural, _ = fact.words
        return rng.choice([
            (f"{plural} {past}", "yes" if fact.value else "no"),
            (f"{verb} {plural}", "done" if fact.value else rng.choice(["pending", "not done"])),
            (f"{past} {plural}", "true" if fact.value else "false"),
        ])  # fmt: skip
    if fact.kind == "flag":
        noun, yes, no = fact.words
        if rng.random() < 0.5 and fact.value != "unknown":
            return noun, yes if fact.value == "yes" else no
        return f"{noun} {yes}", str(fact.value)
    if fact.kind == "count":
        key = rng.choice(["{}", "number of {}", "{} left", "{} found"])
        return "{}".join(key.split("{}")).format(fact.subject), str(fact.value)
    if fact.kind == "score":
        return fact.subject, score_words(fact)
    if fact.kind == "list":
        names = list(fact.value)  # type: ignore[call-overload]
        return fact.subject, ", ".join(names) if names else rng.choice(["none", "[]", "(empty)"])
    if fact.kind == "last":
        verb, done = fact.value  # type: ignore[misc]
        ended = rng.choice(["ok", "success"]) if done else f"failed ({fact.words[1]})"
        return rng.choice(["last step", "latest step"]), f"{verb}: {ended}"
    return fact.subject.replace("_", " "), str(fact.value or rng.choice(["none", "not set"]))


def fact_sentence(fact: Fact, rng: random.Random) -> str:
    """The fact as a sentence."""
    if fact.kind == "step":
        past, plural = fact.words[1], fact.words[3]
        if fact.value:
            return rng.choice([f"The {plural} have been {past}.", f"All {plural} were {past}."])
        return rng.choice(
            [f"The {plural} have not been {past}.", f"The {plural} still have to be {past}."]
        )
    if fact.kind == "flag":
        noun, yes, no = fact.words
        if fact.value == "unknown":
            return f"Nobody knows whether the {noun} is {yes}."
        return f"The {noun} is {yes if fact.value == 'yes' else no}."
    if fact.kind == "count":
        plural, single = fact.words
        if fact.value == 0:
            return f"There are no {plural}."
        one = fact.value == 1
        number = number_words(rng, int(str(fact.value)))
        return f"There is {number} {single}." if one else f"There are {number} {plural}."
    if fact.kind == "list":
        names = list(fact.value)  # type: ignore[call-overload]
        if not names:
            return f"The list of {fact.subject} is empty."
        return (
            f"The {fact.subject} are {', '.join(names)}."
            if names[1:]
            else (f"The only {fact.words[1]} is {names[0]}.")
        )
    if fact.kind == "last":
        verb, done = fact.value  # type: ignore[misc]
        return f"The last step, {verb}, " + ("went well." if done else f"failed: {fact.words[1]}.")
    if fact.kind == "role" and fact.value is None:
        return f"No {fact.subject.replace('_', ' ')} has been set."
    value = score_words(fact) if fact.kind == "score" else fact.value
    return f"The {fact.subject.replace('_', ' ')} is {value}."


def render(facts: list[Fact], rng: random.Random) -> str:
    """The context: all facts in one of several styles."""
    style = rng.choice(["dash", "colon", "assign", "sentence", "mixed", "inline"])
    if style == "sentence":
        return " ".join(fact_sentence(fact, rng) for fact in facts)
    lines = []
    for fact in facts:
        key, value = fact_pair(fact, rng)
        kind = rng.choice(["dash", "colon", "sentence"]) if style == "mixed" else style
        if kind == "dash":
            lines.append(f"- {key}: {value}")
        elif kind in ("colon", "inline"):
            lines.append(f"{key if kind == 'inline' else key.capitalize()}: {value}")
        elif kind == "assign":
            lines.append(f"{key.replace(' ', '_')} = {value}")
        else:
            lines.append(fact_sentence(fact, rng))
    return "; ".join(lines) if style == "inline" else "\n".join(lines)


# --- conditions on one fact -------------------------------------------------------------------

YES_STEP = """the {p} have been {d}|{g} the {p} is done|{g} the {p} is finished|the {p} were {d}
somebody has {d} the {p}|the {p} are already {d}|the step "{v} the {p}" is complete"""
NO_STEP = """the {p} have not been {d} yet|{g} the {p} is still to be done
the {p} still have to be {d}
nobody has {d} the {p} so far|the {p} are yet to be {d}|the {p} are not {d}
{g} the {p} is pending"""


def step_atoms(fact: Fact, rng: random.Random) -> Iterator[Atom]:
    """Done, not done."""
    verb, past, ger, plural, _ = fact.words
    for bank, truth in ((YES_STEP, fact.value), (NO_STEP, not fact.value)):
        for template in rng.sample(V.pipes(bank), 3):
            text = template.format(p=plural, d=past, g=ger, v=verb)
            yield Atom(template, text, bool(truth))


def flag_atoms(fact: Fact, _rng: random.Random) -> Iterator[Atom]:
    """Is, is not, unknown."""
    noun, yes, no = fact.words
    unknown = fact.value == "unknown"
    yield Atom("flag unknown", f"it is unknown whether the {noun} is {yes}", unknown)
    yield Atom("flag known", f"it is known whether the {noun} is {yes}", not unknown)
    yield Atom("flag " + yes, f"the {noun} is {yes}", fact.value == "yes")
    yield Atom("flag " + no, f"the {noun} is {no}", fact.value == "no")
    if not unknown:
        yield Atom("flag not " + yes, f"the {noun} is not {yes}", fact.value == "no")
        yield Atom("flag not " + no, f"the {noun} is not {no}", fact.value == "yes")


def count_atoms(fact: Fact, rng: random.Random) -> Iterator[Atom]:
    """Comparisons with a number near the count."""
    plural, single = fact.words
    n = int(str(fact.value))
    k = max(1, n + rng.choice([-5, -2, -1, -1, 0, 0, 1, 1, 2, 5, 10]))
    high = k + rng.randint(2, 6)
    w, noun = number_words(rng, k), plural if k != 1 else single
    be = "are" if k != 1 else "is"
    yield Atom("c more", f"there are more than {w} {noun}", n > k)
    yield Atom("c fewer", f"there are fewer than {w} {noun}", n < k)
    yield Atom("c least", f"there {be} at least {w} {noun}", n >= k)
    yield Atom("c most", f"there {be} at most {w} {noun}", n <= k)
    yield Atom("c exact", f"there {be} exactly {w} {noun}", n == k)
    yield Atom("c between", f"there are between {w} and {high} {plural}", k <= n <= high)
    yield Atom("c above", f"the number of {plural} is above {k}", n > k)
    yield Atom("c below", f"the number of {plural} is below {k}", n < k)
    yield Atom("c none", f"there are no {plural}", n == 0)
    yield Atom("c none left", f"no {single} is left", n == 0)
    yield Atom("c some", f"there is at least one {single}", n > 0)
    yield Atom("c any", f"there are any {plural}", n > 0)
    yield Atom("c only one", f"there is only one {single}", n == 1)
    yield Atom("c several", f"there are several {plural}", n > 1)


def score_atoms(fact: Fact, rng: random.Random) -> Iterator[Atom]:
    """Comparisons with a decimal or a percentage."""
    n = int(str(fact.value))
    k = min(95, max(5, n + rng.choice([-30, -20, -10, -5, -3, 3, 5, 10, 20, 30])))
    k = round(k, -1) if abs(n - round(k, -1)) > 1 and 0 < round(k, -1) < 100 else k
    percent = (fact.words[0] == "%") != (rng.random() < 0.15)
    w = rng.choice([f"{k}%", f"{k} percent"]) if percent else f"{k / 100:.2f}".rstrip("0")
    name = fact.subject
    if n == k:
        return
    yield Atom("s below", f"the {name} is below {w}", n < k)
    yield Atom("s least", f"the {name} is at least {w}", n >= k)
    yield Atom("s more", f"the {name} is more than {w}", n > k)
    yield Atom("s under", f"the {name} does not reach {w}", n < k)
    yield Atom("s most", f"the {name} is {w} or less", n <= k)
    yield Atom("s not above", f"the {name} is not above {w}", n <= k)


def level_atoms(fact: Fact, rng: random.Random) -> Iterator[Atom]:
    """Low, not high, at least medium."""
    order = ["low", "medium", "high"]
    at, name = order.index(str(fact.value)), fact.subject
    pick = rng.choice(order)
    yield Atom("l is " + pick, f"the {name} is {pick}", at == order.index(pick))
    yield Atom("l not " + pick, f"the {name} is not {pick}", at != order.index(pick))
    yield Atom("l least", f"the {name} is at least medium", at > 0)
    yield Atom("l below", f"the {name} is below high", at < 2)
    pair = rng.sample(order, 2)
    yield Atom("l or", f"the {name} is {pair[0]} or {pair[1]}", order[at] in pair)


def category_atoms(fact: Fact, rng: random.Random) -> Iterator[Atom]:
    """Equality and membership."""
    value, name = str(fact.value), fact.subject
    pick = rng.choice([value, rng.choice(fact.words)])
    two = rng.sample(fact.words, 2)
    some = rng.sample(fact.words, rng.randint(3, min(5, len(fact.words) - 1)))
    yield Atom("k is", f"the {name} is {pick}", value == pick)
    yield Atom("k not", f"the {name} is not {pick}", value != pick)
    yield Atom("k other", f"the {name} is something other than {pick}", value != pick)
    yield Atom("k or", f"the {name} is {two[0]} or {two[1]}", value in two)
    yield Atom("k neither", f"the {name} is neither {two[0]} nor {two[1]}", value not in two)
    yield Atom("k one of", f"the {name} is one of {', '.join(some)}", value in some)
    yield Atom("k any of", f"the {name} is any of {join_or(some)}", value in some)
    yield Atom("k none of", f"the {name} is none of {', '.join(some)}", value not in some)


def list_atoms(fact: Fact, rng: random.Random) -> Iterator[Atom]:
    """Emptiness and membership."""
    names, plural, single = list(fact.value), *fact.words  # type: ignore[call-overload]
    other = rng.choice(V.PEOPLE.split() + V.NONSENSE)
    pick = rng.choice(names) if names and rng.random() < 0.5 else other
    yield Atom("i among", f"{pick} is among the {plural}", pick in names)
    yield Atom("i not in", f"{pick} is not in the list of {plural}", pick not in names)
    yield Atom("i empty", f"the list of {plural} is empty", not names)
    yield Atom("i not empty", f"the list of {plural} is not empty", bool(names))
    yield Atom("i none", f"no {single} is listed", not names)
    yield Atom("i some", f"at least one {single} is listed", bool(names))
    yield Atom("i more", f"more than one {single} is listed", len(names) > 1)
    if len(names) > 1:
        yield Atom("i first", f"the first of the {plural} is {pick}", names[0] == pick)
        yield Atom("i last", f"the last of the {plural} is {pick}", names[-1] == pick)


def role_atoms(fact: Fact, rng: random.Random) -> Iterator[Atom]:
    """Set, not set, who."""
    name, value = fact.subject.replace("_", " "), fact.value
    pick = value if value and rng.random() < 0.5 else rng.choice(V.PEOPLE.split())
    yield Atom("r set", f"the {name} is set", value is not None)
    yield Atom("r no", f"there is no {name} yet", value is None)
    yield Atom("r missing", f"the {name} is missing", value is None)
    yield Atom("r known", f"somebody has been named as the {name}", value is not None)
    yield Atom("r is", f"the {name} is {pick}", value == pick)
    if value is not None:
        yield Atom("r not", f"the {name} is not {pick}", value != pick)


def last_atoms(fact: Fact, rng: random.Random) -> Iterator[Atom]:
    """What came last and how it ended."""
    verb, done = fact.value  # type: ignore[misc]
    pick = rng.choice([verb, rng.choice(V.triples(V.VERBS))[0]])
    yield Atom("t failed", "the last step failed", not done)
    yield Atom("t error", "the last step ended with an error", not done)
    yield Atom("t ok", "the last step succeeded", done)
    yield Atom("t not failed", "the last step did not fail", done)
    yield Atom("t was", f"the last step was {pick}", pick == verb)
    yield Atom("t not", f"the last step was not {pick}", pick != verb)
    yield Atom("t was failed", f"the last step was {pick} and it failed", pick == verb and not done)
    yield Atom("t was ok", f"{pick} was the last step and went well", pick == verb and done)


ATOMS: dict[str, Callable[[Fact, random.Random], Iterator[Atom]]] = {
    "step": step_atoms, "flag": flag_atoms, "count": count_atoms, "score": score_atoms,
    "level": level_atoms, "category": category_atoms, "list": list_atoms, "role": role_atoms,
    "last": last_atoms,
}  # fmt: skip

# Templates that state something: about an absent fact they are not met.
ABSENT = {"c some", "c exact", "c least", "c more", "s below", "s least", "s more", "l is low",
          "l is high", "l is medium", "k is", "k or", "k one of", "i among", "i some", "r is",
          "r set", "flag known"} | set(V.pipes(YES_STEP))  # fmt: skip


def negated(atom: Atom) -> Atom:
    """The opposite in a longer wording."""
    return Atom("not: " + atom.template, f"it is not the case that {atom.text}", not atom.truth)


JOINS: list[tuple[str, Callable[[bool, bool], bool]]] = [
    ("{} and {}", lambda a, b: a and b),
    ("{} but {}", lambda a, b: a and b),
    ("{} while {}", lambda a, b: a and b),
    ("{}, even though {}", lambda a, b: a and b),
    ("both hold: {}; {}", lambda a, b: a and b),
    ("{} or {}", lambda a, b: a or b),
    ("either {} or {}, or both", lambda a, b: a or b),
    ("{}, unless {}", lambda a, b: a and not b),
    ("{} and it is not true that {}", lambda a, b: a and not b),
]


def joined(groups: list[list[Atom]], rng: random.Random) -> Iterator[Atom]:
    """Compounds of two atoms about different facts."""
    for _ in range(8 if len(groups) > 1 else 0):
        first, second = rng.sample(groups, 2)
        one, two = rng.choice(first), rng.choice(second)
        words, holds = rng.choice(JOINS)
        yield Atom(words, words.format(one.text, two.text), holds(one.truth, two.truth))


def conditions(facts: list[Fact], rng: random.Random) -> tuple[list[Atom], list[Atom]]:
    """All single conditions on the facts (and on absent ones), and some compounds."""
    groups = [[a for _ in (0, 1) for a in ATOMS[fact.kind](fact, rng)] for fact in facts]
    groups = [group for group in groups if group]
    present = [atom for group in groups for atom in group]
    known = {fact.subject for fact in facts} | {w for fact in facts for w in fact.words}
    absent: list[Atom] = []
    for _ in range(2):
        fact = FACTS[rng.choice(sorted(set(FACTS) - {"last"}))](rng)
        if fact.subject in known or known & set(fact.words):
            continue
        absent += [
            Atom(a.template, a.text, False)
            for a in ATOMS[fact.kind](fact, rng) if a.template in ABSENT
        ]  # fmt: skip
        name = fact.subject.replace("_", " ")
        absent.append(Atom("m none", f"the state says nothing about the {name}", True))
    both = list(joined(groups, rng)) + [negated(rng.choice(present)) for _ in (0, 1) if present]
    for fact in facts:
        name = fact.subject.replace("_", " ")
        present.append(Atom("m none", f"the state says nothing about the {name}", False))
    return present + rng.sample(absent, min(3, len(absent))), both


def world_facts(rng: random.Random) -> list[Fact]:
    """Four to seven facts; some share a word, so that the reader must look twice."""
    facts: list[Fact] = []
    used: set[tuple[str, str]] = set()
    for _ in range(rng.choice([3, 4, 4, 5, 6, 7, 9])):
        kind = rng.choice(["step", "step", *FACTS])
        fact = FACTS[kind](rng)
        if facts and facts[-1].kind == "step" and kind == "step" and rng.random() < 0.6:
            fact.words = facts[-1].words[:3] + fact.words[3:]
            fact.subject = f"{fact.words[1]} {fact.words[3]}"
        same = "named" if kind in ("count", "list") else kind
        named = "score" if kind == "level" else same
        if (named, fact.subject) in used:
            continue
        used.add((named, fact.subject))
        facts.append(fact)
    return facts


def instruction(rng: random.Random) -> str:
    """One line of instructions."""
    agent = rng.choice(V.pipes(V.AGENTS))
    line = rng.choice(V.pipes(V.INSTRUCTIONS)).format(agent=agent)
    more = rng.sample(V.pipes(V.FILLERS), rng.choice([0, 0, 0, 1, 2, 3]))
    return " ".join([line, *more])


def rule_row(source: str, instructions: str, context: str, atoms: list[Atom]) -> dict:
    """A row of rule branches."""
    branches = [{"text": a.text, "label": int(a.truth), "template": a.template} for a in atoms]
    return {"kind": "rules", "source": source, "instructions": instructions,
            "context": context, "branches": branches}  # fmt: skip


def worlds(rng: random.Random, balance: Balance) -> Iterator[dict]:
    """Random worlds, each now and then followed by itself with one fact changed."""
    while True:
        facts = world_facts(rng)
        lines = instruction(rng)
        for turn in range(rng.choice([1, 1, 2])):
            if turn:
                at = rng.randrange(len(facts))
                facts = [*facts[:at], facts[at].twin(rng), *facts[at + 1 :]]
            single, both = conditions(facts, rng)
            want = rng.randint(4, 7)
            atoms = balance.pick(rng, both, rng.randint(0, 2))
            atoms += balance.pick(rng, single, want - len(atoms))
            rng.shuffle(atoms)
            lead = rng.choice(["", "", "State:\n", "Facts:\n", "Known so far:\n"])
            yield rule_row("worlds", lines, lead + render(facts, rng), atoms)
