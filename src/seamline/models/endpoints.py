"""OpenAI-compatible endpoints as models: vLLM, Ollama, llama.cpp's server, hosted ones.

An endpoint answers a policy's question in one structured call. It runs without adapters: a
question to a skill is refused, because the bare model would answer something else.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx
from pydantic import BaseModel, ConfigDict, Field, field_validator

from seamline.errors import EndpointError
from seamline.models.chat import Chat, Completion
from seamline.models.declarations import Declared, read_declaration
from seamline.models.protocol import (
    DecideRequest,
    DecideResponse,
    Usage,
    WriteRequest,
    WriteResponse,
)
from seamline.models.single_shot import BadAnswer, Question, ask

__all__ = ["EndpointModel", "EndpointSpec", "Prices", "load_endpoints"]


class Prices(BaseModel):
    """What an endpoint charges for a million tokens, read and written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_per_million: float = Field(ge=0)
    output_per_million: float = Field(ge=0)
    currency: str = "USD"

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """What so many tokens cost."""
        read = input_tokens * self.input_per_million
        return (read + output_tokens * self.output_per_million) / 1e6


class EndpointSpec(Declared):
    """`models/endpoints/<name>.yaml`: where a model is served and how to ask it.

    Attributes:
        base_url: Up to and including the version, e.g. `http://127.0.0.1:8000/v1`.
        model: The name under which the server knows the model.
        api_key_env: The environment variable that holds the key; never the key itself.
        timeout_s: Seconds that one attempt may take in all.
        max_retries: Attempts after the first, for 429, 5xx and failed connections.
        structured_output: What of `response_format` the server understands.
        max_concurrency: Calls in flight at once, over all runs of one agent.
        max_tokens: Tokens that a decision may decode.
        logprobs: Ask for log-probabilities, and score a decision by them.
        extra_body: Added to every request; null drops a field that Seamline would send.
        prices: What it charges; evaluations then tell a cost.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")
    description: str = ""
    base_url: str
    model: str = Field(min_length=1)
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    timeout_s: float = Field(default=60.0, gt=0)
    max_retries: int = Field(default=3, ge=0, le=10)
    structured_output: Literal["json_schema", "json_object", "none"] = "json_schema"
    max_concurrency: int = Field(default=4, ge=1)
    max_tokens: int = Field(default=256, ge=8)
    logprobs: bool = False
    extra_body: Mapping[str, Any] = Field(default_factory=dict)
    prices: Prices | None = None

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http or https address, e.g. http://127.0.0.1:8000/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError("must carry no user, password or query; name the key's variable "
                             "in api_key_env")  # fmt: skip
        return value.rstrip("/")

    @property
    def host(self) -> str:
        """Host and port of `base_url`."""
        return urlsplit(self.base_url).netloc

    @classmethod
    def load(cls, file: Path) -> Self:
        """The endpoint that a yaml file declares.

        Raises:
            ConfigError: The file is missing, does not parse, or is named otherwise inside.
        """
        return read_declaration(cls, file, "an endpoint declaration")


def load_endpoints(folder: Path) -> dict[str, EndpointSpec]:
    """The endpoints that `models/endpoints` declares, by name.

    Raises:
        ConfigError: One of the files is wrong.
    """
    return {file.stem: EndpointSpec.load(file) for file in sorted(folder.glob("*.yaml"))}


class EndpointModel:
    """A `Model` behind an OpenAI-compatible endpoint.

    Args:
        spec: Where it is and how to ask it.
        client: Used, and left open, when given; otherwise one is opened for each call, so
            that calls from different event loops do not meet on one connection pool.
    """

    def __init__(self, spec: EndpointSpec, *, client: httpx.AsyncClient | None = None) -> None:
        self.spec = spec
        self._client = client
        # A semaphore belongs to one event loop, and a sync caller may bring a new loop a call.
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            WeakKeyDictionary()
        )

    async def decide(
        self, requests: Sequence[DecideRequest], *, skill: str | None = None
    ) -> list[DecideResponse]:
        """One response a request, in order; each request is one chat completion.

        The chosen answer scores 1 and the others 0, so of `rules` only the first that holds
        scores. With `logprobs` the chosen one scores its probability, at least 0.5.

        Where the endpoint does not tell what it used, `usage` is estimated, a token per 4
        characters, and `lineage["usage"]` is `"estimated"`.

        Raises:
            EndpointError: The endpoint refused, timed out, or answered out of contract twice.
        """
        self._refuse_skill(requests, skill)
        async with AsyncExitStack() as stack:
            chat = await self._chat(stack)
            said: list[Completion] = []
            tasks = [
                asyncio.ensure_future(self._decide(chat, request, said)) for request in requests
            ]
            try:
                return list(await asyncio.gather(*tasks))
            except EndpointError as error:
                # What was read and decoded counts, also where no answer comes of it.
                error.usage = _total([Usage.model_validate(error.usage or {}), *_usages(said)])
                raise
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def write(self, request: WriteRequest, *, skill: str | None = None) -> WriteResponse:
        """Text for people.

        Raises:
            EndpointError: The endpoint refused, timed out, or answered nothing.
        """
        self._refuse_skill([request], skill)
        messages = [{"role": "user", "content": request.context}]
        if request.instructions:
            messages.insert(0, {"role": "system", "content": request.instructions})
        body = {
            "messages": messages,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
        }
        async with AsyncExitStack() as stack:
            chat = await self._chat(stack)
            async with self._slot():
                said = await chat.complete(body)
        if not said.text.strip():
            failed = EndpointError(
                f"endpoint {self.spec.name} answered with no text (finish reason "
                f"{said.finish_reason!r}); raise max_tokens or check the model"
            )
            failed.usage = said.usage.model_dump()
            raise failed
        return WriteResponse(text=said.text, usage=said.usage, lineage=self._lineage(said))

    def identity(self, skill: str | None = None) -> Mapping[str, Any]:  # noqa: ARG002
        """Endpoint, model and host; an endpoint answers the same with and without a skill."""
        return {"endpoint": self.spec.name, "model": self.spec.model, "host": self.spec.host}

    async def _decide(
        self, chat: Chat, request: DecideRequest, all_said: list[Completion]
    ) -> DecideResponse:
        """The response to one request; each completion is added to `all_said`."""
        if not request.choices and request.ask != "labels":
            return DecideResponse(scores=(), lineage=self.identity())
        question = ask(request)
        messages: list[dict[str, str]] = [
            {"role": "system", "content": question.system},
            {"role": "user", "content": question.user},
        ]
        own: list[Completion] = []
        problem = ""
        for _ in range(2):
            async with self._slot():
                said = await chat.complete(self._decide_body(messages, question))
            own.append(said)
            all_said.append(said)
            try:
                scores = question.scores(said.text, said.tokens)
            except BadAnswer as error:
                problem = str(error)
                if said.finish_reason == "length":
                    problem += f" (cut off at {self.spec.max_tokens} tokens; raise max_tokens)"
                messages += [
                    {"role": "assistant", "content": said.text[:2000]},
                    {"role": "user", "content": f"Not valid: {problem}. {question.form}"},
                ]
                continue
            labels = tuple(c.name for c in request.choices) if request.ask == "labels" else ()
            return DecideResponse(
                scores=scores,
                labels=labels,
                usage=Usage.model_validate(_total(_usages(own))),
                lineage=self._lineage(*own),
            )
        raise EndpointError(
            f"endpoint {self.spec.name} ({self.spec.model}) answered out of contract twice: "
            f"{problem}; use a model that follows a JSON form, or set structured_output to what "
            f"the server supports (now {self.spec.structured_output})"
        )

    def _decide_body(
        self, messages: Sequence[Mapping[str, str]], question: Question
    ) -> dict[str, Any]:
        body: dict[str, Any] = {
            "messages": list(messages),
            "max_tokens": self.spec.max_tokens,
            "temperature": 0.0,
            "seed": 0,
        }
        if self.spec.structured_output == "json_schema":
            form = {"name": "answer", "strict": True, "schema": question.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        elif self.spec.structured_output == "json_object":
            body["response_format"] = {"type": "json_object"}
        if self.spec.logprobs:
            body["logprobs"] = True
        return body

    def _lineage(self, *said: Completion) -> dict[str, Any]:
        served = {
            "served_model": said[-1].model,
            "system_fingerprint": said[-1].fingerprint,
            "usage": "estimated" if any(one.estimated for one in said) else None,
        }
        return {**self.identity(), **{key: value for key, value in served.items() if value}}

    def _refuse_skill(
        self, requests: Sequence[DecideRequest | WriteRequest], skill: str | None
    ) -> None:
        # A policy's question says everything in its text, so any model may answer it.
        if skill is not None and any(request.prompt is None for request in requests):
            raise EndpointError(
                f"endpoint {self.spec.name} has no adapter for skill {skill!r} and would answer "
                "with the bare model; keep the tool's skill on the local base"
            )

    async def _chat(self, stack: AsyncExitStack) -> Chat:
        key = None
        if self.spec.api_key_env is not None:
            key = os.environ.get(self.spec.api_key_env)
            if not key:
                raise EndpointError(
                    f"endpoint {self.spec.name} needs a key in the environment variable "
                    f"{self.spec.api_key_env}, which is not set; export it and run again"
                )
        client = self._client
        if client is None:
            client = await stack.enter_async_context(httpx.AsyncClient())
        return Chat(
            client=client,
            endpoint=self.spec.name,
            base_url=self.spec.base_url,
            model=self.spec.model,
            key=key,
            timeout_s=self.spec.timeout_s,
            max_retries=self.spec.max_retries,
            extra_body=self.spec.extra_body,
        )

    def _slot(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        return self._slots.setdefault(loop, asyncio.Semaphore(self.spec.max_concurrency))


def _usages(said: Sequence[Completion]) -> list[Usage]:
    return [one.usage for one in said]


def _total(usages: Sequence[Usage]) -> dict[str, int]:
    return {
        "input_tokens": sum(one.input_tokens for one in usages),
        "output_tokens": sum(one.output_tokens for one in usages),
    }
