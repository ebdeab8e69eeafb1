from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seamline.loading import load_module
from seamline.tools.pieces import PiecesInput


@pytest.mark.parametrize("tool", ["clause_type", "nda_check", "unfair_terms"])
@pytest.mark.parametrize(("start", "end"), [(2, 9), (3, 3), (4, 2)])
def test_a_clause_outside_the_text_is_refused(root: Path, tool: str, start: int, end: int) -> None:
    given: Any = load_module(root / "tools" / tool / "tool.py").Input
    assert PiecesInput in given.__mro__
    with pytest.raises(ValueError, match=rf"clause {start}\.\.{end} is not inside the text of 5"):
        given(text="short", clauses=[{"start": start, "end": end}])
    assert given(text="short", clauses=[{"start": 0, "end": 5}]).clauses[0].heading == ""
