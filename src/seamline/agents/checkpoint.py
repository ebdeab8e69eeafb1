"""LangGraph checkpoints in memory, as JSON and nothing else.

LangGraph's own serialiser revives Python objects from what was stored. Graph state here is
plain data, so this one refuses everything that JSON does not hold, but for the interrupt
that carries a question: it has a tag of its own and two plain fields.
"""

from __future__ import annotations

import json
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Interrupt

__all__ = ["JsonSerializer", "memory_saver"]

_INTERRUPT = "seamline:interrupt"
_ERROR = "seamline:error"


class JsonSerializer:
    """Writes and reads plain data only (a LangGraph `SerializerProtocol`)."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """The value as JSON.

        Raises:
            TypeError: The value holds something that is not plain data.
        """
        if obj is None:
            return "null", b""
        return "json", json.dumps(obj, default=_encode).encode("ascii")

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value again, made of plain data and interrupts.

        Raises:
            ValueError: The value was not written by this serialiser.
        """
        kind, payload = data
        if kind == "null":
            return None
        if kind != "json":
            raise ValueError(f"a checkpoint of kind {kind!r}; only JSON is read here")
        return json.loads(payload, object_hook=_decode)


def _encode(value: object) -> dict[str, Any]:
    if isinstance(value, Interrupt):
        return {_INTERRUPT: {"value": value.value, "id": value.id}}
    if isinstance(value, BaseException):
        return {_ERROR: f"{type(value).__name__}: {value}"}
    raise TypeError(
        f"graph state must be plain JSON data, but holds a {type(value).__name__}; "
        "put large or live values in the run's content store and keep their digest in the state"
    )


def _decode(value: dict[str, Any]) -> Any:
    if value.keys() == {_INTERRUPT}:
        fields = value[_INTERRUPT]
        return Interrupt(value=fields["value"], id=str(fields["id"]))
    return value


def memory_saver() -> InMemorySaver:
    """A checkpointer that lives as long as one run does."""
    return InMemorySaver(serde=JsonSerializer())
