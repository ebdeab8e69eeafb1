"""From a policy file to a `Policy`, or to one error that says what to fix."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import regex
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seamline.policies import digest, examples, schemas, templates
from seamline.policies.frontmatter import Body, split_policy
from seamline.policies.messages import policy_error
from seamline.policies.model import (
    NONE,
    ChangelogEntry,
    Check,
    CheckKind,
    Example,
    Policy,
    PolicyConfig,
    PolicyKind,
    Rule,
)
from seamline.policies.pii import PII_KINDS
from seamline.policies.versions import is_version
from seamline.strict_yaml import Document
from seamline.wording import did_you_mean, listed, shown

__all__ = ["MAX_POLICY_BYTES", "load_policy", "parse_policy"]

MAX_POLICY_BYTES = 256 * 1024
MAX_RULES = 200
MAX_PATTERN_CHARS = 1000

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}/[a-z][a-z0-9_]{0,63}")
_TOOL = re.compile(r"[a-z][a-z0-9_]{0,63}")
_REVIEW_CHOICES = ("accept", "flag", "ask", "decline")
_DEFAULT_CHECK_NAMES: dict[CheckKind, str] = {
    "control_chars": "readable text",
    "language": "language",
    "max_chars": "too long",
    "pii": "personal data",
    "script": "script",
    "word_count": "words",
}
# What a check of each kind may be given besides `name` and `kind`.
_CHECK_SETTINGS: dict[CheckKind, tuple[str, ...]] = {
    "allow_list": ("values", "pattern", "ignore_case"),
    "control_chars": (),
    "language": (),
    "max_chars": ("max",),
    "pattern": ("pattern", "ignore_case"),
    "pii": ("kinds",),
    "script": (),
    "word_count": ("min", "max"),
}

_T = TypeVar("_T", bound=BaseModel)
_Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Schema(_Strict):
    schema_: dict[str, Any] = Field(alias="schema")


class _Check(_Strict):
    name: str = ""
    kind: CheckKind
    pattern: str = ""
    ignore_case: bool = False
    kinds: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    min: int | None = Field(default=None, ge=0, le=1_000_000_000)
    max: int | None = Field(default=None, ge=1, le=1_000_000_000)


class _Rule(_Strict):
    when: _Text
    then: _Text
    because: str = ""
    say: str = ""


class _Otherwise(_Strict):
    then: _Text
    because: str = ""
    say: str = ""


class _Selection(_Strict):
    select: str = Field(default="static", pattern="^(static|similar)$")
    k: int = Field(default=4, ge=0, le=50)


class _Config(_Strict):
    resolve: str = Field(default="", pattern="^(first_match|best)$")
    threshold: float = Field(default=0.5, gt=0.0, le=1.0)
    examples: _Selection = _Selection()


class _Changelog(_Strict):
    version: str
    note: str


class _Front(_Strict):
    """The front matter as written; `otherwise` and `examples` have two forms each."""

    name: str
    version: str
    kind: PolicyKind
    description: _Text
    input: _Schema
    output: _Schema | None = None
    config: _Config = _Config()
    tools: tuple[str, ...] = ()
    values: dict[str, Any] = Field(default_factory=dict)
    checks: tuple[_Check, ...] = ()
    rules: tuple[_Rule, ...] = Field(default=(), max_length=MAX_RULES)
    otherwise: Any = None
    examples: Any = ()
    changelog: tuple[_Changelog, ...] = ()


# The keys known at each place, for did-you-mean.
_KEYS: dict[str, type[BaseModel]] = {
    "": _Front,
    "input": _Schema,
    "output": _Schema,
    "config": _Config,
    "config.examples": _Selection,
    "checks": _Check,
    "rules": _Rule,
    "otherwise": _Otherwise,
    "changelog": _Changelog,
}


def load_policy(path: str | Path) -> Policy:
    """The policy in a file `…/<agent>/<name>/<version>.md`.

    Raises:
        PolicyError: The file cannot be read, is too large, or is not a valid policy.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise policy_error(path, f"cannot be read: {error.strerror}") from None
    _check_size(len(data), str(path))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise policy_error(path, "not UTF-8; save the file as UTF-8", line=line) from None
    return parse_policy(text, path=path)


