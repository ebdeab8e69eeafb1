"""The model effects of a recorded run computed again, and compared token by token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from seamline.errors import ConfigError
from seamline.models.pinned import OFF, PinnedModel
from seamline.models.protocol import DecideRequest, DecideResponse, TokenChoice

if TYPE_CHECKING:
    from seamline.project import Project
    from seamline.traces.journal import Entry
    from seamline.traces.trace import Trace

__all__ = ["Candidate", "Difference", "Progress", "Verdict", "Verification", "verify"]

Verdict = Literal["identical", "different", "incomplete", "nothing compared"]
Progress = Callable[[int, int, str], None]

_DIGESTS = ("base_digest", "tokenizer_digest", "chat_template_digest", "adapter_digest")
_RUNTIME = ("libraries", "dtype", "device")
_NOTED = ("machine", "threads")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A token that one side considered, and its log-probability among the allowed ones."""

    token: int
    logprob: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first token in which a recomputed effect is not as recorded.

    `part` is `input` or `answer`, `position` counts its tokens from 0, over the whole request.
    Each side's candidates stand with the preferred one first; an input token stands alone.
    """

    effect: str
    request: int
    part: str
    position: int
    recorded: Sequence[Candidate]
    computed: Sequence[Candidate]


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of computing a run's model effects again.

    Attributes:
        effects: How many were recomputed.
        tokens: How many answer tokens were compared.
        identical: Whether the verdict is `identical`.
        same_bits: Whether the scores are the recorded ones too, to the last digit.
        difference: The first difference in tokens.
        refused: Effect to the reason why it was not compared.
        notes: What differs without being a reason to refuse: machine, threads.
        verdict: `different` where a token differs; else `identical`, `incomplete` where effects
            were refused, or `nothing compared` where none was left or the run asked no model.
    """

    run_id: str
    effects: int
    tokens: int
    same_bits: bool
    difference: Difference | None
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def verdict(self) -> Verdict:
        """What came of it in a word."""
        if self.difference is not None:
            return "different"
        if not self.effects:
            return "nothing compared"
        return "incomplete" if self.refused else "identical"

    @property
    def identical(self) -> bool:
        """Whether every token is the recorded one, and nothing was refused."""
        return self.verdict == "identical"


async def verify(
    project: Project, trace: Trace, *, force: bool = False, on_progress: Progress | None = None
) -> Verification:
    """Compute every model effect again that a local model answered, and compare.

    An effect is asked with the recorded requests, in the recorded batch, of the recorded adapter
    version. It is refused where base, tokenizer, template, adapter, libraries, dtype or device
    are not those of the recording, unless `force`: other tokens would prove nothing then. One
    that no local model answered is always refused: it has no tokens to compare.

    Raises:
        ModelError: The base is not on this machine, or a model failed.
    """
    entries = [entry for entry in trace.entries if entry.kind == "model" and entry.error is None]
    found = _Findings()
    for number, entry in enumerate(entries):
        if on_progress is not None:
            on_progress(number, len(entries), entry.key.path)
        recorded = _responses(trace.result(entry))
        why = _answered_elsewhere(recorded) or ("" if force else _absent(project, recorded))
        if why:
            found.refused[entry.key.text] = why
            continue
        computed = await _computed(project, trace, entry, recorded)
        why = "" if force else _other_runtime(recorded, computed)
        if why:
            found.refused[entry.key.text] = why
            continue
        found.add(entry, recorded, computed)
    return Verification(
        run_id=trace.run_id,
        effects=found.effects,
        tokens=found.tokens,
        same_bits=found.same_bits,
        difference=found.difference,
        refused=found.refused,
        notes=tuple(found.notes),
    )


