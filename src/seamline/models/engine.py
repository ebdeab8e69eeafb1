"""The local engine: one base in memory, its adapters resident, decisions without decoding.

A decision is one forward pass: the prefix of a request is read once, every question about it
is a branch, and the answer is read from the logits of the answer tokens alone.
"""

from __future__ import annotations

import asyncio
import functools
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seamline.errors import ModelError, SkillError
from seamline.models.bases import BaseSpec
from seamline.models.bases import path as base_path
from seamline.models.contracts import SkillContract
from seamline.models.encoding import Batch, Encoder, Row, collate, collate_branches, pack
from seamline.models.precision import fast_dtype
from seamline.models.protocol import (
    DecideRequest,
    DecideResponse,
    TokenChoice,
    Usage,
    WriteRequest,
    WriteResponse,
)
from seamline.models.skills import BaseRef, Calibration, Skill, SkillStore

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from transformers import DynamicCache

__all__ = ["LocalModel"]

Dtype = Literal["auto", "float32", "bfloat16"]
# A decision is read off the logits: nothing is drawn, so there is no seed.
_SCORED = {"method": "scored", "temperature": 0.0, "seed": None}
_LIBRARIES = ("torch", "transformers", "peft", "tokenizers")


class LocalModel:
    """The `Model` that runs on this machine.

    Loading is lazy: nothing of torch is imported before the first question. Calls are
    serialised on one worker thread, because one forward pass already uses every core.

    Args:
        base: The base's declaration; it must have been pulled.
        skills: Where adapters are found.
        cache: Where bases are kept; the default cache when not given.
        dtype: `auto` takes bfloat16 where the CPU computes it natively (or on a GPU), else
            float32.
        batch_tokens: Padded tokens that one forward pass may hold.
        max_context: Tokens of one request; a longer context loses its middle.
    """

    def __init__(
        self,
        base: BaseSpec,
        skills: SkillStore,
        *,
        cache: Path | None = None,
        dtype: Dtype = "auto",
        batch_tokens: int = 4096,
        max_context: int = 2048,
    ) -> None:
        self._base, self._skills, self._cache = base, skills, cache
        self._dtype_wanted, self._batch_tokens, self._max_context = dtype, batch_tokens, max_context
        self._model: Any = None
        self._encoder: Encoder | None = None
        self._resident: dict[str, Skill] = {}
        self._found: dict[str, Skill] = {}
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="seamline-engine")

    async def decide(
        self, requests: Sequence[DecideRequest], *, skill: str | None = None
    ) -> list[DecideResponse]:
        """One response a request: p(yes) per choice, or the probabilities of a label set.

        Raises:
            BaseNotPulledError: The base is not on this machine.
            SkillError: The skill does not exist, does not fit the base, or does not answer
                this kind of question.
            ModelError: No skill was named; the bare base does not decide.
        """
        if skill is None:
            raise ModelError(
                "the local base decides through a skill; name one, e.g. skill='decide'"
            )
        found: list[DecideResponse] = await self._run(self._decide, list(requests), skill)
        return found

    async def decide_bare(
        self, requests: Sequence[DecideRequest], contract: SkillContract
    ) -> list[DecideResponse]:
        """What the base says without any adapter, asked as `contract` asks.

        The comparison that every skill has to beat; its scores are not calibrated.

        Raises:
            BaseNotPulledError: The base is not on this machine.
        """
        found: list[DecideResponse] = await self._run(self._decide_bare, list(requests), contract)
        return found

    async def logits(
        self, requests: Sequence[DecideRequest], *, skill: str
    ) -> list[NDArray[np.float32]]:
        """What `decide` reads before any calibration: one array a request.

        Of shape (questions, answer tokens): the logits of yes and no of every choice, or, of a
        label set, those of all verbalisers in one line.

        Raises:
            BaseNotPulledError: The base is not on this machine.
            SkillError: The skill does not exist, does not fit the base, or does not answer
                this kind of question.
        """
        found: list[NDArray[np.float32]] = await self._run(self._raw, list(requests), skill)
        return found

    async def write(self, request: WriteRequest, *, skill: str | None = None) -> WriteResponse:
        """Text, decoded token by token.

        Raises:
            BaseNotPulledError: The base is not on this machine.
            SkillError: The skill does not exist or does not fit the base.
        """
        found: WriteResponse = await self._run(self._write, request, skill)
        return found

    def identity(self, skill: str | None = None) -> Mapping[str, Any]:
        """Base and adapter by digest; needs neither torch nor the pulled base."""
        found: dict[str, Any] = {"base": self._base.name, "base_digest": self._base.digest}
        if skill is not None:
            known = self._skill(skill)
            found |= {"skill": known.ref, "adapter_digest": known.spec.adapter.digest}
        return found

    def token_text(self, token: int) -> str:
        """The text of a token of the base.

        Raises:
            BaseNotPulledError: The base is not on this machine.
        """
        self.load()
        return str(self._need_encoder().tokenizer.decode([token]))

    def load(self, *skills: str) -> None:
        """Load the base and these skills now instead of at the first question.

        Raises:
            BaseNotPulledError: The base is not on this machine.
            SkillError: A skill does not fit the base.
        """
        self._executor.submit(self._load_all, skills).result()

    def close(self) -> None:
        """Let the base go."""
        self._executor.shutdown(wait=True)
        self._model, self._resident = None, {}

    async def _run(self, function: Any, *arguments: Any) -> Any:
        call = functools.partial(function, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def _skill(self, reference: str) -> Skill:
        if reference not in self._found:
            self._found[reference] = self._skills.get(reference)
        return self._found[reference]

    def _load_all(self, skills: Sequence[str]) -> None:
        self._load_base()
        for skill in skills:
            self._activate(self._skill(skill))

    def _load_base(self) -> None:
        if self._model is not None:
            return
        folder = base_path(self._base, cache=self._cache)
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.utils import logging as transformers_logging
        except ImportError as error:
            raise ModelError(
                f"the local engine needs {error.name}; run pip install 'seamline[local]'"
            ) from error
        quiet: Any = transformers_logging.disable_progress_bar
        quiet()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._dtype = self._resolve_dtype(device)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=self._dtype, local_files_only=True
        )
        self._model = model.to(device)
        self._model.eval()
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._encoder = Encoder(tokenizer, max_tokens=self._max_context)

    def _resolve_dtype(self, device: str) -> torch.dtype:
        import torch

        if self._dtype_wanted != "auto":
            return torch.float32 if self._dtype_wanted == "float32" else torch.bfloat16
        return fast_dtype(device)

    def _activate(self, skill: Skill) -> None:
        """Make `skill` the adapter that the next forward pass runs with."""
        import torch

        from seamline.models.merged_lora import answer_merged

        name = skill.ref.replace(".", "_")
        if skill.ref not in self._resident:
            skill.check(_ref(self._base))
            try:
                with warnings.catch_warnings():
                    # PEFT reads an attribute that transformers has renamed; nothing to act on.
                    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing")
                    self._attach(skill, name)
            except (RuntimeError, ValueError, KeyError, TypeError) as error:
                raise SkillError(f"skill {skill.ref} does not load: {error}") from error
            self._refuse_dead_adapter(skill, name)
            if self._dtype == torch.float32 and self._model.device.type == "cpu":
                answer_merged(self._model)
            self._resident[skill.ref] = skill
            self._model.eval()
        self._model.set_adapter(name)

    def _attach(self, skill: Skill, name: str) -> None:
        from peft import LoraConfig, PeftModel

        # Where an aLoRA acts is decided here, by what is fed with the adapter on; PEFT would
        # look for the invocation tokens in ids that it does not get, and run the bare base.
        config: Any = LoraConfig.from_pretrained(str(skill.path))
        config.alora_invocation_tokens = None
        options: Any = {"adapter_name": name, "autocast_adapter_dtype": False}
        if self._resident:
            self._model.add_adapter(name, config, autocast_adapter_dtype=False)
            self._model.load_adapter(str(skill.path), **options)
        else:
            self._model = PeftModel.from_pretrained(
                self._model, str(skill.path), config=config, **options
            )

    def _refuse_dead_adapter(self, skill: Skill, name: str) -> None:
        """An adapter that PEFT could not match leaves B at zero: the bare base, silently."""
        alive = False
        for key, tensor in self._model.named_parameters():
            if f".{name}." in key:
                tensor.data = tensor.data.to(self._dtype)
                alive = alive or ("lora_B" in key and bool(tensor.any()))
        if alive:
            return
        raise SkillError(
            f"skill {skill.ref} changes nothing: none of its tensors matched the base "
            f"{self._base.name}; retrain it on this base"
        )

    def _decide(self, requests: list[DecideRequest], reference: str) -> list[DecideResponse]:
        self._load_base()
        skill = self._skill(reference)
        self._activate(skill)
        spec, lineage = skill.spec, self._lineage(skill)
        return self._score(requests, spec.contract, spec.calibration, lineage, self._reader(skill))

    def _decide_bare(
        self, requests: list[DecideRequest], contract: SkillContract
    ) -> list[DecideResponse]:
        self._load_base()
        with self._bare_unless(None):
            lineage = self._lineage(None)
            return self._score(requests, contract, Calibration(), lineage, self._whole)

    def _raw(self, requests: list[DecideRequest], reference: str) -> list[NDArray[np.float32]]:
        self._load_base()
        skill = self._skill(reference)
        self._activate(skill)
        found: dict[int, NDArray[np.float32]] = {}
        for group, rows, logits in self._read(requests, skill.spec.contract, self._reader(skill)):
            flat, at = logits.numpy(), 0
            for index, row in zip(group, rows, strict=True):
                found[index] = flat[at : at + len(row.branches)]
                at += len(row.branches)
        return [found[i] for i in range(len(requests))]

    def _score(
        self,
        requests: Sequence[DecideRequest],
        contract: SkillContract,
        calibration: Calibration,
        lineage: dict[str, Any],
        read: Callable[[Sequence[Row]], torch.Tensor],
    ) -> list[DecideResponse]:
        answers = self._answers(contract)
        responses: dict[int, DecideResponse] = {}
        for group, packed, logits in self._read(requests, contract, read):
            shape = {"batch_rows": len(group), "batch_length": max(map(len, packed))}
            scores = _scores(logits, contract, calibration, packed)
            chosen = iter(_chosen(logits, answers))
            for index, row, own in zip(group, packed, scores, strict=True):
                responses[index] = DecideResponse(
                    scores=own,
                    labels=tuple(contract.labels) if contract.read == "labels" else (),
                    usage=Usage(input_tokens=len(row)),
                    lineage=lineage | shape | {"sampling": _SCORED},
                    token_ids=row.ids,
                    answers=tuple(next(chosen) for _ in row.branches),
                )
        return [responses[i] for i in range(len(requests))]

    def _read(
        self,
        requests: Sequence[DecideRequest],
        contract: SkillContract,
        read: Callable[[Sequence[Row]], torch.Tensor],
    ) -> Iterator[tuple[list[int], list[Row], torch.Tensor]]:
        """Batch by batch: which requests, their rows, and the logits of the answer tokens."""
        encoder = self._need_encoder()
        rows = [encoder.row(request, contract) for request in requests]
        answers = self._answers(contract)
        for group in pack([len(row) for row in rows], max_tokens=self._batch_tokens):
            packed = [rows[i] for i in group]
            yield group, packed, self._logits(read(packed), answers)

    def _reader(self, skill: Skill) -> Callable[[Sequence[Row]], torch.Tensor]:
        return self._behind_prefixes if skill.spec.kind == "alora" else self._whole

    def _answers(self, contract: SkillContract) -> torch.Tensor:
        import torch

        words = contract.labels.values() if contract.read == "labels" else contract.answers
        return torch.tensor([self._need_encoder().token(word) for word in words])

    def _logits(self, read: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        """The logits of the answer tokens at every read: (reads, answers), float32."""
        import torch

        with torch.inference_mode():
            weight = self._causal.lm_head.weight[answers.to(read.device)].float()
            logits: torch.Tensor = read.float() @ weight.T
        return logits.cpu()

    def _whole(self, rows: Sequence[Row]) -> torch.Tensor:
        """The last states of every branch, in one pass with one set of weights."""
        pad = self._need_encoder().tokenizer.pad_token_id or 0
        return self._states(collate(rows, pad_id=pad, dtype=self._dtype), None)

    def _behind_prefixes(self, rows: Sequence[Row]) -> torch.Tensor:
        """The same, where the prefixes are the bare base's and only branches the adapter's."""
        import torch

        from seamline.models.prefixes import read_prefixes

        distinct = list(dict.fromkeys(row.prefix for row in rows))
        with self._model.disable_adapter():
            held = read_prefixes(self._causal, distinct)
        own = [distinct.index(row.prefix) for row in rows]
        pad = self._need_encoder().tokenizer.pad_token_id or 0
        batch = collate_branches(rows, pad_id=pad, dtype=self._dtype)
        # A document that is asked once need not be copied.
        if own != list(range(len(own))):
            held.batch_select_indices(torch.tensor(own, device=self._causal.device))
        return self._states(batch, held)

    def _states(self, batch: Batch, held: DynamicCache | None) -> torch.Tensor:
        """The last hidden state at every read: (reads, hidden)."""
        import torch

        causal = self._causal
        device = causal.device
        with torch.inference_mode():
            hidden: torch.Tensor = causal.model(
                input_ids=batch.input_ids.to(device),
                position_ids=batch.position_ids.to(device),
                attention_mask=batch.attention_mask.to(device),
                past_key_values=held,
                use_cache=held is not None,
            ).last_hidden_state
            reads = batch.reads.to(device)
            return hidden[reads[:, 0], reads[:, 1]]

    @property
    def _causal(self) -> Any:
        return self._model.get_base_model() if self._resident else self._model

    def _write(self, request: WriteRequest, reference: str | None) -> WriteResponse:
        import torch

        self._load_base()
        skill = self._skill(reference) if reference else None
        if skill is not None:
            self._activate(skill)
        encoder = self._need_encoder()
        ids = encoder.chat(request.instructions, request.context)[-self._max_context :]
        inputs = torch.tensor([ids], device=self._model.device)
        sampling = {"do_sample": False}
        if request.temperature > 0:
            torch.manual_seed(request.seed)
            sampling = {"do_sample": True, "temperature": request.temperature}  # type: ignore[dict-item]
        with torch.inference_mode(), self._bare_unless(skill):
            out = self._model.generate(
                input_ids=inputs,
                attention_mask=torch.ones_like(inputs),
                max_new_tokens=request.max_tokens,
                pad_token_id=encoder.tokenizer.pad_token_id or 0,
                **sampling,
            )[0, len(ids) :]
        return WriteResponse(
            text=encoder.tokenizer.decode(out, skip_special_tokens=True).strip(),
            usage=Usage(input_tokens=len(ids), output_tokens=len(out)),
            lineage={
                **self._lineage(skill),
                "sampling": {
                    "method": "sampled" if request.temperature > 0 else "greedy",
                    "temperature": request.temperature,
                    "seed": request.seed,
                },
            },
            token_ids=tuple(ids),
            output_ids=tuple(out.tolist()),
        )

    def _bare_unless(self, skill: Skill | None) -> Any:
        from contextlib import nullcontext

        if skill is not None or not self._resident:
            return nullcontext()
        return self._model.disable_adapter()

    def _need_encoder(self) -> Encoder:
        assert self._encoder is not None, "the base is loaded before any request is encoded"
        return self._encoder

    def _lineage(self, skill: Skill | None) -> dict[str, Any]:
        import torch

        return {
            **self.identity(skill.ref if skill else None),
            "tokenizer_digest": self._base.tokenizer_digest,
            "chat_template_digest": self._base.chat_template_digest,
            "libraries": {name: metadata.version(name) for name in _LIBRARIES},
            "dtype": str(self._dtype).removeprefix("torch."),
            "device": self._model.device.type,
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
        }


def _ref(base: BaseSpec) -> BaseRef:
    return BaseRef(
        name=base.name,
        digest=base.digest,
        tokenizer_digest=base.tokenizer_digest,
        chat_template_digest=base.chat_template_digest,
    )


def _scores(
    logits: torch.Tensor, contract: SkillContract, calibration: Calibration, rows: Sequence[Row]
) -> list[tuple[float, ...]]:
    """The logits of one batch as calibrated probabilities, row by row."""
    margins = logits if contract.read == "labels" else logits[:, 0] - logits[:, 1]
    scaled = (margins + calibration.bias) / calibration.temperature
    if contract.read == "labels":
        return [_rounded(calibration.mapped(row)) for row in scaled.softmax(dim=-1).tolist()]
    flat = iter(calibration.mapped(scaled.sigmoid().tolist()))
    return [_rounded([next(flat) for _ in row.branches]) for row in rows]


def _chosen(logits: torch.Tensor, answers: torch.Tensor) -> list[TokenChoice]:
    """The preferred answer token of every read and the one behind it."""
    best = logits.log_softmax(dim=-1).topk(2, dim=-1)
    tokens, logprobs = answers[best.indices].tolist(), best.values.tolist()
    return [
        TokenChoice(
            token=first,
            logprob=round(of_first, 6),
            runner_up=second,
            runner_up_logprob=round(of_second, 6),
        )
        for (first, second), (of_first, of_second) in zip(tokens, logprobs, strict=True)
    ]


def _rounded(scores: Sequence[float]) -> tuple[float, ...]:
    """Six digits: what is recorded is what was decided on."""
    return tuple(round(score, 6) for score in scores)
