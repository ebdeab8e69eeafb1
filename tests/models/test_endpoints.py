"""Endpoints against a real server on loopback that behaves and misbehaves as scripted."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from seamline.errors import ConfigError, EndpointError
from seamline.models import chat
from seamline.models.endpoints import EndpointModel, EndpointSpec, load_endpoints
from seamline.models.protocol import (
    Choice,
    DecideRequest,
    DecideResponse,
    PromptRef,
    Usage,
    WriteRequest,
)
from seamline.models.single_shot import ask

Act = Callable[["Handler"], None]
KEY = "sk-very-secret-0123456789"
POLICY = PromptRef(name="shop/plan", version="1.0.0", digest="sha256:0")
RULES = DecideRequest(
    ask="rules",
    instructions="# Role\nYou plan.",
    context="State:\nparcel: lost",
    choices=(
        Choice(name="0", text="The parcel has arrived"),
        Choice(name="1", text="The parcel is lost"),
        Choice(name="2", text="The parcel is late"),
    ),
    prompt=POLICY,
)
OPTIONS = DecideRequest(
    ask="options",
    context="Step: trace the parcel",
    choices=(Choice(name="track", text="Finds a parcel"), Choice(name="pay", text="Pays money")),
)
LABELS = DecideRequest(
    ask="labels",
    context="It came late and broken.",
    choices=tuple(Choice(name=n, text=n) for n in ("late", "broken", "wrong")),
)


class Handler(BaseHTTPRequestHandler):
    """Answers each POST with the next act of the server's script."""

    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        self.body = json.loads(self.rfile.read(length))
        with self.server.lock:
            self.server.asked.append(self.body)
            self.server.headers.append(dict(self.headers))
            self.server.times.append(time.monotonic())
            act = self.server.script.pop(0) if self.server.script else self.server.always
        assert act is not None, "the script has no act left"
        act(self)

    def send(self, body: bytes, *, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


class Server(ThreadingHTTPServer):
    """Loopback only; `script` is consumed in order, `always` answers after it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Act] = []
        self.always: Act | None = None
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        return


def says(content: Any, **more: Any) -> Act:
    """A well-formed completion; `content` is dumped unless it is text."""
    text = content if isinstance(content, str) else json.dumps(content)
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    choice |= more.pop("choice", {})
    body = {
        "choices": [choice],
        "model": "tiny-q4",
        "usage": {"prompt_tokens": 11, "completion_tokens": 3},
    } | more
    return lambda handler: handler.send(json.dumps(body).encode())


def fails(status: int, body: Any = "", **headers: str) -> Act:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return lambda handler: handler.send(raw, status=status, **headers)


def resets(handler: Handler) -> None:
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "_BACKOFF", lambda state: 0.01)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def endpoint(server: Server, **settings: Any) -> EndpointModel:
    port = server.server_address[1]
    declared = {"name": "local", "base_url": f"http://127.0.0.1:{port}/v1/", "model": "tiny"}
    return EndpointModel(EndpointSpec.model_validate(declared | {"timeout_s": 5} | settings))


def decide(model: EndpointModel, *requests: DecideRequest) -> list[DecideResponse]:
    return asyncio.run(model.decide(requests))


@pytest.mark.parametrize(
    ("request_", "answer", "scores", "labels"),
    [
        (RULES, {"rule": 2}, (0.0, 1.0, 0.0), ()),
        (RULES, {"rule": 0}, (0.0, 0.0, 0.0), ()),
        (RULES, {"rule": "3"}, (0.0, 0.0, 1.0), ()),
        (OPTIONS, {"choice": "track"}, (1.0, 0.0), ()),
        (OPTIONS, {"choice": "none"}, (0.0, 0.0), ()),
        (LABELS, {"labels": ["broken", "late"]}, (1.0, 1.0, 0.0), ("late", "broken", "wrong")),
        (LABELS, {"labels": []}, (0.0, 0.0, 0.0), ("late", "broken", "wrong")),
        (RULES, 'Sure: ```json\n{"rule": 1}\n```', (1.0, 0.0, 0.0), ()),
        (RULES, '<think>maybe {"rule": 1}?</think>{"rule": 2}', (0.0, 1.0, 0.0), ()),
    ],
)
def test_answers_become_scores(
    server: Server,
    request_: DecideRequest,
    answer: Any,
    scores: tuple[float, ...],
    labels: tuple[str, ...],
) -> None:
    server.script = [says(answer)]
    model = endpoint(server)
    [response] = decide(model, request_)
    assert (response.scores, response.labels) == (scores, labels)
    assert response.usage == Usage(input_tokens=11, output_tokens=3)
    assert response.lineage == {**model.identity(), "served_model": "tiny-q4"}
    assert model.identity("decide") == {
        "endpoint": "local",
        "model": "tiny",
        "host": f"127.0.0.1:{server.server_address[1]}",
    }


def test_the_question_is_written_out_with_its_form(server: Server) -> None:
    server.script = [says({"rule": 2}), says({"choice": "pay"}), says({"labels": []})]
    decide(endpoint(server, max_concurrency=1), RULES, OPTIONS, LABELS)
    rules, options, labels = server.asked
    system, user = rules["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert system["content"].startswith("# Role\nYou plan.\n\nAnswer only with JSON")
    assert user["content"].startswith(
        "State:\nparcel: lost\n\nRules, the first that holds wins:\n"
        "1. If The parcel has arrived\n2. If The parcel is lost\n3. If The parcel is late\n"
    )
    form = rules["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["schema"] == {
        "type": "object",
        "properties": {"rule": {"type": "integer", "enum": [0, 1, 2, 3]}},
        "required": ["rule"],
        "additionalProperties": False,
    }
    assert (rules["temperature"], rules["model"]) == (0.0, "tiny")
    assert "- track: Finds a parcel" in options["messages"][1]["content"]
    choice = options["response_format"]["json_schema"]["schema"]["properties"]["choice"]
    assert choice["enum"] == ["track", "pay", "none"]
    several = labels["response_format"]["json_schema"]["schema"]["properties"]["labels"]
    assert several["items"]["enum"] == ["late", "broken", "wrong"]


@pytest.mark.parametrize(
    ("structured", "form"), [("json_object", {"type": "json_object"}), ("none", None)]
)
def test_servers_without_schemas_get_what_they_know(
    server: Server, structured: str, form: Any
) -> None:
    server.script = [says({"rule": 1})]
    extra = {"seed": None, "top_k": 1}
    decide(endpoint(server, structured_output=structured, extra_body=extra), RULES)
    assert server.asked[0].get("response_format") == form
    assert "seed" not in server.asked[0]
    assert server.asked[0]["top_k"] == 1


def test_logprobs_score_the_choice(server: Server) -> None:
    def tokens(last: float) -> dict[str, Any]:
        pieces = [('{"', -9.0), ("rule", -9.0), ('":', -9.0), (" ", 0.0), ("2", last), ("}", 0.0)]
        return {"logprobs": {"content": [{"token": t, "logprob": p} for t, p in pieces]}}

    server.script = [
        says('{"rule": 2}', choice=tokens(-0.1)),
        says('{"rule": 2}', choice=tokens(-3.0)),
        says('{"rule": 2}', choice={"logprobs": None}),
    ]
    model = endpoint(server, logprobs=True, max_concurrency=1)
    sure, unsure, without = decide(model, RULES, RULES, RULES)
    assert list(sure.scores) == pytest.approx([0.0, 0.9048, 0.0], abs=1e-4)
    assert unsure.scores == (0.0, 0.5, 0.0)
    assert without.scores == (0.0, 1.0, 0.0)
    assert server.asked[0]["logprobs"] is True


@pytest.mark.parametrize(
    "bad",
    ['{"rule": 2', '{"rule": 9}', '{"rule": true}', '{"choice": 1}', "two", "", "[1]", "{" * 9000],
)
def test_an_invalid_answer_is_repaired_once(server: Server, bad: str) -> None:
    server.script = [says(bad), says({"rule": 2})]
    [response] = decide(endpoint(server), RULES)
    assert response.scores == (0.0, 1.0, 0.0)
    assert response.usage == Usage(input_tokens=22, output_tokens=6)
    repair = server.asked[1]["messages"]
    assert [m["role"] for m in repair] == ["system", "user", "assistant", "user"]
    assert repair[3]["content"].startswith("Not valid: ")


def test_half_a_surrogate_pair_is_asked_and_answered(server: Server) -> None:
    server.script = [says("\ud800", model="\udc00"), says({"rule": 2}, model="\udc00")]
    [response] = decide(endpoint(server), RULES.model_copy(update={"context": "lost \ud800"}))
    assert response.scores == (0.0, 1.0, 0.0)
    assert response.lineage["served_model"] == "\ufffd"
    assert server.asked[1]["messages"][1]["content"].startswith("lost \ud800")
    assert server.asked[1]["messages"][2]["content"] == "\ufffd"


@pytest.mark.parametrize("request_", [OPTIONS, LABELS])
def test_a_name_outside_the_choices_is_refused(server: Server, request_: DecideRequest) -> None:
    wrong = {"choice": "fly", "labels": ["fly"]}
    server.always = says(wrong)
    with pytest.raises(EndpointError, match=r"answered out of contract twice: .*fly"):
        decide(endpoint(server), request_)
    assert len(server.asked) == 2


def test_a_cut_off_answer_names_the_setting(server: Server) -> None:
    server.always = says('{"ru', choice={"finish_reason": "length"})
    with pytest.raises(EndpointError, match="cut off at 64 tokens; raise max_tokens"):
        decide(endpoint(server, max_tokens=64), RULES)


@pytest.mark.parametrize(
    "act",
    [
        fails(500),
        fails(503, "busy"),
        fails(429, Retry_After="0"),
        resets,
        lambda handler: handler.send(b'{"choices": [{"mess'),
    ],
    ids=["500", "503", "429", "reset", "half a body"],
)
def test_passing_failures_are_retried(server: Server, act: Act) -> None:
    server.script = [act, act, says({"rule": 2})]
    [response] = decide(endpoint(server, max_retries=2), RULES)
    assert response.scores == (0.0, 1.0, 0.0)
    assert len(server.asked) == 3


def test_retries_end(server: Server) -> None:
    server.always = fails(500, {"error": {"message": "out of memory"}})
    with pytest.raises(EndpointError, match=r"failed 3 times, last: HTTP 500 \(out of memory\)"):
        decide(endpoint(server, max_retries=2), RULES)
    assert len(server.asked) == 3


def test_retry_after_is_waited_for(server: Server) -> None:
    server.script = [fails(429, Retry_After="0.4"), says({"rule": 2})]
    decide(endpoint(server), RULES)
    assert server.times[1] - server.times[0] >= 0.4


def test_retry_after_is_read_in_both_forms_and_bounded() -> None:
    def read(value: str) -> float | None:
        return chat._retry_after(httpx.Headers({"retry-after": value}))

    assert read("3") == 3.0
    assert read("86400") == 60.0
    assert read("-5") == 0.0
    assert read("nan") is None
    assert read("soon") is None
    soon = read(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
    assert soon == pytest.approx(30, abs=2)


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        (400, "check model, structured_output"),
        (401, "check the key"),
        (404, "check base_url"),
        (307, r"base_url .* moved: set the address it redirects to"),
    ],
)
def test_refusals_are_not_retried(server: Server, status: int, fix: str) -> None:
    server.always = fails(status, {"error": {"message": "no such thing"}}, location="/elsewhere")
    with pytest.raises(EndpointError, match=rf"HTTP {status} \(no such thing\); {fix}"):
        decide(endpoint(server), RULES)
    assert len(server.asked) == 1


def test_nobody_listening_is_one_clear_error(server: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(EndpointError, match=f"failed 2 times, last: ConnectError.*{url} runs"):
        decide(endpoint(server, base_url=url, max_retries=1), RULES)


def test_a_slow_answer_times_out_and_is_not_asked_again(server: Server) -> None:
    server.always = lambda handler: time.sleep(1.0)
    started = time.monotonic()
    with pytest.raises(EndpointError, match=r"no answer in 0\.3 s; raise timeout_s"):
        decide(endpoint(server, timeout_s=0.3), RULES)
    assert time.monotonic() - started < 0.9
    assert len(server.asked) == 1


def test_a_dripping_answer_times_out_too(server: Server) -> None:
    def drips(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        for _ in range(20):
            handler.wfile.write(b" ")
            time.sleep(0.1)

    server.always = drips
    with pytest.raises(EndpointError, match="no answer in"):
        decide(endpoint(server, timeout_s=0.4), RULES)


def test_a_huge_answer_is_cut_off(server: Server) -> None:
    sent = 0

    def floods(handler: Handler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.send_header("content-length", str(1 << 30))
        handler.end_headers()
        for _ in range(64):
            sent += handler.connection.send(bytes(1 << 20))

    server.always = floods
    with pytest.raises(EndpointError, match="more than 8 MiB"):
        decide(endpoint(server), RULES)
    assert sent < 48 << 20


@pytest.mark.parametrize(
    ("usage", "read", "decoded"),
    [
        (None, None, 3),
        ({}, None, 3),
        ([1], None, 3),
        ({"prompt_tokens": "many"}, None, 3),
        ({"prompt_tokens": -5, "completion_tokens": 1.5}, None, 3),
        ({"prompt_tokens": True, "completion_tokens": 7}, None, 7),
        ({"prompt_tokens": 0}, 0, 3),
    ],
)
def test_usage_that_is_not_told_is_estimated(
    server: Server, usage: Any, read: int | None, decoded: int
) -> None:
    server.script = [says({"rule": 2}, usage=usage)]  # {"rule": 2} has 11 characters
    [response] = decide(endpoint(server), RULES)
    asked = sum(len(message["content"]) for message in server.asked[0]["messages"])
    assert response.usage.input_tokens == (-(-asked // 4) if read is None else read)
    assert response.usage.output_tokens == decoded
    assert response.lineage["usage"] == "estimated"


def test_usage_that_is_told_is_no_estimate(server: Server) -> None:
    server.script = [says({"rule": 2})]
    [response] = decide(endpoint(server), RULES)
    assert "usage" not in response.lineage


def test_refused_answers_tell_what_they_used(server: Server) -> None:
    server.script = [says({"rule": 2}), says("?"), says("!")]
    with pytest.raises(EndpointError, match="out of contract twice") as refused:
        decide(endpoint(server, max_concurrency=1), RULES, RULES)
    assert refused.value.usage == {"input_tokens": 33, "output_tokens": 9}

    body = b'{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}'
    server.script = [lambda handler: handler.send(body)]
    with pytest.raises(EndpointError, match="without choices") as refused:
        decide(endpoint(server), RULES)
    assert refused.value.usage == {"input_tokens": 7, "output_tokens": 1}

    server.script = [says(" ")]
    with pytest.raises(EndpointError, match="no text") as refused:
        asyncio.run(endpoint(server).write(WriteRequest(context="Write.")))
    assert refused.value.usage == {"input_tokens": 11, "output_tokens": 3}


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b'{"choices": [{"message": {}}]}'])
def test_another_kind_of_server_is_named(server: Server, body: bytes) -> None:
    server.always = lambda handler: handler.send(body)
    with pytest.raises(EndpointError, match="without choices"):
        decide(endpoint(server), RULES)


def test_the_key_goes_into_the_header_and_nowhere_else(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SHOP_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    server.script = [says({"rule": 2}), fails(401, {"error": {"message": f"bad key {KEY}"}})]
    model = endpoint(server, api_key_env="SHOP_KEY")
    [response] = decide(model, RULES)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in response.model_dump_json()
    with pytest.raises(EndpointError) as caught:
        decide(model, RULES)
    assert "bad key ***" in str(caught.value)
    assert KEY not in str(caught.value) + caplog.text + repr(model.spec)


def test_a_missing_key_names_its_variable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_KEY", raising=False)
    with pytest.raises(EndpointError, match="SHOP_KEY, which is not set"):
        decide(endpoint(server, api_key_env="SHOP_KEY"), RULES)
    assert server.asked == []


def test_at_most_max_concurrency_calls_are_in_flight(server: Server) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def counts(handler: Handler) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        says({"rule": 2})(handler)

    server.always = counts
    assert len(decide(endpoint(server, max_concurrency=3), *[RULES] * 9)) == 9
    assert most == 3


def test_responses_keep_the_order_of_requests(server: Server) -> None:
    def answers(handler: Handler) -> None:
        number = int(handler.body["messages"][1]["content"].split()[1])
        time.sleep(0.05 * (3 - number))
        says({"rule": number})(handler)

    server.always = answers
    requests = [RULES.model_copy(update={"context": f"say {n}"}) for n in (1, 2, 3)]
    model = endpoint(server, max_concurrency=3)
    assert [r.scores.index(1.0) for r in decide(model, *requests)] == [0, 1, 2]


def test_one_failure_ends_the_batch(server: Server) -> None:
    server.script = [fails(400)]
    server.always = lambda handler: time.sleep(3)
    started = time.monotonic()
    with pytest.raises(EndpointError, match="HTTP 400"):
        decide(endpoint(server), *[RULES] * 4)
    assert time.monotonic() - started < 2


def test_an_injected_client_is_used_and_left_open(server: Server) -> None:
    server.always = says({"rule": 2})

    async def run() -> bool:
        async with httpx.AsyncClient(headers={"x-tenant": "shop"}) as client:
            model = EndpointModel(endpoint(server).spec, client=client)
            await model.decide([RULES])
            await model.decide([RULES])
            return client.is_closed

    assert not asyncio.run(run())
    assert server.headers[0]["x-tenant"] == "shop"


def test_no_choices_ask_nothing(server: Server) -> None:
    empty = RULES.model_copy(update={"choices": ()})
    assert decide(endpoint(server), empty)[0].scores == ()
    with pytest.raises(EndpointError, match="came without its labels"):
        decide(endpoint(server), LABELS.model_copy(update={"choices": ()}))
    assert server.asked == []


def test_a_skill_is_refused_but_a_policy_runs_without_it(server: Server) -> None:
    server.script = [says({"rule": 2})]
    model = endpoint(server)
    with pytest.raises(EndpointError, match="no adapter for skill 'clause_type'"):
        asyncio.run(model.decide([LABELS], skill="clause_type"))
    assert asyncio.run(model.decide([RULES], skill="decide"))[0].scores == (0.0, 1.0, 0.0)


def test_write(server: Server) -> None:
    server.script = [says("All done."), says(" ")]
    model = endpoint(server)
    asked = WriteRequest(instructions="Be brief.", context="Tell them.", max_tokens=20)
    said = asyncio.run(model.write(asked))
    assert (said.text, said.usage.output_tokens) == ("All done.", 3)
    assert server.asked[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Tell them."},
    ]
    assert (server.asked[0]["max_tokens"], server.asked[0]["seed"]) == (20, 0)
    with pytest.raises(EndpointError, match="no text"):
        asyncio.run(model.write(asked))


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("base_url", "127.0.0.1:8000", "must be an http or https address"),
        ("base_url", "https://me:hunter2@host/v1", "api_key_env"),
        ("api_key_env", "sk-123", "api_key_env"),
        ("max_retries", 99, "max_retries"),
        ("structured_output", "xml", "structured_output"),
        ("surprise", 1, "surprise"),
    ],
)
def test_declaration_errors(tmp_path: Path, field: str, value: Any, problem: str) -> None:
    file = tmp_path / "x.yaml"
    declared = {"name": "x", "base_url": "http://h/v1", "model": "m", field: value}
    file.write_text(json.dumps(declared))
    said = rf"x\.yaml is not an endpoint declaration: .*{problem}"
    with pytest.raises(ConfigError, match=said) as caught:
        EndpointSpec.load(file)
    assert "hunter2" not in str(caught.value)
    assert "sk-123" not in str(caught.value)


def test_the_shipped_endpoints_are_declared(root: Path) -> None:
    found = load_endpoints(root / "models" / "endpoints")
    assert {"local-openai", "ollama", "vllm"} <= found.keys()


def test_a_choice_named_none_is_not_listed_twice() -> None:
    options = OPTIONS.model_copy(update={"choices": (Choice(name="none", text="Nothing"),)})
    question = ask(options)
    assert question.schema["properties"]["choice"]["enum"] == ["none"]
    assert question.scores('{"choice": "none"}') == (1.0,)
