"""One chat completion over HTTP: attempts, waits, limits, and what came back."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from seamline.errors import EndpointError
from seamline.models.protocol import Usage
from seamline.models.single_shot import Token
from seamline.texts import whole_text

__all__ = ["Chat", "Completion"]

_MAX_BODY = 8 << 20
"""Bytes of a response that are read; a completion is a few kilobytes."""
_MAX_WAIT_S = 60.0
_CHARS_PER_TOKEN = 4
_BACKOFF = wait_random_exponential(multiplier=0.5, min=0.1, max=20.0)


@dataclass(frozen=True, kw_only=True)
class Completion:
    """The first choice of a chat completion.

    `estimated` says that the server did not tell what it used, so that `usage` is a guess from
    the length of the texts.
    """

    text: str
    finish_reason: str | None
    usage: Usage
    estimated: bool
    model: str | None
    fingerprint: str | None
    tokens: tuple[Token, ...] = ()


class _Passing(Exception):
    """A failure that another attempt may not meet; `wait_s` is what the server asked for."""

    def __init__(self, message: str, *, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True, kw_only=True)
class Chat:
    """Asks one endpoint for completions; `key` goes into the header and nowhere else."""

    client: httpx.AsyncClient
    endpoint: str
    base_url: str
    model: str
    key: str | None
    timeout_s: float
    max_retries: int
    extra_body: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Chat({self.endpoint})"

    async def complete(self, body: Mapping[str, Any]) -> Completion:
        """The completion for `body`, after retries.

        Raises:
            EndpointError: Refused, timed out, or failed on every attempt.
        """
        full = {"model": self.model, **body, **self.extra_body}
        full = {key: value for key, value in full.items() if value is not None}
        attempts = AsyncRetrying(
            stop=stop_after_attempt(self.max_retries + 1),
            wait=_wait,
            retry=retry_if_exception_type(_Passing),
            reraise=True,
        )
        try:
            return await attempts(self._attempt, full)
        except _Passing as error:
            raise EndpointError(
                f"endpoint {self.endpoint} failed {self.max_retries + 1} times, last: {error}; "
                f"check that the server at {self.base_url} runs and has capacity"
            ) from error

    async def _attempt(self, body: Mapping[str, Any]) -> Completion:
        try:
            async with asyncio.timeout(self.timeout_s):
                status, headers, raw = await self._post(body)
        # Not retried: the server is busy with the question, and a second one adds to its load.
        except (TimeoutError, httpx.TimeoutException) as error:
            if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
                raise _Passing("no connection in time") from error
            raise EndpointError(
                f"endpoint {self.endpoint} gave no answer in {self.timeout_s:g} s; "
                f"raise timeout_s in models/endpoints/{self.endpoint}.yaml"
            ) from error
        except httpx.TransportError as error:
            raise _Passing(f"{type(error).__name__}: {self._clean(str(error))}") from error
        if status == 429 or status >= 500:
            raise _Passing(f"HTTP {status}{self._said(raw)}", wait_s=_retry_after(headers))
        if status != 200:
            raise EndpointError(
                f"endpoint {self.endpoint} refused with HTTP {status}{self._said(raw)}; "
                f"{self._fix(status)}"
            )
        return self._completion(raw, body)

    async def _post(self, body: Mapping[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        headers = {"content-type": "application/json"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        # In ASCII, which spells every text that Python holds, halves of surrogate pairs too.
        content = json.dumps(body, allow_nan=False).encode("ascii")
        url = f"{self.base_url}/chat/completions"
        raw = bytearray()
        async with self.client.stream(
            "POST", url, content=content, headers=headers, timeout=self.timeout_s
        ) as response:
            async for chunk in response.aiter_bytes():
                raw += chunk
                if len(raw) > _MAX_BODY:
                    raise EndpointError(
                        f"endpoint {self.endpoint} answered with more than "
                        f"{_MAX_BODY >> 20} MiB; check that {self.base_url} is a chat server"
                    )
            return response.status_code, response.headers, bytes(raw)

    def _completion(self, raw: bytes, body: Mapping[str, Any]) -> Completion:
        try:
            parsed = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise _Passing(f"a body that is not JSON: {self._clean(_start(raw))!r}") from error
        try:
            choice = parsed["choices"][0]
            message = choice["message"]
            text = message["content"] or ""
            if not isinstance(text, str):
                raise TypeError("content is not text")
        except (KeyError, IndexError, TypeError) as error:
            failed = EndpointError(
                f"endpoint {self.endpoint} answered without choices[0].message.content: "
                f"{self._clean(_start(raw))!r}; check that {self.base_url} is a chat server"
            )
            if isinstance(parsed, dict) and "usage" in parsed:
                failed.usage = _usage(parsed["usage"], body, "")[0].model_dump()
            raise failed from error
        usage, estimated = _usage(parsed.get("usage"), body, text)
        return Completion(
            text=whole_text(text),
            finish_reason=_text(choice.get("finish_reason")),
            usage=usage,
            estimated=estimated,
            model=_text(parsed.get("model")),
            fingerprint=_text(parsed.get("system_fingerprint")),
            tokens=_tokens(choice.get("logprobs")),
        )

    def _fix(self, status: int) -> str:
        if status in (401, 403):
            return "check the key in the variable that api_key_env names"
        if status == 404:
            return f"check base_url ({self.base_url}) and model ({self.model})"
        if 300 <= status < 400:
            return f"base_url ({self.base_url}) moved: set the address it redirects to"
        return "check model, structured_output and extra_body against what the server supports"

    def _said(self, raw: bytes) -> str:
        try:
            error = json.loads(raw)["error"]
            said = error if isinstance(error, str) else error["message"]
        except (ValueError, KeyError, TypeError, RecursionError):
            said = _start(raw)
        said = " ".join(self._clean(str(said)).split())[:300]
        return f" ({said})" if said else ""

    def _clean(self, text: str) -> str:
        """`text` without the key, which some servers repeat in their errors."""
        return text.replace(self.key, "***") if self.key else text


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    backoff = float(_BACKOFF(state))
    asked = error.wait_s if isinstance(error, _Passing) else None
    return backoff if asked is None else max(backoff, asked)


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds that the server asked to wait, at most a minute."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), _MAX_WAIT_S) if math.isfinite(seconds) else None


def _usage(found: Any, body: Mapping[str, Any], text: str) -> tuple[Usage, bool]:
    """What a completion used, and whether that is an estimate, of a token per 4 characters.

    Without one, a server that tells nothing would switch off the budget of tokens.
    """
    told = found if isinstance(found, dict) else {}
    counts = [told.get("prompt_tokens"), told.get("completion_tokens")]
    asked = sum(len(str(message["content"])) for message in body["messages"])
    read, decoded = map(_count, counts)
    usage = Usage(
        input_tokens=math.ceil(asked / _CHARS_PER_TOKEN) if read is None else read,
        output_tokens=math.ceil(len(text) / _CHARS_PER_TOKEN) if decoded is None else decoded,
    )
    return usage, read is None or decoded is None


def _count(found: Any) -> int | None:
    """A number of tokens, where it is one."""
    known = isinstance(found, int) and not isinstance(found, bool) and found >= 0
    return found if known else None


def _tokens(found: Any) -> tuple[Token, ...]:
    try:
        return tuple((whole_text(str(t["token"])), float(t["logprob"])) for t in found["content"])
    except (KeyError, TypeError, ValueError):
        return ()


def _text(found: Any) -> str | None:
    return whole_text(found) if isinstance(found, str) else None


def _start(raw: bytes) -> str:
    return raw[:200].decode("utf-8", errors="replace")
