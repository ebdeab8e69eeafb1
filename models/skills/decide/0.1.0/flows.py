"""Synthetic task states of the `decide` skill: next steps, items under review, definitions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from seamline.loading import load_module

_HERE = Path(__file__).parent


V = load_module(_HERE / "vocabulary.py")
S = load_module(_HERE / "states.py")
State = dict[str, Any]


# --- next steps -------------------------------------------------------------------------------


def flow_names(rng: random.Random) -> State:
    """The nouns of a flow."""
    plural, single = rng.choice(V.triples(V.ITEMS))
    check, checked = rng.choice(V.triples(V.CHECKS))
    return {
        "N": plural, "n": single, "S": rng.choice(V.pipes(V.SEARCHES)), "C": check, "d": checked,
        "P": rng.choice(V.pipes(V.PERSONS)), "U": rng.choice(V.pipes(V.UNITS)),
        "R": rng.choice(["report", "answer", "summary", "reply", "draft", "list"]),
        "out": rng.choice(["sent", "delivered", "published", "handed over"]),
    }  # fmt: skip


def flow_state(rng: random.Random) -> State:
    """A random point of a flow: search, pick, check, ask, write, send."""
    s: State = dict.fromkeys(("found", "picked", "checked", "problems", "tries"), 0)
    s |= dict.fromkeys(("searched", "asked", "answered", "written", "sent", "failed"), False)
    depth = rng.randint(0, 6)
    s["refused"] = rng.random() < 0.35
    s["searched"] = depth > 0
    s["tries"] = rng.randint(1, 4) if s["searched"] else 0
    if s["searched"]:
        s["found"] = rng.choice([0, 0, 1, 2, 3, 4, 6, 9])
    if s["found"] and depth > 1:
        s["picked"] = rng.randint(1, min(3, s["found"]))
    if s["picked"] and depth > 2:
        s["checked"] = rng.choice([s["picked"], s["picked"], rng.randint(0, s["picked"])])
    if s["checked"]:
        s["problems"] = rng.choice([0, 0, 1, 1, 2, 3])
    s["asked"] = rng.random() < 0.55
    s["answered"] = s["asked"] and rng.random() < 0.55
    s["written"] = depth > 3 and rng.random() < 0.7
    s["sent"] = s["written"] and rng.random() < 0.5
    s["failed"] = s["searched"] and rng.random() < 0.4
    s["total"] = rng.choice([5, 8, 10, 12, 20])
    near = [s["total"], s["total"] - 1, 1, 2, rng.randint(0, s["total"])]
    s["used"] = rng.choice(near)
    steps = ["S"] * s["searched"] + ["pick"] * bool(s["picked"]) + ["C"] * bool(s["checked"])
    s["steps"] = steps + ["write"] * s["written"] + ["send"] * s["sent"]
    return s


def done(s: State, w: State) -> list[str]:
    """The step names that have been done."""
    names = {"S": w["S"], "C": w["C"], "write": f"write the {w['R']}", "send": "send"}
    return [names.get(step, step) for step in s["steps"]]


def flow_log(s: State, w: State, rng: random.Random) -> list[str]:
    """The state as a log of steps."""
    notes = {"S": f"{s['found']} {w['N']}", "pick": f"{s['picked']}", "C": (
        f"{s['checked']} of {s['picked']}, problems: {s['problems'] or 'none'}")}  # fmt: skip
    arrow = rng.choice([" -> ", ": ", " = "])
    log = [name + (arrow + notes[step] if step in notes else "")
           for name, step in zip(done(s, w), s["steps"], strict=True)]  # fmt: skip
    lines = ["Steps done: " + ("; ".join(log) or rng.choice(["none", "none so far", "-"]))]
    if s["steps"]:
        ended = rng.choice(["failed", "error"]) if s["failed"] else rng.choice(["ok", "success"])
        lines.append(f"Last result: {ended}")
    return lines


def flow_fields(s: State, w: State, rng: random.Random) -> list[str]:
    """The state as fields."""
    if not s["searched"]:
        lines = [f"{w['S']}: " + rng.choice(["not run", "pending", "not started", "none"])]
    else:
        lines = [f"{w['S']}: done", f"{w['N']} found: {s['found']}"]
        lines.append(f"picked: {s['picked'] or rng.choice(['none', '0'])}")
    if s["picked"]:
        lines.append(f"{w['d']}: {s['checked']} of {s['picked']}")
    if s["checked"]:
        lines.append(f"problems: {s['problems'] or rng.choice(['none', '0'])}")
    if s["searched"]:
        lines.append("last step: " + ("failed" if s["failed"] else "ok"))
    if s["written"] or rng.random() < 0.5:
        lines.append(f"{w['R']}: " + ("written" if s["written"] else "not written"))
    if s["written"]:
        lines.append(f"{w['out']}: " + ("yes" if s["sent"] else "no"))
    return lines


def flow_prose(s: State, w: State, _rng: random.Random) -> list[str]:
    """The state as sentences."""
    if not s["searched"]:
        return [f"The {w['S']} has not been run."]
    found = f"found {s['found']} {w['N']}" if s["found"] else "found nothing"
    lines = [f"The {w['S']} was run and {found}."]
    if s["found"]:
        some = f"{s['picked']} of them picked" if s["picked"] else "none of them picked"
        lines.append(some.capitalize() + ".")
    if s["picked"]:
        lines.append(f"{s['checked'] or 'None'} of the picked {w['N']} {w['d']}.")
    if s["checked"]:
        lines.append(f"The {w['C']} reported {s['problems'] or 'no'} problem(s).")
    lines.append(f"The last step {'failed' if s['failed'] else 'went well'}.")
    if s["written"]:
        lines.append(f"The {w['R']} is written{' and ' + w['out'] if s['sent'] else ''}.")
    return lines


def flow_context(s: State, w: State, rng: random.Random) -> str:
    """The whole context of a flow state."""
    layout = rng.choice([flow_log, flow_fields, flow_prose])
    lines = layout(s, w, rng)
    if s["asked"]:
        end = "answered" if s["answered"] else rng.choice(["no answer yet", "waiting"])
        lines.append(f"question to the {w['P']}: {end}")
    else:
        lines.append(rng.choice(["questions asked: none", f"question to the {w['P']}: not asked"]))
    lines.append(rng.choice([f"budget: {s['used']} of {s['total']} {w['U']} used",
                             f"{w['U']} used: {s['used']}/{s['total']}"]))  # fmt: skip
    lines.append(f"input: {'refused' if s['refused'] else 'accepted'}")
    if layout is flow_prose and rng.random() < 0.5:
        return " ".join(line if line.endswith(".") else line.capitalize() + "." for line in lines)
    mark = "- " if layout is flow_fields and rng.random() < 0.7 else ""
    return "\n".join(mark + line for line in lines)


Holds = Callable[[State], Any]
FLOW_CONDITIONS: list[tuple[str, Holds]] = [
    ("the {S} has not been run yet|no {S} has been done so far|the {S} is still to be done",
     lambda s: not s["searched"]),
    ("the {S} has been run|the {S} is done|there has been a {S}", lambda s: s["searched"]),
    ("the {S} found nothing|the {S} was run but returned no {N}|nothing was found by the {S}",
     lambda s: s["searched"] and not s["found"]),
    ("at least one {n} was found|there are {N} to choose from|the {S} found something",
     lambda s: s["found"] > 0),
    ("exactly one {n} was found|the {S} found a single {n}", lambda s: s["found"] == 1),
    ("several {N} were found|more than one {n} was found", lambda s: s["found"] > 1),
    ("{N} were found but none has been picked|there are {N} and no {n} is picked yet",
     lambda s: s["found"] and not s["picked"]),
    ("a {n} has been picked|at least one {n} is picked", lambda s: s["picked"] > 0),
    ("no {n} has been picked|nothing is picked yet", lambda s: not s["picked"]),
    (("a picked {n} has not been {d} yet|some picked {N} are still not {d}|the {C} is not finished "
     "for all picked {N}"), lambda s: s["picked"] > s["checked"]),
    ("every picked {n} has been {d}|all picked {N} have been {d}",
     lambda s: s["picked"] and s["checked"] == s["picked"] if s["picked"] else None),
    ("the {C} reported a problem|the {C} found something wrong|there are problems",
     lambda s: s["problems"] > 0),
    ("the {C} reported no problem|the {C} was done and nothing was wrong",
     lambda s: s["checked"] and not s["problems"] if s["checked"] else None),
    ("everything has been {d} and no problem is left|all picked {N} are {d} without a problem",
     lambda s: s["picked"] and s["checked"] == s["picked"] and not s["problems"]),
    ("more than one problem was reported|there are at least two problems",
     lambda s: s["problems"] > 1),
    (("a question is waiting for an answer|the {P} was asked but has not answered|"
     "a question to the {P} is still open"), lambda s: s["asked"] and not s["answered"]),
    ("the {P} has answered the question|an answer of the {P} has come in|the question was answered",
     lambda s: s["answered"]),
    ("the {P} has not been asked anything yet|no question has been asked",
     lambda s: not s["asked"]),
    ("the budget is used up|no {U} are left", lambda s: s["used"] >= s["total"]),
    ("the budget is nearly used up|the budget is almost gone", lambda s: (
        None if s["used"] >= s["total"] or 0.5 < s["used"] / s["total"] < 0.8
        else s["used"] / s["total"] >= 0.8)),
    ("more than half of the budget is used|more than half of the {U} are gone",
     lambda s: s["used"] * 2 > s["total"]),
    ("there is budget left|some {U} are left", lambda s: s["used"] < s["total"]),
    ("fewer than three {U} are left|less than 3 {U} remain",
     lambda s: s["total"] - s["used"] < 3),
    ("the input was refused|the input has been turned down", lambda s: s["refused"]),
    ("the input was accepted|the input has not been refused", lambda s: not s["refused"]),
    ("nothing has been done yet|no step has been done so far", lambda s: not s["steps"]),
    ("at least two steps have been done|more than one step is done",
     lambda s: len(s["steps"]) > 1),
    ("the last step failed|the last result was an error",
     lambda s: s["failed"]),
    ("the last step went well|the last result is fine",
     lambda s: s["steps"] and not s["failed"]),
    ("the {R} has been written|the {R} is written", lambda s: s["written"]),
    ("the {R} is written but not {out}|the {R} has been written and still has to be {out}",
     lambda s: s["written"] and not s["sent"]),
    ("the {R} has been {out}|the {R} is already {out}", lambda s: s["sent"]),
    ("the {R} is still missing|the {R} has not been written", lambda s: not s["written"]),
    ("the answer is there and the {S} has not been run",
     lambda s: s["answered"] and not s["searched"]),
    ("nothing was found although the {S} was run, and no question has been asked",
     lambda s: s["searched"] and not s["found"] and not s["asked"]),
    ("the {S} is done and no question is waiting",
     lambda s: s["searched"] and not (s["asked"] and not s["answered"])),
    ("the {C} reported a problem or the last step failed",
     lambda s: s["problems"] or s["failed"]),
    ("the input is refused or the budget is used up",
     lambda s: s["refused"] or s["used"] >= s["total"]),
]  # fmt: skip


def flows(rng: random.Random, balance: Any) -> Iterator[dict]:
    """An agent's next step: now and then the same flow at two points."""
    while True:
        words, lines = flow_names(rng), S.instruction(rng)
        for _ in range(rng.choice([1, 2])):
            state = flow_state(rng)
            atoms = []
            for bank, holds in FLOW_CONDITIONS:
                truth = holds(state)
                banks = V.pipes(bank) if truth is not None else []
                atoms += [S.Atom(b, b.format(**words), bool(truth)) for b in banks]
            context = flow_context(state, words, rng)
            yield S.rule_row("flows", lines, context, balance.pick(rng, atoms, rng.randint(5, 8)))


