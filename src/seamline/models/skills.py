"""Skills: an adapter with its contract, its digests and its numbers, as files.

`models/skills/<skill>/<semver>/` holds a PEFT folder and `skill.yaml`. Everything that could
make an adapter run on the wrong base, or not run at all, is checked here, before a first call.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from seamline.errors import ModelError, SkillError
from seamline.models.contracts import SkillContract
from seamline.models.declarations import read_yaml
from seamline.models.digests import weights_digest
from seamline.models.evaluation.records import behaviour_digest, require_gate
from seamline.writing import exclusive, replace_file

__all__ = [
    "AdapterSpec",
    "BaseRef",
    "Calibration",
    "Confidence",
    "Level",
    "Marks",
    "Skill",
    "SkillSpec",
    "SkillStore",
    "write_spec",
]

Level = Literal["low", "medium", "high"]

_HEADER = "# Written by packaging from recipe.yaml, the adapter and its evaluation; edit those.\n"
_WEIGHTS = "adapter_model.safetensors"
_REFERENCE = re.compile(r"^([a-z][a-z0-9_]*)(?:@([A-Za-z0-9._-]+))?$")
_LABEL = re.compile(r"^[a-z][a-z0-9_-]{0,63}$")
_SEMVER = re.compile(r"^(\d+)\.(\d+)\.(\d+)$")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BaseRef(_Frozen):
    """The base an adapter was trained on, by name and digests."""

    name: str
    digest: str
    tokenizer_digest: str
    chat_template_digest: str


class AdapterSpec(_Frozen):
    """The adapter's shape and the digest of its tensors."""

    digest: str
    rank: int = Field(ge=1)


class Calibration(_Frozen):
    """How logit margins become probabilities, and which of these are answers.

    Attributes:
        temperature: A score is the sigmoid or softmax of `(margin + bias) / temperature`.
        bias: Added to a branch's margin.
        knots: (score, probability) pairs, both rising: what a score of before is worth, linear
            between them; empty where the temperature is enough.
        threshold: The score from which a name is an answer.
        abstain_below: An answer that scores less is reported as not sure. None where that was
            not fitted; then `Confidence.low` says so.
    """

    temperature: float = Field(default=1.0, gt=0)
    bias: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()
    threshold: float = Field(default=0.5, gt=0, lt=1)
    abstain_below: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _rising(self) -> Self:
        for one, other in itertools.pairwise(self.knots):
            if not (one[0] < other[0] and one[1] < other[1]):
                raise ValueError(f"knots must rise; {list(one)} comes before {list(other)}")
        return self

    def mapped(self, scores: Sequence[float]) -> list[float]:
        """Scores after the knots."""
        if not self.knots:
            return list(scores)
        import numpy as np  # Tools import this module for its types; most need no numpy.

        knots = np.asarray(self.knots)
        found: list[float] = np.interp(scores, knots[:, 0], knots[:, 1]).tolist()
        return found


class Confidence(_Frozen):
    """Where the words for a score begin: below `low` it is low, from `high` on high."""

    low: float = Field(default=0.5, ge=0, le=1)
    high: float = Field(default=0.8, ge=0, le=1)


class Marks(_Frozen):
    """What a tool needs to know of its skill's scores.

    Attributes:
        threshold: The score from which a name is an answer.
        low: An answer that scores less is not sure: it is reported, and not asserted.
        high: From here on an answer is of high confidence.
    """

    threshold: float = 0.5
    low: float = 0.5
    high: float = 0.8

    def level(self, score: float) -> Level:
        """The score in words; `low` means not sure."""
        return "low" if score < self.low else "high" if score >= self.high else "medium"


