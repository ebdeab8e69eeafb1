"""Answers of an evaluation as they come in, so that one that was cut short goes on.

A file holds scores and token counts by the row's place, and no text. It is named by what was
asked of whom, so other rows or another adapter never meet it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from seamline.models.protocol import DecideRequest, DecideResponse
from seamline.writing import replace_file

__all__ = ["KeptAnswers"]

_KEPT = {"scores", "labels", "usage"}


class KeptAnswers:
    """The answers of one cell.

    Attributes:
        responses: What has been answered, by the row's place.
        seconds: What that took.
    """

    def __init__(
        self, folder: Path | None, whom: Sequence[str], asked: Sequence[DecideRequest]
    ) -> None:
        """Take up what is in `folder`; without one, nothing is kept.

        Args:
            folder: Where the files are.
            whom: What decides the answers beside the questions: cell, adapter, base.
            asked: The questions, by place.
        """
        self.responses: dict[int, DecideResponse] = {}
        self.seconds = 0.0
        self._file: Path | None = None
        if folder is None:
            return
        digest = hashlib.sha256(json.dumps(list(whom)).encode())
        for request in asked:
            digest.update(request.model_dump_json().encode("utf-8", "backslashreplace"))
        self._file = folder / f"{digest.hexdigest()[:32]}.jsonl"
        self._take_up()

    def add(self, answered: dict[int, DecideResponse], seconds: float) -> None:
        """Keep what a batch gave."""
        self.responses |= answered
        self.seconds += seconds
        if self._file is None:
            return
        told = {
            "seconds": seconds,
            "answers": {
                at: one.model_dump(mode="json", include=_KEPT) for at, one in answered.items()
            },
        }
        # A disk that is full costs the going on, and not the evaluation.
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(told) + "\n")

    def forget(self) -> None:
        """Remove the file: the evaluation is done."""
        if self._file is not None:
            with suppress(OSError):
                self._file.unlink()

    def _take_up(self) -> None:
        assert self._file is not None
        with suppress(OSError):
            lines = self._file.read_bytes().splitlines(keepends=True)
            whole = [(line, told) for line in lines if (told := _whole(line)) is not None]
            if len(whole) < len(lines):
                # A line that was cut off would damage the one written behind it.
                replace_file(self._file, [line for line, _ in whole])
            for _, told in whole:
                self.seconds += told["seconds"]
                for at, one in told["answers"].items():
                    self.responses[int(at)] = DecideResponse.model_validate(one)


def _whole(line: bytes) -> dict[str, Any] | None:
    """What a line holds; None where it was cut off."""
    if not line.endswith(b"\n"):
        return None
    with suppress(ValueError):
        told: Any = json.loads(line)
        if isinstance(told, dict) and {"seconds", "answers"} <= told.keys():
            return told
    return None
