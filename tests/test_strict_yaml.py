"""Declarations as YAML: JSON values with their lines, or one fault with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from seamline.errors import ConfigError
from seamline.models.declarations import Declared, read_yaml
from seamline.project import Project
from seamline.strict_yaml import YamlFault, read_yaml_text

TWICE = "name: a\nbudget: {steps: 3}\nbudget: {steps: 4}\n"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (TWICE, 3, "the key 'budget' is given twice, first in line 2; keep one"),
        ("a: 1\nb:\n  - {c: 1, c: 1}\n", 3, "the key 'c' is given twice"),
        ("a: &x [1]\nb: *x\n", 1, "aliases (*name) are not supported"),
        ("a: !!set {b}\n", 1, "YAML tag 'tag:yaml.org,2002:set' is not supported"),
        ("a: !own b\n", 1, "YAML tag '!own' is not supported"),
        ("a: 1\nno: 2\n", 2, "a key must be text, found False; put it in quotes"),
        ("a: [.inf]\n", 1, "'.inf' is not a number that can be kept; write a finite one"),
        ("a: -.INF\n", 1, "'-.INF' is not a number"),
        ("\na: .nan\n", 2, "'.nan' is not a number"),
        ("a: 1.0e+999\n", 1, "'1.0e+999' is not a number"),
        ("a: [1\n", 2, "not YAML: expected"),
        ("a: 1\n---\na: 2\n", 2, "not YAML: but found another document"),
        ('a: "\\U00110000"\n', None, "not YAML"),
        ("[" * 5000, None, "nested too deeply"),
    ],
)
def test_a_fault_is_told_with_its_line(text: str, line: int | None, says: str) -> None:
    with pytest.raises(YamlFault) as caught:
        read_yaml_text(text)
    assert says in str(caught.value)
    assert caught.value.line == line


def test_values_are_json_and_know_their_lines() -> None:
    read = read_yaml_text("a:\n  - 1\n  - b: 2026-01-02\nc: {d: 1.5, e: ~, f: yes}\n")

    assert read.data == {"a": [1, {"b": "2026-01-02"}], "c": {"d": 1.5, "e": None, "f": True}}
    assert read.line(("a", 1, "b")) == 3
    assert read.line(("c", "d", "deeper")) == 4
    assert read_yaml_text("# nothing\n").data is None


def test_the_shipped_declarations_read_as_every_yaml_reader_reads_them(root: Path) -> None:
    """Their keys are given once and they use no aliases, so nothing of them is lost."""
    patterns = [
        "seamline.yaml",
        "agents/*/agent.yaml",
        "tools/*/tool.yaml",
        "models/skills/*/*/recipe.yaml",
        "models/skills/*/*/skill.yaml",
        "models/bases/*.yaml",
        "models/embedders/*.yaml",
        "models/endpoints/*.yaml",
    ]
    files = [file for pattern in patterns for file in root.glob(pattern)]
    assert len(files) > 30
    for file in files:
        text = file.read_text("utf-8")
        assert read_yaml_text(text).data == yaml.safe_load(text), file


@pytest.mark.parametrize("name", ["seamline.yaml", "models/endpoints/one.yaml"])
def test_a_declaration_with_a_key_twice_names_file_line_and_key(tmp_path: Path, name: str) -> None:
    (tmp_path / "seamline.yaml").write_text("name: small\n")
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("name: one\nname: two\n")
    project = Project.open(tmp_path)
    with pytest.raises(ConfigError) as caught:
        _ = (project.spec, project.endpoints)
    assert str(caught.value) == (
        f"{file}, line 2: the key 'name' is given twice, first in line 1; keep one"
    )


def test_a_file_that_is_not_utf_8_is_told_how_to_become_it(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes("name: a\ndescription: café\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"a\.yaml, line 2: not UTF-8; save the file as UTF-8"):
        read_yaml(Declared, file, "a declaration")
