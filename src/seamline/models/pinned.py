"""A model that answers with the adapter versions it was pinned to, whatever is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seamline.errors import ModelError
from seamline.models.engine import LocalModel
from seamline.models.protocol import (
    DecideRequest,
    DecideResponse,
    WriteRequest,
    WriteResponse,
)
from seamline.models.skills import SkillStore

__all__ = ["OFF", "AbsentModel", "PinnedModel"]

OFF = "off"
"""In the place of a version: the bare base, asked as the skill asks."""


class PinnedModel:
    """The local model with each skill at a fixed version, or without its adapter.

    Args:
        model: The engine.
        skills: Where the contract of a skill that is off is found.
        pins: Skill to version, or to `OFF`; a skill that is not named is asked as referred to.
    """

    def __init__(self, model: LocalModel, skills: SkillStore, pins: Mapping[str, str]) -> None:
        self._model, self._skills, self._pins = model, skills, dict(pins)

    async def decide(
        self, requests: Sequence[DecideRequest], *, skill: str | None = None
    ) -> list[DecideResponse]:
        """See `LocalModel.decide`."""
        if skill is not None and self._is_off(skill):
            contract = self._skills.get(skill).spec.contract
            return await self._model.decide_bare(requests, contract)
        return await self._model.decide(requests, skill=self._pinned(skill))

    async def write(self, request: WriteRequest, *, skill: str | None = None) -> WriteResponse:
        """See `LocalModel.write`."""
        off = skill is not None and self._is_off(skill)
        return await self._model.write(request, skill=None if off else self._pinned(skill))

    def identity(self, skill: str | None = None) -> Mapping[str, Any]:
        """Base and adapter by digest; `skill` ends in `@off` where the adapter is off."""
        if skill is not None and self._is_off(skill):
            return {**self._model.identity(), "skill": f"{_name(skill)}@{OFF}"}
        return self._model.identity(self._pinned(skill))

    def _is_off(self, skill: str) -> bool:
        return self._pins.get(_name(skill)) == OFF

    def _pinned(self, skill: str | None) -> str | None:
        if skill is None:
            return None
        version = self._pins.get(_name(skill))
        return skill if version is None else f"{_name(skill)}@{version}"


class AbsentModel:
    """A model that only says who it was; a replay must never ask it."""

    def __init__(self, identity: Mapping[str, Any]) -> None:
        self._identity = dict(identity)

    async def decide(
        self,
        requests: Sequence[DecideRequest],  # noqa: ARG002
        *,
        skill: str | None = None,  # noqa: ARG002
    ) -> list[DecideResponse]:
        """Never answers. Raises `ModelError`."""
        raise ModelError("a replay serves every answer from the journal and asks no model")

    async def write(
        self,
        request: WriteRequest,  # noqa: ARG002
        *,
        skill: str | None = None,  # noqa: ARG002
    ) -> WriteResponse:
        """Never answers. Raises `ModelError`."""
        raise ModelError("a replay serves every answer from the journal and asks no model")

    def identity(self, skill: str | None = None) -> Mapping[str, Any]:  # noqa: ARG002
        """What the journal's header says answered."""
        return dict(self._identity)


def _name(reference: str) -> str:
    return reference.partition("@")[0]
