"""Rendering: the same text for the same variables, and nothing but text."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamline.errors import PolicyError
from seamline.policies import Example, Policy, Rule, render, render_say
from seamline.policies.templates import (
    MAX_RENDERED_CHARS,
    TemplateFault,
    render_text,
    variables_of,
)

Parse = Callable[[str], Policy]


def test_a_prompt_has_two_parts_and_a_digest(plan: Policy) -> None:
    rendered = render(plan, {"facts": "search: not run"})
    assert rendered.system == "# Role\nYou plan.\n# Constraints\nOne step."
    assert rendered.user == "State:\nsearch: not run"
    assert rendered.variables == {"facts": "search: not run"}
    assert rendered.digest == render(plan, {"facts": "search: not run"}).digest
    assert rendered.digest != render(plan, {"facts": "search: done"}).digest


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "'facts' is a required property"),
        ({"facts": 3}, "at 'facts': 3 is not of type 'string'"),
        ({"facts": "\ud800"}, "not JSON"),
        ({"facts": object()}, "not JSON"),
    ],
)
def test_variables_must_fit_the_schema(
    plan: Policy, variables: dict[str, Any], expected: str
) -> None:
    with pytest.raises(PolicyError, match=r"desk/plan@1\.0\.0: variables") as caught:
        render(plan, variables)
    assert expected in str(caught.value)


def test_a_variable_is_never_read_as_a_template(plan: Policy) -> None:
    assert render(plan, {"facts": "{{ 7 * 7 }}{% raw %}"}).user == "State:\n{{ 7 * 7 }}{% raw %}"


def test_a_missing_optional_variable_is_an_error(plan_text: str, parse: Parse) -> None:
    optional = plan_text.replace("required: [facts]", "required: []")
    with pytest.raises(PolicyError, match="'facts' is undefined"):
        render(parse(optional), {})
    guarded = optional.replace("{{ facts }}", "{% if facts is defined %}{{ facts }}{% endif %}")
    assert render(parse(guarded), {}).user == "State:"


def test_a_schema_that_loops_or_leads_nowhere_is_an_error(plan_text: str, parse: Parse) -> None:
    for reference in ("#/nowhere", "#/properties/facts"):
        text = plan_text.replace("{type: string}", f"{{$ref: '{reference}'}}", 1)
        with pytest.raises(PolicyError, match=r"reference|refers to itself"):
            render(parse(text), {"facts": "x"})


# What templates cannot do.

ESCAPES = [
    "{{ x.__class__ }}",
    "{{ x['__class__'] }}",
    "{{ x|attr('__class__') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ x.format(y) }}",
    "{{ '%s'|format(x) }}",
    "{{ self }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum() }}",
    "{{ namespace(a=1) }}",
    "{{ x.upper }}",
    "{{ facts.items }}",
    "{{ facts.keys() }}",
    "{% import 'os' as os %}",
    "{% include '/etc/passwd' %}",
    "{% extends 'a' %}",
    "{% from 'a' import b %}",
    "{% macro m() %}{% endmacro %}",
    "{% set y = 1 %}",
    "{% filter upper %}x{% endfilter %}",
    "{% call x() %}{% endcall %}",
    "{% block b %}{% endblock %}",
    "{% for a in facts recursive %}{{ loop(a) }}{% endfor %}",
    "{% for a in facts %}{{ loop.__class__ }}{% endfor %}",
    "{% for a in facts %}{{ loop.cycle }}{% endfor %}",
    "{% for a in facts %}{{ loop }}{% endfor %}",
    "{{ facts|map('upper')|list }}",
    "{{ facts|random }}",
    "{{ facts|_bounded }}",
    "{{ facts|join(*x) }}",
    "{{ facts }}",
    "{{ [x] }}",
]  # fmt: skip


@pytest.mark.parametrize("source", ESCAPES)
def test_a_template_reaches_nothing_but_its_values(source: str) -> None:
    with pytest.raises(TemplateFault):
        render_text(source, {"x": "a", "facts": {"a": 1}})


BOMBS = [
    "{% for i in range(10**9) %}x{% endfor %}",
    "{{ 'x' * 10**10 }}",
    "{{ 9**9**9 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ x|center(1000000000) }}",
    "{{ x|indent(1000000000) }}",
    "{{ text|list|join(text) }}",
    "{% for a in text %}{% for b in text %}{% for c in text %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in text %}{% for b in text %}x{% endfor %}{% endfor %}",
    "{{ " + "(" * 500 + "1" + ")" * 500 + " }}",
    "{{ " + "9" * 5000 + " }}",
    "{% for a in x %}" * 4 + "{% endfor %}" * 4,
    "{{ text }}" * 50,
]  # fmt: skip


@pytest.mark.parametrize("source", BOMBS, ids=range(len(BOMBS)))
def test_a_template_that_grows_without_end_is_stopped(source: str) -> None:
    started = time.process_time()
    with pytest.raises(TemplateFault):
        render_text(source, {"x": "a", "text": "y" * 30_000})
    assert time.process_time() - started < 5


def test_what_templates_can_do() -> None:
    source = (
        "{% for name, value in facts|items %}\n{{ name }}: {{ value }}{{ ';' if not loop.last }}\n"
        "{% endfor %}{{ tags|sort|join(', ') }} {{ tags[0]|upper }} {{ data|tojson }} "
        "{{ 'many' if tags|length > 1 else 'one' }} {{ flag }} {{ gone|default('-') }}"
    )
    values = {"facts": {"a b": 1, "c": None}, "tags": ["y", "x"], "data": {"k": "é"}, "flag": True}
    assert render_text(source, values) == ('a b: 1;\nc: none\nx, y Y {"k": "é"} many yes -')
    assert dict(variables_of("{{ a }}\n{% for b in c %}{{ b.d }}{% endfor %}")) == {"a": 1, "c": 2}


def test_a_long_text_is_allowed_up_to_the_bound() -> None:
    half = "y" * (MAX_RENDERED_CHARS // 2)
    assert len(render_text("{{ a }}{{ a }}", {"a": half})) == MAX_RENDERED_CHARS
    with pytest.raises(TemplateFault, match="characters"):
        render_text("{{ a }}{{ a }}!", {"a": half})


PIECES = st.sampled_from([
    "{{", "}}", "{%", "%}", " x ", " for a in x ", " endfor ", " if x ", " endif ", "|upper",
    "|join", "[0]", ".a", "(", ")", "'", "~", "*", "{#", "#}", " is defined", " not ", "-", "1",
])  # fmt: skip


@given(st.lists(PIECES, max_size=20).map("".join), st.text(max_size=5) | st.lists(st.integers()))
@settings(max_examples=200, deadline=None)
def test_any_template_gives_text_or_a_fault(source: str, value: Any) -> None:
    try:
        assert isinstance(render_text(source, {"x": value}), str)
    except TemplateFault as fault:
        if not str(fault):
            pytest.fail("a fault without a message")


# What people are told.


def test_say_reads_facts_by_name(plan: Policy) -> None:
    assert render_say(plan, plan.rules[1], {"search word": "owls"}) == "Nothing under owls."
    assert render_say(plan, '{{ facts["codes (declined)"] }}', {"codes (declined)": 2}) == "2"
    assert render_say(plan, "{{ a_b }}", {"a b": 1, "a_b": 2}) == "2"
    assert render_say(plan, Rule(when="x", then="ask"), {}) == ""


def test_say_names_the_fact_that_is_missing(plan: Policy) -> None:
    with pytest.raises(PolicyError, match="'search_word' is undefined") as caught:
        render_say(plan, plan.rules[1], {"search words": "owls"})
    assert "the facts are: search words" in str(caught.value)
    assert "Did you mean 'search_words'?" in str(caught.value)


# Examples.

SHOTS = """examples:
  - {id: one, input: {facts: "catalogue: not searched"}, output: search}
  - {id: two, input: {facts: "catalogue: searched, found: 0"}, output: ask}
  - {input: {facts: "weather: fine"}, output: finish}