# --- items under review -----------------------------------------------------------------------


def kind_names(rng: random.Random, number: int) -> list[str]:
    """Different names of one to four words, some of them alike."""
    names: list[str] = []
    adjectives = V.KIND_ADJECTIVES.split()
    while len(names) < number:
        noun = rng.choice(V.pipes(V.KIND_NOUNS))
        if names and rng.random() < 0.3:
            noun = " ".join(names[-1].split()[1:]) or noun
        name = f"{rng.choice(adjectives)} {noun}" if rng.random() < 0.5 else noun
        if name not in names and len(name.split()) < 5:
            names.append(name)
    return names


def review_state(rng: random.Random) -> State:
    """One item with what a reviewer knows of it."""
    kinds = kind_names(rng, 9)
    return {
        "item": f"{rng.choice(V.NONSENSE)}-{rng.randint(1, 99)}",
        "kinds": kinds, "kind": kinds[0],
        "confidence": rng.choice(["low", "medium", "high"]),
        "valid": rng.random() < 0.5,
        "conflict": rng.choice([None, f"{rng.choice(V.NONSENSE)}-{rng.randint(1, 99)}"]),
        "missing": rng.random() < 0.4,
        "source": rng.choice([None, rng.choice(["page 3", "row 12", "first note", "line 8"])]),
        "decided": rng.choice([None, "keep", "drop"]),
        "score": rng.randint(5, 95),
    }  # fmt: skip


