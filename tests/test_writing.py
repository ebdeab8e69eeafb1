"""Files are replaced whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seamline.writing import exclusive, replace_file


def _cut_short() -> Iterator[bytes]:
    yield b"half"
    raise OSError(28, "No space left on device")


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    file.write_text("whole")
    with pytest.raises(OSError, match="No space left"):
        replace_file(file, _cut_short())
    assert file.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_keeps_its_mode_and_a_new_one_has_the_mode_asked_for(tmp_path: Path) -> None:
    old, new, secret = tmp_path / "old", tmp_path / "new", tmp_path / "secret"
    old.touch(mode=0o640)
    for file in (old, new):
        replace_file(file, "é")
        assert file.read_bytes() == "é".encode()
    replace_file(secret, [b"a", b"b"], mode=0o600)
    assert secret.read_bytes() == b"ab"
    assert [file.stat().st_mode & 0o777 for file in (old, new, secret)] == [0o640, 0o644, 0o600]


def test_changes_made_one_after_the_other_are_all_kept(tmp_path: Path) -> None:
    file = tmp_path / "count"
    file.write_text("0")

    def add(_: int) -> None:
        with exclusive(tmp_path):
            replace_file(file, str(int(file.read_text()) + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert file.read_text() == "40"
