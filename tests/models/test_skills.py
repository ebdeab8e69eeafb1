from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from seamline.errors import SkillError
from seamline.models.bases import BaseSpec
from seamline.models.skills import BaseRef, Skill, SkillStore

SHIPPED = ("clause_type", "decide", "icd10_select")


@pytest.fixture
def store(root: Path, tmp_path: Path) -> SkillStore:
    shutil.copytree(root / "models/skills/clause_type", tmp_path / "skills/clause_type")
    shutil.copy(root / "models/skills/skills.lock", tmp_path / "skills/skills.lock")
    return SkillStore(tmp_path / "skills")


def ref(base: BaseSpec, **changed: str) -> BaseRef:
    fields = {
        "name": base.name,
        "digest": base.digest,
        "tokenizer_digest": base.tokenizer_digest,
        "chat_template_digest": base.chat_template_digest,
    }
    return BaseRef(**(fields | changed))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_skill_checks_against_the_declared_base(
    root: Path, base_spec: BaseSpec, name: str
) -> None:
    skill = SkillStore(root / "models/skills").get(name)
    skill.check(ref(base_spec))
    assert (skill.path / "adapter_model.safetensors").stat().st_size < 20_000_000
    assert (skill.path / "README.md").is_file()
    assert skill.spec.evaluation


def test_no_released_version_has_changed_since(root: Path) -> None:
    store = SkillStore(root / "models/skills")
    released = json.loads((store.root / "skills.lock").read_text())["released"]
    assert set(released) == set(store.names())
    for name, versions in released.items():
        assert store.labels(name)["production"] in versions
        for version in versions:
            assert store.released(store.get(f"{name}@{version}")), f"{name}@{version}"


@pytest.mark.parametrize("field", ["digest", "tokenizer_digest", "chat_template_digest"])
def test_another_base_is_refused_by_name_and_digest(
    store: SkillStore, base_spec: BaseSpec, field: str
) -> None:
    with pytest.raises(SkillError, match=f"with {field} .*, but base .* has sha256:0"):
        store.get("clause_type").check(ref(base_spec, **{field: "sha256:0"}))


def test_a_changed_adapter_is_refused(store: SkillStore) -> None:
    skill = store.get("clause_type")
    file = skill.path / "adapter_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(SkillError, match=r"but skill\.yaml pins"):
        skill.check()


def test_a_cut_adapter_and_a_pickle_are_refused(store: SkillStore) -> None:
    skill = store.get("clause_type")
    file = skill.path / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(SkillError, match="no usable adapter"):
        skill.check()
    (skill.path / "adapter_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(SkillError, match="not safetensors, and other formats can run code"):
        skill.check()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [("r", 8, "declares rank 16"), ("peft_type", "PROMPT_TUNING", "only plain PEFT LoRA")],
)
def test_an_adapter_of_another_shape_is_refused(
    store: SkillStore, key: str, value: object, told: str
) -> None:
    file = store.get("clause_type").path / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {key: value}))
    with pytest.raises(SkillError, match=told):
        store.get("clause_type").check()


def test_references_resolve_and_wrong_ones_name_what_there_is(store: SkillStore) -> None:
    assert store.get("clause_type").ref == "clause_type@0.3.1"
    assert store.get("clause_type@production").ref == "clause_type@0.3.1"
    with pytest.raises(SkillError, match="did you mean clause_type"):
        store.get("clause_typ")
    with pytest.raises(SkillError, match=r"no version or label '9\.9\.9'; use one of 0\.1\.0"):
        store.get("clause_type@9.9.9")
    with pytest.raises(SkillError, match="is no skill reference"):
        store.get("../clause_type")


def test_labels_move_and_only_to_versions_that_exist(store: SkillStore) -> None:
    store.label("clause_type", "candidate", "0.1.0")
    assert store.labels("clause_type") == {"candidate": "0.1.0", "production": "0.3.1"}
    with pytest.raises(SkillError, match="no version or label"):
        store.label("clause_type", "candidate", "2.0.0")
    with pytest.raises(SkillError, match="LABEL VERSION"):
        store.label("clause_type", "0.1.0", "production")
    (store.root / "skills.lock").write_text("{")
    with pytest.raises(SkillError, match="is damaged"):
        store.labels("clause_type")


def test_a_declaration_in_the_wrong_folder_is_refused(store: SkillStore) -> None:
    moved = store.root / "clause_type" / "9.0.0"
    shutil.copytree(store.root / "clause_type" / "0.1.0", moved)
    with pytest.raises(SkillError, match=r"move it to clause_type/0\.1\.0/"):
        Skill(moved)
    file = moved / "skill.yaml"
    text = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(text | {"contract": {"read": "guess"}}))
    with pytest.raises(SkillError, match=r"is not a skill declaration: contract\.read"):
        Skill(moved)