def review_context(s: State, rng: random.Random) -> str:
    """The item as fields or in words."""
    none = rng.choice(["none", "-", "nothing"])
    pairs = [
        ("item", s["item"]), ("kind", s["kind"]),
        ("found", rng.choice(["no", "nothing"]) if s["missing"] else "yes"),
        ("confidence", s["confidence"]), ("valid", "yes" if s["valid"] else "no"),
        ("conflicts with", s["conflict"] or none), ("source", s["source"] or none),
        ("decision", s["decided"] or rng.choice(["none", "open", "none yet"])),
        ("score", f"{s['score'] / 100:.2f}"),
    ]  # fmt: skip
    style = rng.choice(["; ", "\n", "\n- ", " | ", "="])
    if style == "=":
        return "\n".join(f"{k.replace(' ', '_')} = {v}" for k, v in pairs)
    return ("- " if style == "\n- " else "") + style.join(f"{k}: {v}" for k, v in pairs)


def review_atoms(s: State, rng: random.Random) -> list[Any]:
    """Conditions on an item."""
    others = s["kinds"][1:]
    some = rng.sample(others, rng.choice([2, 3, 3, 4, 5, 6, 7]))
    if rng.random() < 0.5:
        some[rng.randrange(len(some))] = s["kind"]
    names, within, k = ", ".join(some), s["kind"] in some, rng.choice([30, 50, 60, 70, 80])
    pick = rng.choice([s["kind"], rng.choice(others)])
    level = rng.choice(["low", "medium", "high"])
    table: list[tuple[str, str, Any]] = [
        ("v one", f"the kind is one of {names}", within),
        ("v any", f"the kind of the item is any of these: {names}", within),
        ("v none", f"the kind is none of {names}", not within),
        ("v expected", f"the item is missing and its kind is one of {names}",
         within and s["missing"]),
        ("v is", f"the kind is {pick}", pick == s["kind"]),
        ("v not kind", f"the kind is not {pick}", pick != s["kind"]),
        ("v c " + level, f"the confidence is {level}", s["confidence"] == level),
        ("v nc " + level, f"the confidence is not {level}", s["confidence"] != level),
        ("v conflict", "the item conflicts with another one", s["conflict"]),
        ("v no conflict", "there is no conflict with another item", not s["conflict"]),
        ("v valid", "the item is valid", s["valid"]),
        ("v invalid", "it is not valid", not s["valid"]),
        ("v missing", "the item was not found", s["missing"]),
        ("v found", "the item was found", not s["missing"]),
        ("v kind missing", f"the {s['kind']} is expected but missing", s["missing"]),
        ("v source", "a source is given", s["source"]),
        ("v no source", "no source is given", not s["source"]),
        ("v decided", "a decision has been made", s["decided"]),
        ("v undecided", "the item has not been decided yet", not s["decided"]),
        ("v kept", "the decision is to keep it", s["decided"] == "keep"),
        ("v dropped", "the decision is to drop the item", s["decided"] == "drop"),
        ("v score", f"the score is below {k / 100}", s["score"] < k),
        ("v score up", f"the score is at least {k / 100}", s["score"] >= k),
        ("v both", "it is valid, found and without a conflict",
         s["valid"] and not s["missing"] and not s["conflict"]),
        ("v doubt", f"it is not valid or the confidence is {level}",
         not s["valid"] or s["confidence"] == level),
        ("v sure", f"it is valid but the confidence is {level}",
         s["valid"] and s["confidence"] == level),
    ]  # fmt: skip
    return [S.Atom(t, text, bool(truth)) for t, text, truth in table]