def parse_policy(text: str, *, path: str | Path) -> Policy:
    """The policy that a text says, as the file `path` (which need not exist) would hold it.

    An examples file is read from beside `path`.

    Raises:
        PolicyError: The text is not a valid policy; the message names the place and the fix.
    """
    where = str(path)
    try:
        _check_size(len(text.encode("utf-8")), where)
    except UnicodeEncodeError:
        raise policy_error(where, "not UTF-8: the text holds a lone surrogate") from None
    front, body = split_policy(text, where=where)
    return _Parser(front, body, Path(path)).policy()


def _check_size(size: int, where: str) -> None:
    if size > MAX_POLICY_BYTES:
        raise policy_error(
            where,
            f"larger than {MAX_POLICY_BYTES // 1024} KiB; a policy is a short prompt, put long "
            "material into a tool",
        )


class _Parser:
    def __init__(self, front: Document, body: Body, path: Path) -> None:
        self.front = front
        self.body = body
        self.path = path
        self.where = str(path)

    def fail(self, message: str, *loc: str | int) -> Exception:
        return policy_error(self.where, message, line=self.front.line(loc))

    def policy(self) -> Policy:
        try:
            canonical = digest.canonical_json(self.front.data)
        except (ValueError, RecursionError) as error:
            raise self.fail(f"the front matter is not JSON: {str(error)[:120]}") from None
        raw = self.read(_Front, canonical, ())
        self.identity(raw)
        input_schema = self.input_schema(raw)
        output_schema, otherwise = self.outcome(raw)
        choices = tuple(output_schema["enum"])
        self.bodies(input_schema)
        checks = self.checks(raw)
        rules = self.rules(raw, choices)
        shots = self.examples(input_schema, choices)
        for index, entry in enumerate(raw.changelog):
            if not is_version(entry.version):
                raise self.fail(_bad_version(entry.version), "changelog", index, "version")
        return Policy(
            name=raw.name,
            version=raw.version,
            kind=raw.kind,
            description=raw.description,
            input_schema=input_schema,
            output_schema=output_schema,
            config=PolicyConfig.model_validate(
                {**raw.config.model_dump(), "resolve": self.resolve(raw)}
            ),
            tools=raw.tools,
            values=raw.values,
            checks=checks,
            rules=rules,
            otherwise=otherwise.then,
            otherwise_because=otherwise.because,
            otherwise_say=otherwise.say,
            examples=shots,
            changelog=tuple(
                ChangelogEntry(version=entry.version, note=entry.note) for entry in raw.changelog
            ),
            system=self.body.system,
            user=self.body.user,
            path=self.where,
            digest=self.digest(shots),
        )

    def digest(self, shots: Sequence[Example]) -> str:
        """Over what is written, not over defaults, so that a new setting keeps old digests."""
        return digest.digest_of(
            {
                "front_matter": self.front.data,
                "system": self.body.system,
                "user": self.body.user,
                "examples": [shot.model_dump(mode="json") for shot in shots],
            }
        )

    def read(self, model: type[_T], canonical: str, at: tuple[str | int, ...]) -> _T:
        """A strict reading of JSON, with pydantic's findings told as one line about a file."""
        try:
            return model.model_validate_json(canonical)
        except ValidationError as error:
            # An unknown key is the likely cause of a missing one, so it is told first.
            found = error.errors(include_url=False)
            first = min(found, key=lambda item: item["type"] != "extra_forbidden")
            loc = (*at, *first["loc"])
            raise self.fail(_finding(first["type"], first, loc), *loc) from None

    def identity(self, raw: _Front) -> None:
        if not _NAME.fullmatch(raw.name):
            raise self.fail(
                f"name {shown(raw.name)} must be 'agent/policy' in lower case, digits and '_'",
                "name",
            )
        if not is_version(raw.version):
            raise self.fail(_bad_version(raw.version), "version")
        expected = f"{raw.name}/{raw.version}.md"
        if not f"/{self.path.as_posix()}".endswith(f"/{expected}"):
            found = "/".join(self.path.parts[-3:])
            raise self.fail(
                f"name and version say {expected!r} but the file is {found!r}; move the file, "
                "or correct name and version",
                "version" if f"/{raw.name}/" in f"/{found}" else "name",
            )

    def input_schema(self, raw: _Front) -> dict[str, Any]:
        schema = raw.input.schema_
        problem = schemas.schema_problem(schema)
        if problem is not None:
            raise self.fail(f"input.schema: {problem}", "input", "schema")
        if schema.get("type") != "object" or not isinstance(schema.get("properties"), dict):
            raise self.fail(
                "input.schema must have 'type: object' and 'properties', the variables of the "
                "prompt",
                "input",
                "schema",
            )
        return schema

    def resolve(self, raw: _Front) -> str:
        if raw.config.resolve == "best" and raw.kind != "choose":
            raise self.fail("resolve: best is for choose policies", "config", "resolve")
        default = "best" if raw.kind == "choose" and not raw.rules else "first_match"
        if raw.rules and raw.config.resolve == "best":
            raise self.fail(
                "a policy with rules resolves by first_match; remove the rules or 'resolve: best'",
                "config",
                "resolve",
            )
        return raw.config.resolve or default

    def outcome(self, raw: _Front) -> tuple[dict[str, Any], _Otherwise]:
        """The output schema with its closed set, and what is chosen when nothing else is."""
        if raw.tools and raw.kind != "choose":
            raise self.fail("'tools' is for choose policies", "tools")
        for index, tool in enumerate(raw.tools):
            if not _TOOL.fullmatch(tool) or tool == NONE:
                raise self.fail(f"{shown(tool)} is not a tool's name", "tools", index)
            if tool in raw.tools[:index]:
                raise self.fail(f"tool {tool!r} is named twice", "tools", index)
        if raw.output is None and raw.kind != "choose":
            raise self.fail("'output' is missing; give 'output: {schema: {type: string, enum: …}}'")
        default = {"type": "string", "enum": [*raw.tools, NONE]}
        schema = raw.output.schema_ if raw.output is not None else default
        choices = self.enum(schema)
        if raw.kind == "choose" and {*choices, NONE} != {*raw.tools, NONE}:
            odd = sorted({*choices, NONE} ^ {*raw.tools, NONE})
            raise self.fail(
                f"'tools' and output.schema.enum differ in {listed(odd)}; leave 'output' out of a "
                "choose policy, or give both the same names",
                "output",
            )
        if raw.kind == "review" and not set(choices) <= set(_REVIEW_CHOICES):
            odd = sorted(set(choices) - set(_REVIEW_CHOICES))
            raise self.fail(
                f"a review answers with {listed(_REVIEW_CHOICES)}, not {listed(odd)}",
                "output",
                "schema",
                "enum",
            )
        otherwise = self.otherwise(raw)
        if otherwise.then == NONE and raw.kind == "choose":
            schema = {**schema, "enum": list(dict.fromkeys((*choices, NONE)))}
        elif otherwise.then not in choices:
            raise self.not_a_choice("otherwise", otherwise.then, choices, "otherwise")
        return schema, otherwise

    def enum(self, schema: Mapping[str, Any]) -> tuple[str, ...]:
        problem = schemas.schema_problem(schema)
        at = ("output", "schema")
        if problem is not None:
            raise self.fail(f"output.schema: {problem}", *at)
        choices = schema.get("enum")
        if schema.get("type") != "string" or not isinstance(choices, list) or not choices:
            raise self.fail(
                "output.schema must be '{type: string, enum: [...]}', the closed set of answers",
                *at,
            )
        for index, choice in enumerate(choices):
            if not isinstance(choice, str) or not choice.strip():
                raise self.fail(
                    f"output.schema.enum holds {shown(choice)}, which is not text; put it in "
                    "quotes",
                    *at,
                    "enum",
                    index,
                )
            if choice in choices[:index]:
                raise self.fail(
                    f"output.schema.enum holds {shown(choice)} twice", *at, "enum", index
                )
        return tuple(choices)

    def otherwise(self, raw: _Front) -> _Otherwise:
        value = raw.otherwise
        if value is None:
            if raw.kind == "choose":
                return _Otherwise(then=NONE)
            raise self.fail("'otherwise' is missing; name the choice when no rule is met")
        if isinstance(value, dict):
            return self.read(_Otherwise, digest.canonical_json(value), ("otherwise",))
        if not isinstance(value, str):
            raise self.fail(
                f"'otherwise' is {shown(value)}, expected a choice as text; put it in quotes",
                "otherwise",
            )
        return _Otherwise(then=value)

    def not_a_choice(
        self, what: str, choice: str, choices: Sequence[str], *loc: str | int
    ) -> Exception:
        return self.fail(
            f"{what} {shown(choice)} is not in output.schema.enum ({listed(choices)})."
            f"{did_you_mean(choice, choices)}",
            *loc,
        )

    def rules(self, raw: _Front, choices: Sequence[str]) -> tuple[Rule, ...]:
        rules: list[Rule] = []
        seen: dict[str, int] = {}
        for index, rule in enumerate(raw.rules):
            when = " ".join(rule.when.split())
            if not when:
                raise self.fail(f"rule {index + 1}: 'when' is empty", "rules", index, "when")
            if rule.then not in choices:
                raise self.not_a_choice(
                    f"rule {index + 1}: then", rule.then, choices, "rules", index, "then"
                )
            first = seen.setdefault(when.casefold().rstrip("."), index)
            if first != index:
                raise self.fail(
                    f"rule {index + 1} has the same condition as rule {first + 1} "
                    f"({shown(when)}) and can never win; remove one",
                    "rules",
                    index,
                )
            self.template(rule.say, f"rule {index + 1}: say", "rules", index, "say")
            rules.append(Rule(when=when, then=rule.then, because=rule.because, say=rule.say))
        self.template(self.otherwise(raw).say, "otherwise: say", "otherwise", "say")
        return tuple(rules)

    def template(self, source: str, what: str, *loc: str | int) -> None:
        try:
            templates.variables_of(source)
        except templates.TemplateFault as fault:
            raise self.fail(f"{what}: {fault}", *loc) from None

    def bodies(self, input_schema: Mapping[str, Any]) -> None:
        known = [*input_schema["properties"], examples.EXAMPLES_VARIABLE]
        for part, source, start in (
            ("system", self.body.system, self.body.system_line),
            ("user", self.body.user, self.body.user_line),
        ):
            try:
                names = templates.variables_of(source)
            except templates.TemplateFault as fault:
                line = start + (fault.line or 1) - 1
                raise policy_error(self.where, f"{part}: {fault}", line=line) from None
            for name, line in names:
                if name not in known:
                    raise policy_error(
                        self.where,
                        f"{part}: undefined variable {name!r}; input.schema has "
                        f"{listed(input_schema['properties'])}.{did_you_mean(name, known)}",
                        line=start + line - 1,
                    )

    def checks(self, raw: _Front) -> tuple[Check, ...]:
        if raw.checks and raw.kind != "guard":
            raise self.fail("'checks' is for guard policies", "checks")
        names: list[str] = []
        checks: list[Check] = []
        for index, check in enumerate(raw.checks):
            name = " ".join(check.name.split()) or _DEFAULT_CHECK_NAMES.get(check.kind, "")
            if not name:
                raise self.fail(
                    f"a check of kind {check.kind} needs a 'name', the fact that rules read",
                    "checks",
                    index,
                )
            if ":" in name or len(name) > 80:
                raise self.fail(
                    f"check name {shown(name)} must have at most 80 characters and no ':'",
                    "checks",
                    index,
                    "name",
                )
            if name in names:
                raise self.fail(f"two checks are named {name!r}", "checks", index)
            names.append(name)
            self.check_settings(check, index)
            checks.append(Check(**{**check.model_dump(), "name": name}))
        return tuple(checks)

    def check_settings(self, check: _Check, index: int) -> None:
        allowed = _CHECK_SETTINGS[check.kind]
        for key in sorted(check.model_fields_set - {"name", "kind", *allowed}):
            raise self.fail(
                f"a check of kind {check.kind} has no {key!r} (it has: {listed(allowed)})",
                "checks",
                index,
                key,
            )
        needed = {"pattern": "pattern", "allow_list": "values", "max_chars": "max"}.get(check.kind)
        if needed is not None and not getattr(check, needed):
            raise self.fail(f"a check of kind {check.kind} needs {needed!r}", "checks", index)
        for at, kind in enumerate(check.kinds):
            if kind not in PII_KINDS:
                raise self.fail(
                    f"unknown kind of personal data {shown(kind)}; there are: "
                    f"{listed(PII_KINDS)}.{did_you_mean(kind, PII_KINDS)}",
                    "checks",
                    index,
                    "kinds",
                    at,
                )
        if check.min is not None and check.max is not None and check.min > check.max:
            raise self.fail(f"min {check.min} is above max {check.max}", "checks", index, "min")
        if len(check.pattern) > MAX_PATTERN_CHARS:
            raise self.fail(
                f"pattern has more than {MAX_PATTERN_CHARS} characters; use several checks",
                "checks",
                index,
                "pattern",
            )
        try:
            regex.compile(check.pattern)
        # `regex` also raises ValueError, OverflowError and RecursionError on odd patterns.
        except Exception as error:
            raise self.fail(
                f"pattern {shown(check.pattern)} is not a regular expression: {error}",
                "checks",
                index,
                "pattern",
            ) from None

    def examples(
        self, input_schema: Mapping[str, Any], choices: Sequence[str]
    ) -> tuple[Example, ...]:
        shots = examples.read_examples(
            self.front.data.get("examples"),
            folder=self.path.parent,
            where=self.where,
            line=lambda *loc: self.front.line(("examples", *loc)),
        )
        for place, shot in shots:
            problem = schemas.value_problem(input_schema, dict(shot.input))
            if problem is not None:
                raise policy_error(
                    place, f"example {shot.id!r}: input does not fit input.schema: {problem}"
                )
            if shot.output not in choices:
                raise policy_error(
                    place,
                    f"example {shot.id!r}: output {shown(shot.output)} is not in "
                    f"output.schema.enum ({listed(choices)}).{did_you_mean(shot.output, choices)}",
                )
        return tuple(shot for _, shot in shots)


def _finding(kind: str, found: Any, loc: tuple[str | int, ...]) -> str:
    path = ".".join(str(part + 1) if isinstance(part, int) else part for part in loc)
    if kind == "extra_forbidden":
        parent = ".".join(part for part in loc[:-1] if isinstance(part, str))
        known = [field.alias or name for name, field in _KEYS[parent].model_fields.items()]
        key = str(loc[-1])
        return (
            f"unknown key {shown(key)}{' in ' + path.rpartition('.')[0] if parent else ''}; "
            f"there are: {listed(sorted(known), limit=20)}.{did_you_mean(key, known)}"
        )
    if kind == "missing":
        return f"{path!r} is missing"
    if kind == "string_type":
        return f"{path!r} is {shown(found['input'])}, expected text; put it in quotes"
    value = f" is {shown(found['input'])}" if loc else ""
    return f"{path!r}{value}: {found['msg'].lower()}"


def _bad_version(version: str) -> str:
    return f"version {shown(version)} must be MAJOR.MINOR.PATCH, such as 1.0.0 or 2.0.0-rc.1"
