"""A stand-in for a model that follows the policies of `project`, by plain string rules."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from seamline.models.protocol import DecideRequest, WriteRequest

STEPS = {
    "find the words": "find_words",
    "rate the words": "rate_words",
    "check the words": "check_words",
}
_FACTS: dict[str, Callable[[str], bool]] = {
    "A tool has failed": lambda facts: "- failed tools: none" not in facts,
    "The level is ambiguous": lambda facts: "- level: ambiguous" in facts,
    "The level is unsure": lambda facts: "- level: unsure" in facts,
    "A forbidden word was found": lambda facts: "- forbidden word: found" in facts,
    "Instructions to the reader were found": lambda facts: (
        "- instructions to the reader: found" in facts
    ),
    "No word was found": lambda facts: "- words found: 0" in facts or "- words listed: 0" in facts,
    "More words are listed than were found": lambda facts: False,
}


def holds(condition: str, facts: str) -> bool:
    """Whether a condition of the policies holds for the facts."""
    name, _, rest = condition.partition(" ")
    if rest == "has not been run":
        return f"- {name}: not run" in facts
    return bool(_FACTS[condition](facts))


def follow(request: DecideRequest | WriteRequest, skill: str | None) -> Any:
    """The answer of a `ScriptedModel` that follows every policy to the letter."""
    assert isinstance(request, DecideRequest)
    if request.ask == "options":
        right = STEPS[request.context.removeprefix("Step: ").strip()]
        return right if right in [choice.name for choice in request.choices] else None
    return tuple(float(holds(choice.text, request.context)) for choice in request.choices)


def answer_chat(body: dict[str, Any]) -> str:
    """What an endpoint that follows the policies answers to one chat completion."""
    asked = body["messages"][-1]["content"]
    context = asked.partition("\n\nRules")[0].partition("\n\nOptions")[0]
    if "Options:" in asked:
        names = re.findall(r"^- (\w+):", asked.partition("Options:")[2], flags=re.MULTILINE)
        right = STEPS[context.removeprefix("Step: ").strip()]
        return json.dumps({"choice": right if right in names else "none"})
    rules = re.findall(r"^(\d+)\. If (.+)$", asked, flags=re.MULTILINE)
    met = [int(number) for number, condition in rules if holds(condition, context)]
    return json.dumps({"rule": met[0] if met else 0})


@contextmanager
def endpoint_server(answer: Callable[[dict[str, Any]], str] = answer_chat) -> Iterator[str]:
    """The address of a local OpenAI-compatible server that follows the policies.

    `answer` gives the text that a chat completion is answered with; by default that of one
    that follows the policies of `project`.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = answer(body)
            message = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            reply = {
                "model": "follower",
                "choices": [message],
                "usage": {"prompt_tokens": 20, "completion_tokens": 5},
            }
            data = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