def reviews(rng: random.Random, balance: Any) -> Iterator[dict]:
    """Items under review."""
    while True:
        state = review_state(rng)
        lines = rng.choice([S.instruction(rng), "Review each item and decide what to do with it.",
                            "One item is reviewed at a time. Read its fields."])  # fmt: skip
        atoms = review_atoms(state, rng) + review_atoms(state, rng)
        row = S.rule_row("reviews", lines, review_context(state, rng),
                         balance.pick(rng, atoms, rng.randint(5, 7)))  # fmt: skip
        yield row


# --- definitions in the instructions ----------------------------------------------------------

Case = tuple[str, str, list[tuple[str, str, bool]]]


def define_size(rng: random.Random, rule: random.Random) -> Case:
    """`large means more than 40`."""
    _, single = rng.choice(V.triples(V.THINGS))
    word = rng.choice(["large", "full", "big", "glorpy", "heavy", "busy", "plentiful", "blick"])
    unit = rng.choice(["grams", "places", "points", "minutes", "visits", "units"])
    n = rng.randint(3, 90)
    k = max(1, n + rule.choice([-20, -10, -5, -2, 2, 5, 10, 20]))
    up = rule.random() < 0.5
    means = rule.choice(
        [
            f"Any {single} is {word} when it has {'more' if up else 'fewer'} than {k} {unit}.",
            f'"{word}" means {"above" if up else "below"} {k} {unit}.',
        ]
    )
    is_so = n > k if up else n < k
    return (
        means,
        f"{single}: {n} {unit}",
        [
            ("def size", f"the {single} is {word}", is_so),
            ("def not size", f"the {single} is not {word}", not is_so),
        ],
    )


