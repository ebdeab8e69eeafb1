"""The evaluations that a skill's own `evaluation.py` declares."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from seamline.errors import SkillError
from seamline.loading import load_module
from seamline.models.contracts import SkillContract
from seamline.models.evaluation.declared import Evaluation
from seamline.models.skills import Skill

__all__ = ["evaluations", "evaluations_in"]


def evaluations(skill: Skill, folder: Path | None = None) -> dict[str, Evaluation]:
    """How a version is evaluated, by name; the first is the one that its gate is about.

    One that has no name of its own is called `main`.

    Args:
        skill: The version that is evaluated.
        folder: The version's folder in the project, where `skill` lies in another one.

    Raises:
        SkillError: The skill does not say.
    """
    where = folder or skill.path
    found = evaluations_in(where, skill.spec.contract)
    if not found:
        raise SkillError(
            f"{skill.ref} does not say how it is evaluated: write "
            f"{where / 'evaluation.py'} with a function "
            "`evaluation(contract) -> Evaluation` (see docs/evaluation.md)"
        )
    return found


def evaluations_in(folder: Path, contract: SkillContract) -> dict[str, Evaluation]:
    """As `evaluations`, of a version that need not be packaged yet; none where it does not say.

    Raises:
        SkillError: Its `evaluation.py` gives something else.
    """
    own = folder / "evaluation.py"
    file = own if own.is_file() else folder.parent / own.name
    if not file.is_file():
        return {}
    make = getattr(load_module(file), "evaluation", None)
    found = make(contract) if callable(make) else None
    named = {"main": found} if isinstance(found, Evaluation) else found
    if (
        not isinstance(named, Mapping)
        or not named
        or not all(isinstance(one, Evaluation) for one in named.values())
    ):
        raise SkillError(
            f"{file} has no function `evaluation` that gives an Evaluation, or several by name; "
            "add it"
        )
    return dict(named)
