"""Plain states and literal conditions: the reading that every policy needs.

A state is a list of `name: value` facts; every fact gets conditions of both polarities, in
many wordings, so that only comparing the condition with the fact tells the answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple


def _pipes(text: str) -> list[str]:
    return text.split("|")


ROLES = _pipes(
    "You plan {a}, one step at a time.|You review one {thing} by its facts.|You check {a}."
    "|You decide what comes next.|You guard {a}.|You judge each rule by the facts."
    "|You run {a}.|You look at one {thing}.|Read the state.|You sort out one {thing}."
    "|You check a {thing} before it is given out.|You decide what to ask about one {thing}."
)
WORKS = _pipes(
    "the harvest|the delivery round|the night shift|the sorting of parcels|the map archive"
    "|the concert|the repair queue|the mailing list|the flower stall|the ferry"
    "|the data clean-up|the index|the glorp line|the seed bank|the tram depot"
    "|the puzzle night|the photo album"
)
SUBJECTS = _pipes(
    "crate|parcel|draft|record|file|item|page|token|entry|message|ticket|kite|boat|answer"
    "|text|form|request|sample|row|photo|song|box|glorp|result|section|piece|note|report"
    "|sensor|letter"
)
STEMS = _pipes(
    "map|stock|route|seed|page|photo|mail|list|index|crate|song|norvik|glorp|zin|kelp|lamp"
    "|grid|order|star|moss|reef|card|tile|word|line|drum|plin|vorn|log|shelf|bird|cloud"
)
DOINGS = _pipes(
    "search|select|check|finder|sorter|loader|split|type|scan|merge|count|fetch|rank|test"
    "|match|filter|label|print|lookup|reader|writer|cutter|probe|guess|draw"
)
PLURALS = _pipes(
    "drivers|bottles|rooms on the second floor|chairs|apples|coins|words|guests|tasks|samples"
    "|questions|replies|bags|tents|stamps|lines|rows|columns|visitors|bikes in the shed|cups"
    "|conflicts|duplicates|gaps|overlaps|unsure items|hints|votes|points|steps left|bees"
    "|bricks|comments|signals|shipments|cards|figures|numbers|roads|trees|rings|buses|cakes"
    "|cameras|open orders|parcels|free seats|matches|candidates|links|photos|broken lamps"
    "|names|clouds|errors|entries|warnings|letters|pieces|items|results|boats|glorps|birds"
    "|songs|pages|drafts|rare coins|red tiles|late trams|unread notes|keys|stamps|sections"
    "|records|ripe plums"
)
ADJECTIVES = _pipes(
    "sealed|readable|valid|polished|ripe|open|fragile|signed|urgent|known|complete|public"
    "|empty|charged|present|visible|glorpy|final|paid|frozen|unique|clean|locked|wet|active"
    "|painted|reachable|broken|new|correct|allowed|booked|free|late|heavy|safe|secret|stable"
    "|usable|shippable|sellable|expired|printable|round|hot|cold|loud|quiet|ready|rare|risky"
    "|private|archived|approved|rejected|shared|stale|fresh|full|tidy|legible|translated"
    "|confirmed|refundable|removable|dry|busy|verified|marked|missing|outdated|plausible"
    "|optional|blocked|bookable|playable|weighed|labelled|numbered|covered|supported|certain"
    "|exact|genuine|recyclable|edible|waterproof|damaged|assigned|linked|resolved|muted"
    "|pinned|in stock|on time|out of date|up to date|in use|for sale|on loan|within reach"
    "|over the limit"
)
LEVELLED = _pipes("confidence|priority|risk|noise|demand|pressure|certainty|wind|urgency|interest")
LEVELS = ("low", "medium", "high")
KINDS = {
    "colour": "red|blue|green|pale yellow|black|white|dark orange|grey",
    "language": "English|German|Spanish|French|Dutch|Polish|unknown|Italian",
    "kind": "open box|tin drum|garden chair|paper kite|oak shelf|stone jar|zindle|wool hat",
    "zone": "north|south|east gate|west|harbour|old town",
    "type": "Spring Loan|Night Shift|Red Tile|Free Ride|Window Seat|Half-Day Ticket|Late Return",
    "format": "csv|json|png|plain text|pdf|html",
    "day": "Monday|Tuesday|Wednesday|Thursday|Friday|Sunday",
    "status of the order": "new|packed|sent|lost|returned|on hold",
}


class Fact(NamedTuple):
    """One line of a state and the conditions it decides: (wording, whether it holds)."""

    name: str
    value: str
    conditions: list[tuple[str, bool]]


def _tool(rng: random.Random) -> Fact:
    name = rng.choice(["{s}_{d}", "{s}_{d}", "{s}{n}_{d}", "{d}_{s}", "{d}"]).format(
        s=rng.choice(STEMS), d=rng.choice(DOINGS), n=rng.randint(1, 30)
    )
    value = rng.choice(["not run", "not run", "done", "done", "failed"])
    n = rng.choice([name, name, name, f"the tool {name}", name.replace("_", " ")])
    fresh, done, failed = value == "not run", value == "done", value == "failed"
    conditions = [
        (f"{n} has not been run", fresh), (f"{n} has not been run yet", fresh),
        (f"{n} has already been run", not fresh), (f"{n} has been run", not fresh),
        (f"{n} was not run", fresh), (f"{n} is done", done), (f"{n} is not done", not done),
        (f"{n} is not done yet", not done), (f"{n} has failed", failed),
        (f"{n} failed", failed), (f"{n} did not fail", not failed),
        (f"{n} still has to be run", fresh), (f"{n} is not run", fresh),
        (f"{n} worked", done), (f"{n} is finished", done),
    ]  # fmt: skip
    what = rng.choice(PLURALS)
    count = rng.choice([0, 0, 1, rng.randint(2, 30)])
    if rng.random() < 0.45:
        counted = value == "done"
        value = f"done, {count} {what}" if counted else value
        conditions += [
            (f"{n} found nothing", counted and count == 0),
            (f"{n} is done and found nothing", counted and count == 0),
            (f"{n} is done and found no {what}", counted and count == 0),
            (f"{n} found {what}", counted and count > 0),
            (f"{n} is done and found {what}", counted and count > 0),
            (f"{n} found some {what}", counted and count > 0),
        ]  # fmt: skip
    return Fact(name, value, conditions)


def _count(rng: random.Random, subject: str) -> Fact:
    name = rng.choice(PLURALS)
    value = rng.choice([0, 0, 0, 1, 1, 2, 3, 4, 5, 7, 8, 11, 12, 16, 24, 40, rng.randint(50, 9000)])
    limit = max(1, value + rng.choice([-3, -1, 0, 1, 2, 4]))
    if rng.random() < 0.4:
        limit = rng.choice([2, 5, 10, 20, 50, 100, 500, 1000, 20000])
    conditions = [
        (f"there are no {name}", value == 0), (f"no {name} were found", value == 0),
        (f"there are {name}", value > 0), (f"there is at least one of the {name}", value > 0),
        (f"some {name} were found", value > 0), (f"nothing is left of the {name}", value == 0),
        (f"there are more than {limit} {name}", value > limit),
        (f"there are fewer than {limit} {name}", value < limit),
        (f"there are at least {limit} {name}", value >= limit),
        (f"the number of {name} is {limit}", value == limit),
        (f"the {name} are 0", value == 0), (f"{name} were found", value > 0),
        (f"{name} is 0", value == 0), (f"{name} is more than 0", value > 0),
        (f"the {subject} has no {name}", value == 0), (f"the {subject} has {name}", value > 0),
        (f"the {subject} has fewer than {limit} {name}", value < limit),
        (f"the {subject} has more than {limit} {name}", value > limit),
        (f"{name} are left", value > 0), (f"no {name} are left", value == 0),
    ]  # fmt: skip
    return Fact(name, str(value), conditions)


def _flag(rng: random.Random, subject: str) -> Fact:
    word = rng.choice(ADJECTIVES)
    value = rng.random() < 0.5
    name = rng.choice([word, word, f"{word} {subject}", f"the {subject} is {word}"])
    the = rng.choice([f"the {subject}", f"the {subject}", "it"])
    conditions = [
        (f"{the} is {word}", value), (f"{the} is not {word}", not value),
        (f"{the} is not {word} yet", not value), (f"{the} is {word} already", value),
        (f"{name} is yes", value), (f"{name} is no", not value), (f"{name} is not yes", not value),
    ]  # fmt: skip
    return Fact(name, "yes" if value else "no", conditions)


def _found(rng: random.Random, subject: str) -> Fact:
    name = rng.choice([*PLURALS, "notes to the reader", "orders to the keeper", "odd signs"])
    style = rng.choice(["found", "has", "other"])
    if style == "found":
        value = rng.random() < 0.5
        said = "found" if value else "none"
        conditions = [
            (f"{name} were found", value), (f"no {name} were found", not value),
            (f"there are {name}", value), (f"there are no {name}", not value),
            (f"{name} were not found", not value), (f"the {subject} holds {name}", value),
        ]  # fmt: skip
        return Fact(name, said, conditions)
    noun = rng.choice(["ties", "conflicts", "overlaps", "twins", "rivals", "gaps", "marks"])
    value = rng.random() < 0.5
    yes = "yes" if style == "has" else f"{rng.choice(STEMS)}-{rng.randint(1, 99)}"
    the = rng.choice([f"the {subject}", f"the {subject}", "it"])
    no = "no" if style == "has" else "none"
    conditions = [
        (f"{the} has {noun}", value), (f"{the} has no {noun}", not value),
        (f"there are {noun}", value), (f"{the} does not have {noun}", not value),
        (f"no {noun} were found", not value), (f"{the} has no {noun} with another", not value),
    ]  # fmt: skip
    return Fact(noun, yes if value else no, conditions)


def _level(rng: random.Random) -> Fact:
    name, value = rng.choice(LEVELLED), rng.choice(LEVELS)
    pair = rng.sample(LEVELS, 2)
    conditions = [(f"the {name} is {level}", value == level) for level in LEVELS]
    conditions += [(f"the {name} is not {level}", value != level) for level in LEVELS]
    conditions += [
        (f"the {name} is {pair[0]} or {pair[1]}", value in pair),
        (f"the {name} is neither {pair[0]} nor {pair[1]}", value not in pair),
        (f"the {name} is at least medium", value != "low"),
        (f"the {name} is below high", value != "high"),
    ]
    return Fact(name, value, conditions)


def _kind(rng: random.Random, subject: str) -> Fact:
    name, values = rng.choice(list(KINDS.items()))
    known = values.split("|")
    value, other, third = rng.sample(known, 3)
    named = rng.sample(known, rng.randint(2, 5))
    the = rng.choice([name, f"{subject} {name}"])
    full = the
    conditions = [
        (f"the {the} is {value}", True), (f"the {the} is not {value}", False),
        (f"the {the} is {other}", False), (f"the {the} is not {other}", True),
        (f"the {the} is {other} or {value}", True), (f"the {the} is {other} or {third}", False),
        (f"the {the} is one of {', '.join(named)}", value in named),
        (f"the {the} is none of {', '.join(named)}", value not in named),
    ]  # fmt: skip
    return Fact(full, value, conditions)


def _word(rng: random.Random) -> Fact:
    name, options = rng.choice([
        ("words", ("too few", "enough", "too many")), ("answer from a person", ("none", "given")),
        ("answer of the keeper", ("none", "given")), ("stock of {s}", ("too few", "enough")),
        ("last step", ("ok", "failed")), ("budget", ("fine", "nearly used up", "used up")),
        ("stopped early", ("yes", "no")), ("failed tools", ("none", "one")),
    ])  # fmt: skip
    name = name.format(s=rng.choice(PLURALS))
    value = rng.choice(options)
    if "too few" in options:
        what = name.removeprefix("stock of ")
        found = [
            (f"there are too few {what}", value == "too few"),
            (f"there are enough {what}", value == "enough"),
            (f"there are not too few {what}", value != "too few"),
        ]
    elif "given" in options:
        who = "a person" if "person" in name else "the keeper"
        found = [
            (f"{who} has answered", value == "given"), (f"{who} has not answered", value == "none"),
            (f"an answer from {who} was given", value == "given"),
            (f"no answer from {who} was given", value == "none"),
        ]  # fmt: skip
    elif "ok" in options:
        found = [
            ("the last step failed", value == "failed"), ("the last step is ok", value == "ok"),
            ("the last step did not fail", value == "ok"), ("the last step worked", value == "ok"),
        ]  # fmt: skip
    elif "fine" in options:
        found = [
            ("the budget is used up", value == "used up"),
            ("the budget is nearly used up", value == "nearly used up"),
            ("the budget is fine", value == "fine"), ("the budget is not fine", value != "fine"),
        ]  # fmt: skip
    elif name == "stopped early":
        found = [
            ("the run stopped early", value == "yes"),
            ("the run did not stop early", value == "no"),
            ("it was stopped early", value == "yes"), ("nothing stopped early", value == "no"),
        ]  # fmt: skip
    else:
        found = [
            ("there are failed tools", value != "none"), ("no tool has failed", value == "none"),
            ("a tool has failed", value != "none"), ("there are no failed tools", value == "none"),
        ]  # fmt: skip
    return Fact(name, value, found)


def _facts(rng: random.Random, subject: str) -> list[Fact]:
    makers: Sequence[Callable[[], Fact]] = (
        lambda: _tool(rng), lambda: _tool(rng), lambda: _count(rng, subject),
        lambda: _flag(rng, subject), lambda: _flag(rng, subject), lambda: _found(rng, subject),
        lambda: _level(rng), lambda: _kind(rng, subject), lambda: _word(rng),
    )  # fmt: skip
    if rng.random() < 0.3:
        makers = makers[:3]
    facts: dict[str, Fact] = {}
    for _ in range(rng.randint(2, 6)):
        fact = rng.choice(makers)()
        facts.setdefault(fact.name, fact)
    return list(facts.values())


def _joined(rng: random.Random, facts: list[Fact]) -> tuple[str, bool]:
    (first, a), (second, b) = (rng.choice(fact.conditions) for fact in rng.sample(facts, 2))
    return rng.choice([
        (f"{first} and {second}", a and b), (f"{first}, but {second}", a and b),
        (f"{first} or {second}", a or b), (f"{first} unless {second}", a and not b),
        (f"{first} and {second}", a and b), (f"{first} while {second}", a and b),
    ])  # fmt: skip


def _conditions(rng: random.Random, facts: list[Fact], joined: float) -> list[tuple[str, bool]]:
    """About as many that hold as that do not, drawn per fact so that no wording tells."""
    found: dict[str, bool] = {}
    for fact in facts:
        for truth in (True, False):
            of = [c for c in fact.conditions if c[1] is truth]
            found.update(rng.sample(of, min(len(of), 2)))
    if len(facts) > 1 and rng.random() < joined:
        for wanted in (True, False, True, False):
            tries = (_joined(rng, facts) for _ in range(6))
            text, label = next((t for t in tries if t[1] is wanted), _joined(rng, facts))
            found[text] = label
    pairs = list(found.items())
    rng.shuffle(pairs)
    return pairs[:18]


def rows(rng: random.Random, *, joined: float = 0.35) -> Iterator[dict]:
    """Endless rows; `joined` is how often compound conditions are asked as well."""
    while True:
        subject = rng.choice(SUBJECTS)
        facts = _facts(rng, subject)
        form = rng.choice(["- {n}: {v}", "- {n}: {v}", "- {n}: {v}", "{n}: {v}", "{n} = {v}"])
        lines = [form.format(n=fact.name, v=fact.value) for fact in facts]
        head = rng.choice(["State:\n", "State:\n", "Facts:\n", ""])
        role = rng.choice(ROLES).format(a=rng.choice(WORKS), thing=subject)
        branches = []
        for text, label in _conditions(rng, facts, joined):
            shown = text[0].upper() + text[1:] if rng.random() < 0.4 and text[0].islower() else text
            branches.append({"text": shown, "label": int(label)})
        yield {
            "kind": "rules",
            "source": "basics",
            "instructions": rng.choice(["# Role\n", "# Role\n", ""]) + role,
            "context": head + "\n".join(lines),
            "branches": branches,
        }
