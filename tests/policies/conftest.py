"""A small policy, as text to be changed and as a project on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seamline.policies import Policy, PolicyStore, parse_policy

PLAN = """---
name: desk/plan
version: 1.0.0
kind: plan
description: Which step comes next.
input:
  schema: {type: object, properties: {facts: {type: string}}, required: [facts]}
output:
  schema: {type: string, enum: [search, ask, finish]}
config: {resolve: first_match, threshold: 0.5}
rules:
  - when: The catalogue has not been searched yet
    then: search
    because: nothing looked up
  - when: The search found nothing
    then: ask
    say: "Nothing under {{ search_word }}."
otherwise: finish
changelog: [{version: 1.0.0, note: first}]
---
system:
# Role
You plan.
# Constraints
One step.
user:
State:
{{ facts }}
"""

CHOOSE = """---
name: desk/choose
version: 1.0.0
kind: choose
description: Which tool takes the step.
input:
  schema: {type: object, properties: {step: {type: string}}, required: [step]}
tools: [catalogue, phone]
---
system:
# Role
You choose.
user:
Step: {{ step }}
"""

GUARD = """---
name: desk/guard
version: 1.0.0
kind: guard
description: Whether the text is taken on.
input:
  schema: {type: object, properties: {facts: {type: string}}, required: [facts]}
output:
  schema: {type: string, enum: [accept, refuse]}
checks:
CHECKS
otherwise: accept
---
system:
You guard.
user:
{{ facts }}
"""


@pytest.fixture
def plan_text() -> str:
    return PLAN


@pytest.fixture
def choose_text() -> str:
    return CHOOSE


@pytest.fixture
def parse() -> Callable[[str], Policy]:
    """Parses a text as the file that its name and version stand for by default."""

    def run(text: str) -> Policy:
        name = "choose" if "desk/choose" in text else "guard" if "desk/guard" in text else "plan"
        return parse_policy(text, path=Path("policies", "desk", name, "1.0.0.md"))

    return run


@pytest.fixture
def plan(parse: Callable[[str], Policy]) -> Policy:
    return parse(PLAN)


@pytest.fixture
def choose(parse: Callable[[str], Policy]) -> Policy:
    return parse(CHOOSE)


@pytest.fixture
def guard(parse: Callable[[str], Policy]) -> Callable[[str], Policy]:
    """A guard with the given checks, each one line of flow YAML."""

    def run(*checks: str) -> Policy:
        rows = "\n".join(f"  - {check}" for check in checks)
        return parse(GUARD.replace("CHECKS", rows))

    return run


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Writes a version of the plan policy into the project; returns its path."""

    def run(version: str = "1.0.0", text: str = PLAN, name: str = "desk/plan") -> Path:
        path = tmp_path / "policies" / name / f"{version}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = text.replace("version: 1.0.0\n", f"version: {version}\n")
        path.write_text(text.replace("name: desk/plan\n", f"name: {name}\n"), encoding="utf-8")
        return path

    return run


@pytest.fixture
def store(tmp_path: Path, put: Callable[..., Path]) -> PolicyStore:
    """A store with one draft, desk/plan@1.0.0."""
    put()
    return PolicyStore(tmp_path / "policies")