def define_group(rng: random.Random, rule: random.Random) -> Case:
    """`red and blue count as warm`."""
    name = rng.choice(sorted(V.CATEGORIES))
    values = V.CATEGORIES[name].split()
    word = rng.choice([*V.NONSENSE, "special", "preferred", "group one", "restricted", "plain"])
    value = rng.choice(values)
    some = rule.sample(values, rule.randint(2, max(2, len(values) // 2 + 1)))
    means = rule.choice(
        [
            f"The {name} counts as {word} when it is {S.join_or(some)}.",
            f"{word} = {name} {S.join_or(some)}.",
        ]
    )
    return (
        means,
        f"{name}: {value}",
        [
            ("def group", f"the {name} is {word}", value in some),
            ("def not group", f"the {name} does not count as {word}", value not in some),
        ],
    )


def define_ready(rng: random.Random, rule: random.Random) -> Case:
    """`ready means that A and B are done`."""
    _, single = rng.choice(V.triples(V.THINGS))
    verbs = rng.sample(V.triples(V.VERBS), 4)
    some = [v for v in verbs if rng.random() < 0.6]
    word = rng.choice(["ready", "finished", "in order", *V.NONSENSE[:6]])
    needed = rule.sample(verbs, rule.randint(1, 2))
    means = f"The {single} is {word} once it has been {' and '.join(v[1] for v in needed)}."
    is_so = all(v in some for v in needed)
    state = ", ".join(v[1] for v in some) or "nothing"
    return (
        means,
        f"done with the {single}: {state}",
        [
            ("def ready", f"the {single} is {word}", is_so),
            ("def not ready", f"the {single} is not {word} yet", not is_so),
        ],
    )


def define_hours(rng: random.Random, rule: random.Random) -> Case:
    """`open from 9 to 17`."""
    place = rng.choice(["desk", "shop", "counter", "hall", "workshop", "studio"])
    now, minute = rng.randint(4, 23), rng.choice(["05", "10", "30", "45"])
    start, end = rule.randint(6, 14), rule.randint(15, 22)
    means = rule.choice(
        [
            f"The {place} is open from {start}:00 to {end}:00.",
            f"Opening hours of the {place}: {start}-{end}.",
        ]
    )
    is_so = start <= now < end
    return (
        means,
        f"time: {now}:{minute}",
        [
            ("def open", f"the {place} is open now", is_so),
            ("def closed", f"the {place} is closed at this time", not is_so),
        ],
    )


def define_turn(rng: random.Random, rule: random.Random) -> Case:
    """`who may decide`."""
    people = rng.sample(V.PEOPLE.split(), 5)
    who = people[0]
    act = rng.choice(["approve an order", "open the gate", "change the list", "send a reply"])
    some = rule.sample(people[1:], rule.randint(1, 3))
    if rule.random() < 0.5:
        some[rule.randrange(len(some))] = who
    means = f"Only {S.join_or(some)} may {act}."
    return (
        means,
        f"asked by: {who}; wish: {act}",
        [
            ("def may", f"the one who asks may {act}", who in some),
            ("def may not", f"the one who asks is not allowed to {act}", who not in some),
        ],
    )


def define_alias(rng: random.Random, rule: random.Random) -> Case:
    """`glorp stands for ...`: a word whose meaning is a fact of the state."""
    past, plural = rng.choice(V.triples(V.VERBS))[1], rng.choice(V.triples(V.THINGS))[0]
    other = rng.choice([v[1] for v in V.triples(V.VERBS) if v[1] != past])
    marks = {past: rng.random() < 0.5}
    marks[other] = not marks[past]
    word = rng.choice(V.NONSENSE)
    chosen, flip = rule.choice([past, other]), rule.random() < 0.3
    means = f'"{word}" means that the {plural} have {"not " if flip else ""}been {chosen}.'
    is_so = marks[chosen] != flip
    state = "; ".join(f"{plural} {k}: {'yes' if v else 'no'}" for k, v in marks.items())
    return (
        means,
        state,
        [
            ("def alias", f"{word} holds", is_so),
            ("def not alias", f"{word} does not hold", not is_so),
        ],
    )


DEFINITIONS = [
    define_size, define_group, define_ready, define_hours, define_turn, define_alias,
]  # fmt: skip


def definitions(rng: random.Random, balance: Any) -> Iterator[dict]:
    """Rows whose instructions say what the words of the conditions mean; often two of a kind."""
    while True:
        chosen = [(make, rng.random()) for make in rng.sample(DEFINITIONS, rng.randint(1, 3))]
        cases = [make(random.Random(key), rng) for make, key in chosen]
        more = S.world_facts(rng)[: rng.randint(1, 3)]
        rest, lead = S.render(more, rng), S.instruction(rng)
        single, _ = S.conditions(more, rng)
        for turn in range(rng.choice([1, 2, 2])):
            if turn:  # the same context under another definition
                cases = [redefined(*at, case, rng) for at, case in zip(chosen, cases, strict=True)]
            lines = " ".join([lead, *(case[0] for case in cases)])
            context = "\n".join([*(case[1] for case in cases), rest])
            atoms = [S.Atom(*atom) for case in cases for atom in case[2]]
            picked = balance.pick(rng, atoms, 4)
            picked += balance.pick(rng, single, max(1, 5 - len(picked)))
            yield S.rule_row("definitions", lines, context, picked)


def redefined(
    make: Callable[[random.Random, random.Random], Case], key: float, case: Case, rng: random.Random
) -> Case:
    """The same facts under a definition that turns the answers round, when one comes up."""
    for _ in range(12):
        other = make(random.Random(key), rng)
        if other[2][0][2] != case[2][0][2]:
            return other
    return case