@dataclass
class _Findings:
    effects: int = 0
    tokens: int = 0
    same_bits: bool = True
    difference: Difference | None = None
    refused: dict[str, str] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)

    def add(
        self, entry: Entry, recorded: list[DecideResponse], computed: list[DecideResponse]
    ) -> None:
        self.effects += 1
        self.tokens += sum(len(one.answers) for one in computed)
        for number, (old, new) in enumerate(zip(recorded, computed, strict=True)):
            self.same_bits = self.same_bits and old.scores == new.scores
            self.difference = self.difference or _difference(entry, number, old, new)
            for name in _NOTED:
                was, now = old.lineage.get(name), new.lineage.get(name)
                if was != now:
                    self.notes[f"{name} was {was}, is {now}"] = None


def _responses(result: Any) -> list[DecideResponse]:
    return [DecideResponse.model_validate(one) for one in result["responses"]]


def _lineage(recorded: Sequence[DecideResponse]) -> Mapping[str, Any]:
    return recorded[0].lineage if recorded else {}


def _answered_elsewhere(recorded: Sequence[DecideResponse]) -> str:
    """Who answered, where it was no local model; empty where it was one."""
    was = _lineage(recorded)
    if "base_digest" in was:
        return ""
    who = was.get("endpoint") or was.get("model") or "a model that is not named"
    return f"it was answered by {who}, which does not run here"


def _absent(project: Project, recorded: Sequence[DecideResponse]) -> str:
    """Why the recorded base or adapter cannot be asked here; empty where it can."""
    was = _lineage(recorded)
    base = project.base
    if base.digest != was["base_digest"]:
        return f"it was answered on base {was['base_digest']}, this project's is {base.digest}"
    reference = was.get("skill")
    if reference is None or str(reference).endswith(f"@{OFF}"):
        return ""
    try:
        digest = project.skills.get(str(reference)).spec.adapter.digest
    except ConfigError as error:
        return str(error)
    if digest != was.get("adapter_digest"):
        return f"adapter {reference} was {was.get('adapter_digest')}, is {digest}"
    return ""


async def _computed(
    project: Project, trace: Trace, entry: Entry, recorded: Sequence[DecideResponse]
) -> list[DecideResponse]:
    asked: Any = trace.request(entry)
    requests = [DecideRequest.model_validate(one) for one in asked["requests"]]
    reference = str((asked.get("identity") or {}).get("skill") or _lineage(recorded).get("skill"))
    name, _, version = reference.partition("@")
    model = PinnedModel(project.local_model, project.skills, {name: version} if version else {})
    return await model.decide(requests, skill=name)


def _other_runtime(recorded: Sequence[DecideResponse], computed: Sequence[DecideResponse]) -> str:
    was, now = _lineage(recorded), _lineage(computed)
    for name in (*_DIGESTS, *_RUNTIME):
        if was.get(name) != now.get(name):
            return f"{name} was {was.get(name)}, is {now.get(name)}; --force compares anyway"
    return ""


def _difference(
    entry: Entry, number: int, old: DecideResponse, new: DecideResponse
) -> Difference | None:
    at = _first_unequal(old.token_ids, new.token_ids)
    if at is not None:
        sides = [
            (Candidate(token=ids[at], logprob=0.0),) if at < len(ids) else ()
            for ids in (old.token_ids, new.token_ids)
        ]
        return Difference(
            effect=entry.key.text,
            request=number,
            part="input",
            position=at,
            recorded=sides[0],
            computed=sides[1],
        )
    at = _first_unequal([one.token for one in old.answers], [one.token for one in new.answers])
    if at is None:
        return None
    return Difference(
        effect=entry.key.text,
        request=number,
        part="answer",
        position=at,
        recorded=_candidates(old.answers, at),
        computed=_candidates(new.answers, at),
    )


def _first_unequal(left: Sequence[int], right: Sequence[int]) -> int | None:
    for at in range(max(len(left), len(right))):
        if left[at : at + 1] != right[at : at + 1]:
            return at
    return None


def _candidates(answers: Sequence[TokenChoice], at: int) -> tuple[Candidate, ...]:
    if at >= len(answers):
        return ()
    one = answers[at]
    return (
        Candidate(token=one.token, logprob=one.logprob),
        Candidate(token=one.runner_up, logprob=one.runner_up_logprob),
    )
