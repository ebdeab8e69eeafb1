"""References, the lock and labels."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from seamline.errors import PolicyError
from seamline.policies import PolicyStore

Put = Callable[..., Path]


def test_a_draft_is_got_by_version_and_digest_only(store: PolicyStore) -> None:
    policy = store.get("desk/plan@1.0.0")
    assert store.get(f"desk/plan@{policy.digest}") == policy
    assert store.get(f"desk/plan@{policy.digest[:19]}") == policy
    with pytest.raises(PolicyError, match="has no label 'production'") as caught:
        store.get("desk/plan")
    assert str(caught.value).endswith(
        "Set it with `seamline policies lock`, then "
        "`seamline policies label desk/plan production 1.0.0`"
    )
    store.lock()
    with pytest.raises(PolicyError, match="has no label 'production'") as caught:
        store.get("desk/plan")
    assert str(caught.value).endswith(
        "Set it with `seamline policies label desk/plan production 1.0.0`"
    )


@pytest.mark.parametrize("at", ["@1", "Production", "sha256", "1.0"])
def test_what_can_be_no_label_is_not_to_be_set(store: PolicyStore, at: str) -> None:
    with pytest.raises(PolicyError, match="is no reference to a policy") as caught:
        store.get(f"desk/plan@{at}")
    assert "Write AGENT/NAME@VERSION or AGENT/NAME@LABEL" in str(caught.value)
    assert f"'desk/plan@{at}'" in str(caught.value)
    assert "policies label" not in str(caught.value)


def test_labels_and_versions(store: PolicyStore, put: Put, plan_text: str) -> None:
    put("1.10.0")
    put("1.2.0", plan_text.replace("One step", "Two steps"))
    assert store.versions("desk/plan") == ["1.0.0", "1.2.0", "1.10.0"]
    assert [policy.version for policy in store.lock()] == ["1.0.0", "1.2.0", "1.10.0"]
    assert store.lock() == []
    assert store.label("desk/plan", "production", "1.2.0") is None
    assert store.label("desk/plan", "production", "1.10.0") == "1.2.0"
    assert store.label("desk/plan", "canary", "1.2.0") is None
    assert store.labels("desk/plan") == {"canary": "1.2.0", "production": "1.10.0"}
    assert store.get("desk/plan").version == "1.10.0"
    assert store.get("desk/plan@production").version == "1.10.0"
    assert store.get("desk/plan@canary").version == "1.2.0"
    assert store.names() == ["desk/plan"]
    assert store.verify() == []


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("desk/paln", "Did you mean 'desk/plan'?"),
        ("desk/plan@2.0.0", "has no version 2.0.0; there are: 1.0.0"),
        ("desk/plan@prodution", "Did you mean 'production'?"),
        ("desk/plan@", "nothing after '@'"),
        ("desk/plan@sha256:abc", "needs at least 12 hex digits"),
        ("desk/plan@sha256:000000000000", "no version with the digest"),
        ("../../etc/passwd@1.0.0", "no policy '../../etc/passwd'"),
        ("", "no policy ''"),
    ],
)
def test_a_wrong_reference_is_told(store: PolicyStore, ref: str, expected: str) -> None:
    store.lock()
    store.label("desk/plan", "production", "1.0.0")
    with pytest.raises(PolicyError) as caught:
        store.get(ref)
    assert expected in str(caught.value)


def test_an_edited_locked_version_is_refused(store: PolicyStore, put: Put, plan_text: str) -> None:
    store.lock()
    before = store.lock_path.read_bytes()
    path = put("1.0.0", plan_text.replace("One step", "Two steps"))
    put("1.1.0")
    for act in (lambda: store.get("desk/plan@1.0.0"), store.lock):
        with pytest.raises(PolicyError, match="is locked as sha256:") as caught:
            act()
        assert "restore the file from version control" in str(caught.value)
        assert "new version and run `seamline policies lock`" in str(caught.value)
    with pytest.raises(PolicyError, match="is locked as"):
        store.label("desk/plan", "production", "1.0.0")
    assert store.lock_path.read_bytes() == before
    assert store.verify()[0].path == str(path)
    put("1.0.0", "nonsense")
    with pytest.raises(PolicyError, match="is locked and was edited"):
        store.get("desk/plan@1.0.0")
    put("1.0.0", plan_text.replace("\n", "\n"))
    assert [policy.version for policy in store.lock()] == ["1.1.0"]


def test_a_deleted_locked_version_is_refused(store: PolicyStore, put: Put) -> None:
    put("1.1.0")
    store.lock()
    (store.root / "desk" / "plan" / "1.0.0.md").unlink()
    for act in (lambda: store.get("desk/plan@1.0.0"), store.lock):
        with pytest.raises(PolicyError, match="is locked but its file is gone; restore it"):
            act()
    assert len(store.verify()) == 1


def test_an_edit_is_seen_by_a_store_that_has_read_the_file(
    store: PolicyStore, put: Put, plan_text: str
) -> None:
    before = store.get("desk/plan@1.0.0")
    path = put("1.0.0", plan_text.replace("One", "Two"))
    os.utime(path, ns=(1, 1))
    assert store.get("desk/plan@1.0.0").digest != before.digest


def test_nothing_is_locked_when_one_file_is_wrong(store: PolicyStore, put: Put) -> None:
    put("1.1.0", "nonsense")
    put("1.2.0", name="desk/other")
    with pytest.raises(PolicyError, match="expected '---'"):
        store.lock()
    assert not store.lock_path.exists()


def test_a_label_points_to_a_locked_version_only(store: PolicyStore, put: Put) -> None:
    store.lock()
    put("1.1.0")
    with pytest.raises(
        PolicyError, match=r"'desk/plan@1\.1\.0' is not in policies\.lock; run"
    ) as e:
        store.label("desk/plan", "production", "1.1.0")
    assert "or use one of: 1.0.0" in str(e.value)
    for label in ("1.0.0", "sha256", "Prod", ""):
        with pytest.raises(PolicyError, match="must be lower-case"):
            store.label("desk/plan", label, "1.0.0")


def test_verify_finds_drafts_strays_and_labels_to_nowhere(store: PolicyStore, put: Put) -> None:
    store.lock()
    put("1.1.0")
    put("draft", "x")
    (store.root / "README.md").write_text("not a policy")
    value = json.loads(store.lock_path.read_text())
    value["labels"] = {"desk/plan": {"production": "9.0.0"}}
    store.lock_path.write_text(json.dumps(value))
    messages = [problem.message for problem in store.verify()]
    assert len(messages) == 3
    assert "the file name must be a version" in messages[0]
    assert "'desk/plan@1.1.0' is not in policies.lock" in messages[1]
    assert "'desk/plan@production' points to 9.0.0, which is not locked" in messages[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<<<<<<< HEAD\n", "line 1: not JSON"),
        ("[]", "expected an object"),
        ('{"policies": {}, "policies": {}}', "a key stands twice"),
        ('{"policies": {"desk/plan": {"1.0.0": "md5:1"}}}', "holds '1.0.0': 'md5:1'"),
        ('{"policies": {"desk/plan": []}}', "must map names to objects"),
        ('{"labels": {"desk/plan": {"production": 1}}}', "points to 1"),
        ("\xff", "not JSON"),
        ("[" * 100_000, "damaged"),
    ],
)
def test_a_damaged_lock_is_refused(store: PolicyStore, text: str, expected: str) -> None:
    store.lock_path.write_text(text, encoding="utf-8")
    with pytest.raises(PolicyError, match=r"policies\.lock") as caught:
        store.get("desk/plan@1.0.0")
    assert expected in str(caught.value)
    assert "restore it from version control" in str(caught.value)
    assert len(store.verify()) == 1


def test_the_lock_file_is_sorted_json(store: PolicyStore, put: Put) -> None:
    put("1.10.0")
    put("1.9.0")
    put("1.0.0", name="desk/alpha")
    store.lock()
    store.label("desk/plan", "production", "1.9.0")
    text = store.lock_path.read_text()
    value = json.loads(text)
    assert list(value["policies"]) == ["desk/alpha", "desk/plan"]
    assert list(value["policies"]["desk/plan"]) == ["1.0.0", "1.9.0", "1.10.0"]
    assert text.endswith("}\n")
    store.lock_path.unlink()
    store.lock()
    store.label("desk/plan", "production", "1.9.0")
    assert store.lock_path.read_text() == text


def test_a_failed_write_leaves_the_old_lock(
    store: PolicyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.lock()
    before = store.lock_path.read_bytes()

    def broken(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(PolicyError, match="cannot be written: No space left"):
        store.label("desk/plan", "production", "1.0.0")
    assert store.lock_path.read_bytes() == before
    assert [path.name for path in store.root.iterdir() if path.is_file()] == ["policies.lock"]


def _label_often(root: str, label: str) -> None:
    store = PolicyStore(root)
    for turn in range(20):
        store.label("desk/plan", label, f"1.{turn % 2}.0")


def test_two_writers_lose_nothing(store: PolicyStore, put: Put) -> None:
    put("1.1.0")
    store.lock()
    writers = [
        threading.Thread(target=_label_often, args=(str(store.root), label)) for label in ("a", "b")
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        json.loads(store.lock_path.read_text())  # a reader never sees half a file
        for writer in writers:
            writer.join(0.02)
    assert store.labels("desk/plan") == {"a": "1.1.0", "b": "1.1.0"}


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no such folder"):
        PolicyStore(tmp_path / "policies").get("desk/plan")
