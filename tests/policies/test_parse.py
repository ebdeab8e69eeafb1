"""Parsing: a policy, or one error that names the line and the fix."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import seamline.policies
from seamline.errors import PolicyError
from seamline.policies import Policy, load_policy, parse_policy
from seamline.policies.versions import is_version, version_key

Parse = Callable[[str], Policy]
PATH = Path("policies", "desk", "plan", "1.0.0.md")


def test_public_names_are_sorted() -> None:
    names = seamline.policies.__all__
    assert names == sorted(names)
    assert all(hasattr(seamline.policies, name) for name in names)


def test_a_policy_reads_as_written(plan: Policy) -> None:
    assert plan.ref == "desk/plan@1.0.0"
    assert plan.kind == "plan"
    assert plan.choices == ("search", "ask", "finish")
    assert [rule.then for rule in plan.rules] == ["search", "ask"]
    assert plan.rules[0].because == "nothing looked up"
    assert plan.otherwise == "finish"
    assert plan.system == "# Role\nYou plan.\n# Constraints\nOne step."
    assert plan.user == "State:\n{{ facts }}"
    assert plan.digest.startswith("sha256:")
    assert plan.path == str(PATH)


def test_a_choose_policy_has_its_tools_and_none(choose: Policy) -> None:
    assert choose.choices == ("catalogue", "phone", "none")
    assert choose.config.resolve == "best"
    assert choose.otherwise == "none"


def test_otherwise_may_have_a_reason_and_a_text(plan_text: str, parse: Parse) -> None:
    long = plan_text.replace(
        "otherwise: finish", "otherwise: {then: finish, because: all done, say: Done.}"
    )
    policy = parse(long)
    assert (policy.otherwise, policy.otherwise_because, policy.otherwise_say) == (
        "finish", "all done", "Done.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("---\nname", "name", "line 1: expected '---' as the first line"),
        ("]\n---\nsystem", "]\nsystem", "line 1: the front matter is never closed"),
        ("kind: plan", "kind: [plan", "line 5: not YAML: expected"),
        ("threshold", "treshold", "line 10: unknown key 'treshold' in config"),
        ("threshold", "treshold", "Did you mean 'threshold'?"),
        ("otherwise", "othrwise", "Did you mean 'otherwise'?"),
        ("    because", "    becuase", "line 14: unknown key 'becuase' in rules.1"),
        ("version: 1.0.0\n", "version: 1.0\n", "line 3: 'version' is 1.0, expected text"),
        ("version: 1.0.0\n", "version: v1.0.0\n", "must be MAJOR.MINOR.PATCH"),
        ("version: 1.0.0\n", "version: 1.0.1\n", "line 3: name and version say"),
        ("name: desk/plan", "name: desk/paln", "line 2: name and version say 'desk/paln/1.0.0.md'"),
        ("name: desk/plan", "name: plan", "must be 'agent/policy'"),
        ("kind: plan", "kind: planner", "line 4: 'kind' is 'planner'"),
        ("kind: plan\n", "", "'kind' is missing"),
        ("kind: plan\n", "kind: plan\nkind: plan\n", "line 5: the key 'kind' is given twice"),
        ("then: ask", "then: aks", "rule 2: then 'aks' is not in output.schema.enum"),
        ("then: ask", "then: aks", "Did you mean 'ask'?"),
        ("then: ask", "then: no", "line 16: 'rules.2.then' is False, expected text; put it in"),
        ("otherwise: finish", "otherwise: finnish", "otherwise 'finnish' is not in"),
        ("otherwise: finish\n", "", "'otherwise' is missing"),
        ("The search found nothing", "the catalogue has NOT been searched  yet.", "can never win"),
        ("{{ facts }}", "{{ fact }}", "line 28: user: undefined variable 'fact'"),
        ("{{ facts }}", "{{ fact }}", "Did you mean 'facts'?"),
        ("{{ facts }}", "{% if %}", "line 28: user:"),
        ("{{ search_word }}", "{{ search_word", "line 17: rule 2: say:"),
        ("system:\n", "", "text before 'system:'"),
        ("user:\n", "", "the body has no 'user:' part"),
        ("State:\n{{ facts }}\n", "\n", "the 'user:' part is empty"),
        ("user:\n", "user:\nuser:\n", "a second 'user:' part"),
        ("type: object", "type: objekt", "input.schema: not a JSON Schema"),
        ("{type: object, properties", "{properties", "must have 'type: object'"),
        ("{facts: {type: string}}", "{facts: {$ref: 'http://x.test/'}}", "leaves the file"),
        ("[search, ask, finish]", "[search, ask, ask, finish]", "holds 'ask' twice"),
        ("[search, ask, finish]", "[search, yes, finish]", "holds True, which is not text"),
        ("{type: string, enum: [search, ask, finish]}", "{type: string}", "the closed set"),
        ("threshold: 0.5", "threshold: 5", "line 10: 'config.threshold' is 5"),
        ("threshold: 0.5", "threshold: .nan", "is not a number"),
        ("first_match", "best", "is for choose policies"),
        ("otherwise:", "tools: [x]\notherwise:", "'tools' is for choose policies"),
        ("otherwise:", "checks: [{kind: pii}]\notherwise:", "'checks' is for guard policies"),
        ("otherwise:", "values: &a {x: 1}\nexamples: [*a]\notherwise:", "aliases"),
        ("otherwise:", "values: {x: !!python/name:os.system x}\notherwise:", "tag"),
        ("otherwise:", "values: {1: x}\notherwise:", "a key must be text"),
        ("otherwise:", 'values: {x: "\\ud800"}\notherwise:', "not"),
        ("note: first", "note: 1", "'changelog.1.note' is 1, expected text"),
        ("kind: plan", "kind: review", "a review answers with accept, flag, ask, decline"),
    ],
)  # fmt: skip
def test_an_error_names_the_line_and_the_fix(
    plan_text: str, parse: Parse, old: str, new: str, expected: str
) -> None:
    assert old in plan_text
    with pytest.raises(PolicyError) as caught:
        parse(plan_text.replace(old, new, 1))
    assert expected in str(caught.value)
    assert str(caught.value).startswith(str(PATH))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "tools:",
            "output: {schema: {type: string, enum: [phone]}}\ntools:",
            "differ in catalogue",
        ),
        ("[catalogue, phone]", "[catalogue, catalogue]", "'catalogue' is named twice"),
        ("[catalogue, phone]", "[catalogue, none]", "'none' is not a tool's name"),
        ("[catalogue, phone]", "[Catalogue]", "'Catalogue' is not a tool's name"),
        ("tools:", "otherwise: fax\ntools:", "otherwise 'fax' is not in"),
    ],
)
def test_a_wrong_choose_policy_is_refused(
    choose_text: str, parse: Parse, old: str, new: str, expected: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        parse(choose_text.replace(old, new))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ("{kind: pattern, name: p, pattern: '('}", "is not a regular expression"),
        ("{kind: pattern, name: p}", "needs 'pattern'"),
        ("{kind: pattern, pattern: x}", "needs a 'name'"),
        ("{kind: patern, name: p}", "'checks.1.kind' is 'patern'"),
        ("{kind: pii, kinds: [emial]}", "Did you mean 'email'?"),
        ("{kind: language, min: 3}", "has no 'min'"),
        ("{kind: word_count, min: 9, max: 3}", "min 9 is above max 3"),
        ("{kind: max_chars}", "needs 'max'"),
        ("{kind: language, name: 'a: b'}", "no ':'"),
        ("{kind: pattern, name: p, pattern: " + "x" * 1001 + "}", "more than 1000 characters"),
    ],
)
def test_a_wrong_check_is_refused(guard: Callable[..., Policy], check: str, expected: str) -> None:
    with pytest.raises(PolicyError, match="line 11: ") as caught:
        guard(check)
    assert expected in str(caught.value)


def test_two_checks_cannot_have_one_name(guard: Callable[..., Policy]) -> None:
    with pytest.raises(PolicyError, match="two checks are named 'script'"):
        guard("{kind: script}", "{kind: language, name: script}")


def test_files_that_cannot_be_read(tmp_path: Path, plan_text: str) -> None:
    path = tmp_path / "desk" / "plan" / "1.0.0.md"
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policy(path)
    path.parent.mkdir(parents=True)
    path.write_bytes(plan_text.encode() + b"\xff\n")
    with pytest.raises(PolicyError, match=r"line 29: not UTF-8"):
        load_policy(path)
    path.write_bytes(plan_text.encode() + b"x" * 256 * 1024)
    with pytest.raises(PolicyError, match="larger than 256 KiB"):
        load_policy(path)
    path.write_text(plan_text)
    assert load_policy(path).digest == parse_policy(plan_text, path=PATH).digest


def test_examples_from_a_file_take_part_in_the_digest(tmp_path: Path, plan_text: str) -> None:
    path = tmp_path / "desk" / "plan" / "1.0.0.md"
    path.parent.mkdir(parents=True)
    path.write_text(plan_text.replace("otherwise:", "examples: {file: e.jsonl}\notherwise:"))
    with pytest.raises(PolicyError, match=r"examples file 'e.jsonl' cannot be read"):
        load_policy(path)
    rows = path.with_name("e.jsonl")
    rows.write_text('{"id": "a", "input": {"facts": "x"}, "output": "ask"}\n')
    first = load_policy(path)
    assert [example.id for example in first.examples] == ["a"]
    rows.write_text('{"id": "a", "input": {"facts": "y"}, "output": "ask"}\n')
    assert load_policy(path).digest != first.digest
    for text, expected in [
        ("{", "line 1: not JSON"),
        ('\n{"input": {"facts": "x"}, "output": "aks"}', "line 2: .*Did you mean 'ask'"),
        ('{"input": {"fact": "x"}, "output": "ask"}', "does not fit input.schema"),
        ('{"input": {"facts": "x"}, "otput": "ask"}', "Did you mean 'output'"),
        ('{"input": {"facts": NaN}, "output": "ask"}', "not JSON"),
        ('{"input": {"facts": "\\ud800"}, "output": "ask"}', "not UTF-8"),
    ]:
        rows.write_text(text)
        with pytest.raises(PolicyError, match=expected):
            load_policy(path)


@pytest.mark.parametrize("name", ["../e.jsonl", "/etc/passwd", "a/e.jsonl", "e.txt", ".."])
def test_an_examples_file_lies_beside_the_policy(plan_text: str, parse: Parse, name: str) -> None:
    with pytest.raises(PolicyError, match=r"must be a \.jsonl file beside the policy"):
        parse(plan_text.replace("otherwise:", f"examples: {{file: {name}}}\notherwise:"))


def test_nesting_and_large_numbers_are_errors_not_crashes(plan_text: str, parse: Parse) -> None:
    for value in ("[" * 20_000, "{a: " * 20_000, "9" * 6000, "[" * 300 + "]" * 300):
        with pytest.raises(PolicyError):
            parse(plan_text.replace("otherwise:", f"values: {{x: {value}}}\notherwise:"))
    for body in ("{% if facts %}" * 3000, "{{ " + "(" * 3000, "{{" + "-" * 3000 + "1 }}"):
        with pytest.raises(PolicyError):
            parse(plan_text.replace("{{ facts }}", body))


# hypothesis: a text is a policy or a PolicyError, and nothing else.

PIECES = st.sampled_from([
    "---\n", "system:\n", "user:\n", "{{ facts }}", "{% for x in facts %}", "{% endfor %}", "name",
    ": ", "- ", "[", "]", "{", "}", "&a", "*a", "!!", "|", ">", "'", '"', "\t", "\x00", "\ud800",
    "1.0.0", "rules:\n", "  - when: x\n    then: y\n", "\r\n", "\u2028", "#", "<<: ", "? ", "%",
    "otherwise: finish\n", "examples: [{input: {}}]\n", "2024-01-01", "1e999", "0x1F", "~",
])  # fmt: skip


def outcome(text: str) -> Policy | None:
    try:
        return parse_policy(text, path=PATH)
    except PolicyError as error:
        return None if str(error) else pytest.fail("an error without a message")


@given(st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_policy_or_a_policy_error(text: str) -> None:
    outcome(text)
    outcome("---\n" + text)


@given(st.data())
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_policy_is_a_policy_or_a_policy_error(plan_text: str, data: Any) -> None:
    text = plan_text
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 30))
        text = text[:at] + data.draw(PIECES | st.text(max_size=4)) + text[at + cut :]
    outcome(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([
    "name", "version", "kind", "description", "input", "output", "config", "tools", "values",
    "checks", "rules", "otherwise", "examples", "changelog",
]), JSON))  # fmt: skip
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_front_matter_of_any_shape(plan_text: str, change: dict[str, Any]) -> None:
    front, body = split(plan_text)
    outcome(f"---\n{yaml.safe_dump({**front, **change}, allow_unicode=True)}---\n{body}")


@given(st.randoms(use_true_random=False), st.booleans(), st.booleans())
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_digest_ignores_key_order_style_and_line_ends(
    plan_text: str, random: Any, crlf: bool, flow: bool
) -> None:
    front, body = split(plan_text)

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    dumped = yaml.safe_dump(shuffled(front), sort_keys=False, default_flow_style=flow)
    text = f"---\n# a comment\n{dumped}---\n\n{body}\n\n"
    policy = outcome(text.replace("\n", "\r\n") if crlf else text)
    original = outcome(plan_text)
    assert policy is not None
    assert original is not None
    assert policy.digest == original.digest


@pytest.mark.parametrize(
    ("old", "new"), [("You plan", "You  plan"), ("0.5", "0.6"), ("note: first", "note: second")]
)
def test_every_word_counts_in_the_digest(
    plan_text: str, plan: Policy, parse: Parse, old: str, new: str
) -> None:
    assert parse(plan_text.replace(old, new)).digest != plan.digest


def split(text: str) -> tuple[dict[str, Any], str]:
    _, front, body = text.split("---\n", 2)
    return json.loads(json.dumps(yaml.safe_load(front))), body


def test_versions_sort_as_semver_says() -> None:
    order = ["0.9.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta.2", "1.0.0-beta.11",
             "1.0.0-rc.1", "1.0.0", "1.2.0", "1.10.0"]  # fmt: skip
    assert sorted(set(order), key=version_key) == order
    assert not any(map(is_version, ["1.0", "01.0.0", "1.0.0+a", "v1.0.0", "1.0.0-", "1.0.0-01"]))


def test_the_example_in_the_docs_is_a_policy(root: Path) -> None:
    text = (root / "docs" / "policies.md").read_text(encoding="utf-8")
    example = text.split("```markdown\n")[1].split("```")[0]
    policy = parse_policy(example, path="policies/library_desk/plan/1.0.0.md")
    assert policy.examples[0].id == "fresh"
