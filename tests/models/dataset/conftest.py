"""The data stage over a folder of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from seamline.models.dataset.cleaning import PiiFilter
from seamline.models.dataset.stage import Prepared, prepare
from seamline.models.evaluation.declared import Evaluation
from seamline.models.recipes import Recipe
from seamline.policies.pii import mask_pii

from .mails import declaration, find, no_tick, write_rows


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Prepared]:
    """Prepares a recipe; `files` are written to the data folder first."""
    data = tmp_path / "data"
    data.mkdir()

    def run(
        recipe: dict[str, Any] | None = None,
        *,
        files: Mapping[str, Iterable[Mapping[str, Any]] | str] | None = None,
        build: Callable[[], Iterable[dict[str, Any]]] | None = None,
        evaluations: Mapping[str, Evaluation] | None = None,
        show_texts: bool = False,
    ) -> Prepared:
        for name, content in (files or {}).items():
            if isinstance(content, str):
                (data / name).write_text(content, encoding="utf-8")
            else:
                write_rows(data / name, content)
        return prepare(
            Recipe.model_validate(recipe or declaration()),
            data=data,
            into=tmp_path / "work",
            pii=PiiFilter(find, mask_pii),
            build=build,
            evaluations=evaluations or {},
            show_texts=show_texts,
            tick=no_tick,
        )

    return run