otherwise:"""


def with_examples(text: str, config: str = "") -> str:
    text = text.replace("threshold: 0.5", f"threshold: 0.5{config}")
    return text.replace("otherwise:", SHOTS, 1)


def test_static_examples_are_the_first_ones(plan_text: str, parse: Parse) -> None:
    policy = parse(with_examples(plan_text, ", examples: {k: 2}"))
    rendered = render(policy, {"facts": "weather: fine"})
    assert rendered.examples == ("one", "two")
    assert rendered.system.endswith(
        "# Examples\nState:\ncatalogue: not searched\nAnswer: search\n\n"
        "State:\ncatalogue: searched, found: 0\nAnswer: ask"
    )


def test_similar_examples_are_the_nearest_with_the_best_last(plan_text: str, parse: Parse) -> None:
    policy = parse(with_examples(plan_text, ", examples: {select: similar, k: 2}"))
    assert render(policy, {"facts": "weather: fine, dry"}).examples[-1] == "example-3"
    assert render(policy, {"facts": "catalogue: searched, found: 9"}).examples == ("one", "two")
    assert render(policy, {"facts": "catalogue: not searched"}).examples == ("two", "one")


def test_given_examples_replace_the_selection(plan_text: str, parse: Parse) -> None:
    policy = parse(with_examples(plan_text))
    given_one = Example(id="mine", input={"facts": "x"}, output="ask")
    assert render(policy, {"facts": "x"}, examples=[given_one]).examples == ("mine",)


def test_a_template_may_place_the_examples_itself(plan_text: str, parse: Parse) -> None:
    placed = plan_text.replace(
        "One step.", "{% for e in examples %}\n{{ e.id }} -> {{ e.output }}\n{% endfor %}"
    )
    rendered = render(parse(with_examples(placed, ", examples: {k: 1}")), {"facts": "x"})
    assert rendered.system.endswith("# Constraints\none -> search")
