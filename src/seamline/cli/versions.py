"""Which version of a skill a command means: its folder, and the base of its recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from seamline.errors import ConfigError, SkillError

if TYPE_CHECKING:
    from seamline.models.bases import BaseSpec
    from seamline.models.recipes import Recipe
    from seamline.project import Project

__all__ = ["base_of", "folder_of", "folder_to_train"]


def folder_of(opened: Project, reference: str) -> Path:
    """The folder of a version by name, version or label; it may hold no more than a recipe.

    Raises:
        SkillError: There is no such version or label.
    """
    name, _, version = reference.partition("@")
    if version in opened.skills.recipes(name):
        return opened.skills.root / name / version
    return opened.skills.get(reference).path


def folder_to_train(opened: Project, reference: str) -> Path:
    """The folder that `seamline train` works on: SKILL@VERSION, or the newest version of SKILL.

    Raises:
        SkillError: There is no such folder; or no version is named, and the newest has been
            production.
    """
    name, at, version = reference.partition("@")
    skills, known = opened.skills, opened.skills.recipes(name)
    if not at and known:
        if not skills.has_been_production(name, known[-1]):
            return skills.root / name / known[-1]
        raise SkillError(
            f"the newest version of {name} that has a recipe, {known[-1]}, has been production and "
            f"does not change. Write the recipe of a newer one, or name a version: "
            f"{', '.join(_told(opened, name))}; e.g. `seamline train {name}@{known[-1]}` trains "
            "it again, to see whether its numbers come out"
        )
    folder = skills.root / name / version
    if not version or not folder.is_dir():
        raise SkillError(
            f"no folder for skill {reference!r}; write SKILL@VERSION, and its recipe.yaml "
            f"under {skills.root}"
        )
    return folder


def base_of(opened: Project, recipe: Recipe) -> BaseSpec:
    """The base that a recipe names.

    Raises:
        ConfigError: It is not declared.
    """
    try:
        return opened.bases[recipe.base]
    except KeyError as error:
        known = ", ".join(opened.bases) or "none"
        raise ConfigError(
            f"{recipe.skill}@{recipe.version} needs base {recipe.base!r}; declared are: {known}"
        ) from error


def _told(opened: Project, name: str) -> list[str]:
    """A skill's versions that have a recipe, and which of them have been production."""
    skills = opened.skills
    return [
        f"{version} (has been production)" if skills.has_been_production(name, version) else version
        for version in skills.recipes(name)
    ]
