from __future__ import annotations

import pytest
from pydantic import ValidationError

from seamline.errors import SkillError
from seamline.models.contracts import SkillContract
from seamline.models.protocol import Choice, DecideRequest

JUDGE = SkillContract(
    read="branches",
    system="You judge.",
    context="Text: {{ text }}",
    choice="{{ title }}",
    frames={"options": "{name}: {text}?"},
)


def test_a_row_becomes_the_request_that_is_framed() -> None:
    request = JUDGE.request({"text": "a cough"}, [{"title": "Cough"}, {"title": "Fever {x}"}])
    assert request.context == "Text: a cough"
    assert request.instructions == "You judge."
    assert JUDGE.framed(request) == ["0: Cough?", "1: Fever {x}?"]


def test_a_missing_variable_is_named_with_what_was_given() -> None:
    with pytest.raises(SkillError, match=r"context template .*'text' is undefined.*note"):
        JUDGE.request({"note": "a cough"})


def test_a_question_it_was_not_trained_for_is_refused() -> None:
    request = DecideRequest(ask="rules", context="x", choices=(Choice(name="1", text="y"),))
    with pytest.raises(SkillError, match="does not answer 'rules' questions; it answers: options"):
        JUDGE.framed(request)


def test_templates_reach_no_python() -> None:
    contract = JUDGE.model_copy(update={"context": "{{ text.__class__.__mro__ }}"})
    with pytest.raises(SkillError, match="does not render"):
        contract.request({"text": "x"})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"read": "branches"}, "needs `frames`"),
        ({"read": "branches", "frames": {"rules": "met?"}}, "must contain {text}"),
        ({"read": "labels", "labels": {"a": "x"}}, "at least two labels"),
        ({"read": "labels", "labels": {"a": "x", "b": "x"}}, "share a verbaliser"),
        ({"read": "labels", "labels": {"a": "x", "b": "y"}, "none_label": "c"}, "not among"),
    ],
)
def test_contracts_that_cannot_work_are_refused(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        SkillContract.model_validate(fields)
