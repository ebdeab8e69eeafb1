"""An adapter that is trained and not packaged, answering as if it were."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from seamline.cli import common
from seamline.cli.versions import base_of
from seamline.errors import SkillError

if TYPE_CHECKING:
    from seamline.models.bases import BaseSpec
    from seamline.models.skills import Skill, SkillStore
    from seamline.project import Project

__all__ = ["answering", "unpackaged"]


@contextlib.contextmanager
def answering(opened: Project, base: BaseSpec, skills: SkillStore) -> Iterator[Project]:
    """The project with a local model of this base and these skills, which is let go afterwards."""
    from seamline.models.engine import LocalModel
    from seamline.project import Project

    project = Project(opened.root)
    project.local_model = model = LocalModel(base, skills)
    try:
        yield project
    finally:
        model.close()


@contextlib.contextmanager
def unpackaged(opened: Project, folder: Path, work: Path) -> Iterator[tuple[Project, Skill]]:
    """The version in `folder` with the adapter that was trained in `work`, and who answers with it.

    It is packaged into a temporary folder: contract of the recipe, calibration of `work`. The
    version's own folder is left as it is.

    Raises:
        SkillError: `work` holds no adapter, or one that another recipe made.
        ConfigError: The base is not declared.
    """
    from rich.text import Text

    from seamline.models.checkpoints import require_made_by
    from seamline.models.making import adapter_in
    from seamline.models.packaging import package
    from seamline.models.recipes import Recipe
    from seamline.models.skills import Calibration, SkillStore

    recipe = Recipe.load(folder)
    base = base_of(opened, recipe)
    ref = f"{recipe.skill}@{recipe.version}"
    if adapter_in(work) is None:
        raise SkillError(
            f"{work} holds no adapter; train it with `seamline train {ref} --data FOLDER "
            f"--work {work}`, or name the folder where it was trained"
        )
    require_made_by(work, recipe, base)
    with tempfile.TemporaryDirectory(prefix="seamline-unpackaged-") as name:
        into = Path(name) / recipe.skill / recipe.version
        into.mkdir(parents=True)
        shutil.copyfile(folder / "recipe.yaml", into / "recipe.yaml")
        skill = package(into, work, base, work=work).skill
        if recipe.calibration.fixed is None and skill.spec.calibration == Calibration():
            told = f"warning: nothing in {work} calibrates the adapter; `seamline train {ref} "
            told += f"--data FOLDER --work {work} --only calibrate` does"
            common.err().print(Text(told, style="yellow"), soft_wrap=True)
        with answering(opened, base, SkillStore(Path(name))) as project:
            yield project, skill
