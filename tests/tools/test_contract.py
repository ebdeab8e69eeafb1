"""What a tool may hand to a review."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from seamline.tools.contract import FactValue, ReviewItem


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"price": "cheap"}, "item 'soap' has 'price' in both `facts` and `about`"),
        ({"words": "\ud800"}, "item 'soap', 'words': it holds half of a surrogate pair"),
        ({"\ud800": 1}, "half of a surrogate pair"),
    ],
)
def test_an_item_that_a_question_could_not_name_is_refused(
    about: dict[str, FactValue], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        ReviewItem(key="soap", facts={"price": 4}, about=about)