class SkillSpec(_Frozen):
    """`skill.yaml`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    version: str = Field(pattern=_SEMVER.pattern)
    kind: Literal["lora", "alora"] = "lora"
    description: str
    licence: str
    base: BaseRef
    adapter: AdapterSpec
    contract: SkillContract
    max_tokens: int = Field(default=1024, ge=64)
    calibration: Calibration = Calibration()
    confidence: Confidence = Confidence()
    evaluated_with: tuple[str, ...] = ()
    evaluation: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def marks(self) -> Marks:
        """How its scores are read: by the calibration, or by `confidence` before there is one."""
        fitted = self.calibration.abstain_below
        return Marks(
            threshold=self.calibration.threshold,
            low=self.confidence.low if fitted is None else fitted,
            high=self.confidence.high,
        )


class Skill:
    """One version of a skill on disk.

    Attributes:
        spec: Its `skill.yaml`.
        path: Its folder.
    """

    def __init__(self, path: Path) -> None:
        """Read `path/skill.yaml`.

        Raises:
            SkillError: The file is missing or wrong, or sits in another skill's folder.
        """
        file = path / "skill.yaml"
        self.spec = read_yaml(SkillSpec, file, "a skill declaration", error=SkillError)
        self.path = path
        if (path.parent.name, path.name) != (self.spec.name, self.spec.version):
            raise SkillError(
                f"{file} declares {self.ref}; move it to {self.spec.name}/{self.spec.version}/, "
                f"or correct its name and version"
            )

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.spec.name}@{self.spec.version}"

    def check(self, base: BaseRef | None = None) -> None:
        """Hold the files against the declaration, and the declaration against `base`.

        Raises:
            SkillError: A weights file other than safetensors is present, the adapter's digest,
                rank or kind differs, or the base, tokenizer or chat template is another one.
        """
        config_file = self.path / "adapter_config.json"
        for stray in self.path.glob("adapter_model.*"):
            if stray.suffix != ".safetensors":
                raise SkillError(
                    f"{stray} is not safetensors, and other formats can run code; delete it and "
                    f"save the adapter with safe_serialization=True"
                )
        try:
            config = json.loads(config_file.read_text(encoding="utf-8"))
            digest = weights_digest(self.path / _WEIGHTS)
        except (OSError, ValueError, ModelError) as error:
            raise SkillError(f"skill {self.ref} has no usable adapter: {error}") from error
        if digest != self.spec.adapter.digest:
            raise SkillError(
                f"the adapter of skill {self.ref} is {digest}, but skill.yaml pins "
                f"{self.spec.adapter.digest}; restore {self.path / _WEIGHTS}, or package the new "
                f"adapter as a new version"
            )
        if config.get("r") != self.spec.adapter.rank:
            raise SkillError(
                f"skill {self.ref} declares rank {self.spec.adapter.rank}, its adapter has rank "
                f"{config.get('r')!r}; correct adapter.rank in skill.yaml"
            )
        if config.get("auto_mapping") or config.get("peft_type") != "LORA":
            raise SkillError(
                f"skill {self.ref} needs code from elsewhere or is no LoRA "
                f"(peft_type {config.get('peft_type')!r}); only plain PEFT LoRA folders load"
            )
        if (self.spec.kind == "alora") != bool(config.get("alora_invocation_tokens")):
            raise SkillError(
                f"skill {self.ref} declares kind {self.spec.kind}, but its adapter_config.json has "
                f"alora_invocation_tokens {config.get('alora_invocation_tokens')!r}; package it "
                f"again from the recipe it was trained with"
            )
        if base is not None:
            self._fits(base)

    def _fits(self, base: BaseRef) -> None:
        for field in ("digest", "tokenizer_digest", "chat_template_digest"):
            wanted, found = getattr(self.spec.base, field), getattr(base, field)
            if wanted != found:
                raise SkillError(
                    f"skill {self.ref} was trained on {self.spec.base.name} with {field} {wanted}, "
                    f"but base {base.name} has {found}; pull the base it names, or retrain it"
                )


def write_spec(folder: Path, spec: SkillSpec) -> None:
    """Write `skill.yaml`; an earlier one is replaced whole."""
    text = yaml.safe_dump(
        spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=96
    )
    replace_file(folder / "skill.yaml", _HEADER + text)


class SkillStore:
    """The skills under `models/skills`, and the labels that point at versions.

    `skills.lock` holds `{"labels": {skill: {label: version}}, "released": {skill: {version:
    digest}}}`: where labels point, and what has been production, by its behaviour digest.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Every skill that has at least one version."""
        return sorted({file.parent.parent.name for file in self.root.glob("*/*/skill.yaml")})

    def versions(self, name: str) -> list[str]:
        """A skill's versions, oldest first."""
        return self._with("skill.yaml", name)

    def recipes(self, name: str) -> list[str]:
        """The versions that have a recipe, oldest first; they may not be trained yet."""
        return self._with("recipe.yaml", name)

    def _with(self, file: str, name: str) -> list[str]:
        found = (path.parent.name for path in (self.root / name).glob(f"*/{file}"))
        return sorted(
            (version for version in found if _SEMVER.match(version)),
            key=lambda version: tuple(map(int, version.split("."))),
        )

    def labels(self, name: str) -> dict[str, str]:
        """A skill's labels and the versions they point at."""
        return dict(self._lock("labels").get(name, {}))

    def released(self, skill: Skill) -> bool:
        """Whether the label production points at this version, or has before, as it is now."""
        known = self._lock("released").get(skill.spec.name, {})
        return known.get(skill.spec.version) == behaviour_digest(skill)

    def has_been_production(self, name: str, version: str) -> bool:
        """Whether the label production points at this version, or has before, changed or not."""
        current = self.labels(name).get("production")
        return version == current or version in self._lock("released").get(name, {})

    def get(self, reference: str) -> Skill:
        """The skill of `name`, `name@version` or `name@label` (`name` means `@production`).

        Raises:
            SkillError: There is no such skill, version or label.
        """
        match = _REFERENCE.match(reference)
        if match is None:
            raise SkillError(
                f"{reference!r} is no skill reference; write name, name@1.0.0 or name@production"
            )
        name, tag = match.group(1), match.group(2) or "production"
        versions = self.versions(name)
        if not versions:
            close = get_close_matches(name, self.names(), n=1)
            hint = (
                f"did you mean {close[0]}?"
                if close
                else f"{self.root} holds: " + (", ".join(self.names()) or "none")
            )
            raise SkillError(f"there is no skill {name!r}; {hint}")
        version = tag if tag in versions else self.labels(name).get(tag)
        if version is None:
            raise SkillError(
                f"skill {name} has no version or label {tag!r}; use one of "
                f"{', '.join([*versions, *sorted(self.labels(name))])}"
            )
        return Skill(self.root / name / version)

    def label(self, name: str, label: str, version: str) -> None:
        """Point `label` at `version`, atomically.

        The label `production` moves to a version that passed the gate against the one it points
        at, or back to one that it has pointed at before and that has not changed since; the
        first version needs neither.

        Raises:
            SkillError: There is no such version, it may not take the label, or the label is not
                a word.
        """
        if not _LABEL.match(label):
            raise SkillError(
                f"label {label!r} must be lower-case letters, digits, '-' and '_', with a letter "
                f"first; write `seamline models label {name} LABEL VERSION`"
            )
        skill = self.get(f"{name}@{version}")
        with exclusive(self.root):
            self._point(skill, label)

    def _point(self, skill: Skill, label: str) -> None:
        name, version = skill.spec.name, skill.spec.version
        labels, released = self._lock("labels"), self._lock("released")
        if label == "production":
            current = labels.get(name, {}).get("production", version)
            if current != version and not self.released(skill):
                require_gate(skill, self.get(f"{name}@{current}"))
            history = released.setdefault(name, {})
            if current not in history:
                # A version that is broken or gone must not keep an earlier one from coming back.
                with contextlib.suppress(SkillError):
                    history[current] = behaviour_digest(self.get(f"{name}@{current}"))
            history[version] = behaviour_digest(skill)
        labels.setdefault(name, {})[label] = version
        content = {"labels": labels} | ({"released": released} if released else {})
        replace_file(
            self.root / "skills.lock", json.dumps(content, indent=2, sort_keys=True) + "\n"
        )

    def _lock(self, part: Literal["labels", "released"]) -> dict[str, dict[str, str]]:
        file = self.root / "skills.lock"
        if not file.exists():
            return {}
        try:
            lock = json.loads(file.read_text(encoding="utf-8"))
            # A lock of before the history was kept has none.
            found = lock["labels"] if part == "labels" else lock.get(part, {})
            return {str(n): {str(k): str(v) for k, v in of.items()} for n, of in found.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SkillError(
                f"{file} is damaged ({error!r}); restore it from version control"
            ) from error
