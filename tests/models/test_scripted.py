"""The scripted model: every form of answer, and what it says when the script has none."""

from __future__ import annotations

import asyncio

import pytest

from seamline import errors
from seamline.models.protocol import (
    Choice,
    DecideRequest,
    DecideResponse,
    Model,
    PromptRef,
    WriteRequest,
)
from seamline.models.scripted import Answer, ScriptedModel

PLAN = PromptRef(name="shop/plan", version="1.2.0", digest="sha256:0")
CHOICES = (
    Choice(name="refund", text="The item is broken"),
    Choice(name="wait", text="The parcel is on its way"),
)


def request(prompt: PromptRef | None = PLAN, *, labels: bool = False) -> DecideRequest:
    return DecideRequest(
        ask="labels" if labels else "rules", context="state", choices=CHOICES, prompt=prompt
    )


def decide(
    model: Model, *requests: DecideRequest, skill: str | None = None
) -> list[DecideResponse]:
    return asyncio.run(model.decide(requests, skill=skill))


@pytest.mark.parametrize(
    ("answer", "scores"),
    [
        (0, (1.0, 0.0)),
        (1, (0.0, 1.0)),
        ("wait", (0.0, 1.0)),
        ("The item is broken", (1.0, 0.0)),
        ((0.3, 0.9), (0.3, 0.9)),
        ({"wait": 0.7}, (0.0, 0.7)),
        (None, (0.0, 0.0)),
    ],
)
def test_forms_of_answer(answer: Answer, scores: tuple[float, ...]) -> None:
    [response] = decide(ScriptedModel({"shop/plan": answer}), request())
    assert response.scores == scores
    assert response.lineage == {"model": "scripted"}


@pytest.mark.parametrize("answer", [2, -1, True, "ship", (0.1,), {"ship": 1.0}])
def test_an_answer_that_fits_no_choice_is_refused(answer: Answer) -> None:
    with pytest.raises(errors.ModelError, match=r"shop/plan@1\.2\.0 is scripted .* refund, wait"):
        decide(ScriptedModel({"shop/plan": answer}), request())


def test_a_list_is_consumed_in_order_and_then_missed() -> None:
    script: dict[str, Answer | list[Answer]] = {"shop/plan": [0, "wait"]}
    model = ScriptedModel(script)
    first, second = decide(model, request(), request())
    assert (first.scores, second.scores) == ((1.0, 0.0), (0.0, 1.0))
    with pytest.raises(errors.ModelError, match="no scripted answer left under 'shop/plan'"):
        decide(model, request())
    assert script == {"shop/plan": [0, "wait"]}


def test_an_exact_version_comes_before_the_name() -> None:
    model = ScriptedModel({"shop/plan": 0, "shop/plan@1.2.0": 1})
    assert decide(model, request())[0].scores == (0.0, 1.0)


def test_a_skill_answers_by_its_name_with_its_own_labels() -> None:
    model = ScriptedModel({"mood": {"glad": 0.9, "sad": 0.1}})
    asked = DecideRequest(ask="labels", context="what a day")
    [response] = decide(model, asked, skill="mood")
    assert (response.labels, response.scores) == (("glad", "sad"), (0.9, 0.1))
    assert model.identity("mood") == {"model": "scripted", "skill": "mood"}


def test_an_unanswered_prompt_is_named_with_what_is_scripted() -> None:
    model = ScriptedModel({"shop/review": 0})
    said = r"shop/plan@1\.2\.0 has no scripted answer; scripted are: shop/review"
    with pytest.raises(errors.ModelError, match=said):
        decide(model, request())
    with pytest.raises(errors.ModelError, match="skill mood has no scripted answer"):
        decide(model, request(None), skill="mood")


def test_calls_are_kept_in_order() -> None:
    model = ScriptedModel({"shop/plan": 0, "mood": 1})
    decide(model, request(), skill="decide")
    decide(model, request(None, labels=True), skill="mood")
    assert [(c.kind, c.skill, c.request.prompt) for c in model.calls] == [
        ("decide", "decide", PLAN),
        ("decide", "mood", None),
    ]


def test_a_function_may_answer() -> None:
    model = ScriptedModel(lambda request, skill: "wait" if "late" in request.context else None)
    late = request().model_copy(update={"context": "it is late"})
    assert [r.scores for r in decide(model, late, request())] == [(0.0, 1.0), (0.0, 0.0)]


def test_write_gives_the_scripted_text() -> None:
    model = ScriptedModel({"shop/answer": "All done.", "shop/plan": 1})
    answer = PromptRef(name="shop/answer", version="1.0.0", digest="sha256:0")
    said = asyncio.run(model.write(WriteRequest(context="c", prompt=answer)))
    assert said.text == "All done."
    with pytest.raises(errors.ModelError, match="writes text, but is scripted 1"):
        asyncio.run(model.write(WriteRequest(context="c", prompt=PLAN)))
