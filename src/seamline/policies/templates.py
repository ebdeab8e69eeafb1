"""Jinja templates that can do nothing but put given values into text.

On top of Jinja's immutable sandbox: no calls, no macros, no imports, no attributes of
Python objects, a short list of filters, a bounded number of loop turns and of characters.
So a template always ends, soon, and its text depends on its variables alone.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["MAX_LOOP_TURNS", "MAX_RENDERED_CHARS", "TemplateFault", "render_text", "variables_of"]

MAX_RENDERED_CHARS = 1_000_000
MAX_LOOP_TURNS = 100_000
MAX_TEMPLATE_CHARS = 256 * 1024
_MAX_LOOP_DEPTH = 3

_NODES: frozenset[type[nodes.Node]] = frozenset({
    nodes.Add, nodes.And, nodes.Compare, nodes.Concat, nodes.CondExpr, nodes.Const, nodes.Dict,
    nodes.Filter, nodes.For, nodes.Getattr, nodes.Getitem, nodes.If, nodes.Keyword, nodes.List,
    nodes.Name, nodes.Neg, nodes.Not, nodes.Operand, nodes.Or, nodes.Output, nodes.Pair,
    nodes.Pos, nodes.Slice, nodes.Sub, nodes.Template, nodes.TemplateData, nodes.Test,
    nodes.Tuple,
})  # fmt: skip
_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items",
    "last", "length", "list", "lower", "max", "min", "reverse", "round", "sort", "string", "sum",
    "title", "trim", "truncate", "unique", "upper", "wordcount",
)  # fmt: skip
_TESTS = (
    "boolean", "defined", "divisibleby", "even", "false", "float", "in", "integer", "mapping",
    "none", "number", "odd", "sequence", "string", "true", "undefined",
    "==", "!=", "<", "<=", ">", ">=", "eq", "ne", "lt", "le", "gt", "ge", "equalto",
)  # fmt: skip
_LOOP = frozenset({
    "depth", "depth0", "first", "index", "index0", "last", "length", "nextitem", "previtem",
    "revindex", "revindex0",
})  # fmt: skip
_BOUNDED = "_bounded"

_turns_left: ContextVar[list[int]] = ContextVar("seamline_template_turns_left")


class TemplateFault(Exception):
    """A template that does not compile or render; `line` counts from 1 in its own text."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class _Environment(ImmutableSandboxedEnvironment):
    """Names reach keys and items of the given values, and nothing else."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext):
            if attribute in _LOOP:
                return getattr(obj, attribute)
            raise SecurityError(f"a loop has no {attribute!r}")
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        is_key = isinstance(obj, Mapping) and isinstance(argument, str | int | float | bool)
        is_index = isinstance(obj, str | list | tuple) and isinstance(argument, int | slice)
        if is_key or is_index:
            found: Any = obj
            try:
                return found[argument]
            except (LookupError, TypeError, ValueError):
                pass
        return self.undefined(obj=obj, name=str(argument))


def _finalize(value: Any) -> str:
    if isinstance(value, str | Undefined):
        return str(value)  # a missing variable raises here; an `if` without `else` is empty
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, int | float):
        return str(value)
    raise TemplateFault(
        f"a {type(value).__name__} cannot be put into text; loop over it, or use the filter "
        "join or tojson"
    )


def _bounded(value: Iterable[Any]) -> list[Any]:
    left = _turns_left.get()
    items = list(itertools.islice(value, left[0] + 1))
    if len(items) > left[0]:
        raise TemplateFault(f"the template loops more than {MAX_LOOP_TURNS} times")
    left[0] -= len(items)
    return items


def _join(value: Iterable[Any], separator: str = "") -> str:
    parts = [_finalize(item) for item in value]
    if sum(map(len, parts)) + len(str(separator)) * len(parts) > MAX_RENDERED_CHARS:
        raise TemplateFault(f"join makes more than {MAX_RENDERED_CHARS} characters")
    return str(separator).join(parts)


def _tojson(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _environment() -> _Environment:
    env = _Environment(
        undefined=StrictUndefined,
        finalize=_finalize,
        loader=None,
        autoescape=False,  # prompts are plain text, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        cache_size=0,
        # Folding would run filters while a template is only being checked.
        optimized=False,
    )
    env.globals.clear()
    kept: dict[str, Callable[..., Any]] = {name: env.filters[name] for name in _FILTERS}
    env.filters = {**kept, "join": _join, "tojson": _tojson, _BOUNDED: _bounded}
    env.tests = {name: env.tests[name] for name in _TESTS}
    return env


_ENV = _environment()


def _check(node: nodes.Node, loops: int = 0) -> None:
    """Refuse what is not on the list, and put every loop on the shared budget."""
    if type(node) not in _NODES:
        what = {"Call": "calls", "Assign": "set", "Mul": "'*'", "Pow": "'**'", "Mod": "'%'"}
        name = type(node).__name__
        raise TemplateFault(
            f"{what.get(name, name)} cannot be used in a policy's template; use if, for, "
            "comparisons, [..], ~ and plain filters",
            node.lineno,
        )
    if isinstance(node, nodes.Filter):
        if node.node is None or node.dyn_args is not None or node.dyn_kwargs is not None:
            raise TemplateFault("filter blocks and * arguments cannot be used", node.lineno)
        if node.name not in _ENV.filters or node.name == _BOUNDED:
            known = ", ".join(sorted(set(_ENV.filters) - {_BOUNDED}))
            raise TemplateFault(f"no filter {node.name!r}; there are: {known}", node.lineno)
    if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        raise TemplateFault(
            f"names that begin with '_' cannot be reached: .{node.attr}", node.lineno
        )
    if isinstance(node, nodes.Test) and node.name not in _ENV.tests:
        raise TemplateFault(f"no test {node.name!r}", node.lineno)
    if isinstance(node, nodes.For):
        loops += 1
        if node.recursive or loops > _MAX_LOOP_DEPTH:
            raise TemplateFault(
                f"at most {_MAX_LOOP_DEPTH} loops inside each other, none recursive", node.lineno
            )
    for child in node.iter_child_nodes():
        _check(child, loops)
    if isinstance(node, nodes.For):
        node.iter = nodes.Filter(node.iter, _BOUNDED, [], [], None, None, lineno=node.lineno)


@lru_cache(maxsize=512)
def _compiled(source: str) -> tuple[Template, tuple[tuple[str, int], ...]]:
    if len(source) > MAX_TEMPLATE_CHARS:
        raise TemplateFault(f"a template has at most {MAX_TEMPLATE_CHARS} characters")
    try:
        tree = _ENV.parse(source)
        _check(tree)
        free = find_undeclared_variables(tree)
        found: dict[str, int] = {}
        for name in tree.find_all(nodes.Name):
            if name.name in free and name.ctx == "load":
                found.setdefault(name.name, name.lineno)
        tree.set_environment(_ENV)
        code = _ENV.compile(tree)
        return Template.from_code(_ENV, code, _ENV.globals), tuple(found.items())
    except TemplateSyntaxError as error:
        raise TemplateFault(error.message or "syntax error", error.lineno) from None
    except (TemplateError, SyntaxError, ValueError, OverflowError) as error:
        raise TemplateFault(str(error)) from None
    except (RecursionError, MemoryError):
        raise TemplateFault("the template is nested too deeply") from None


def variables_of(source: str) -> tuple[tuple[str, int], ...]:
    """The variables a template needs, each with the line where it first stands.

    Raises:
        TemplateFault: The template does not compile, or uses what is not allowed.
    """
    return _compiled(source)[1]


def render_text(source: str, variables: Mapping[str, Any]) -> str:
    """The template's text, without blank space at its end.

    Raises:
        TemplateFault: It does not compile, a variable is missing, or it gets too long.
    """
    template, _ = _compiled(source)
    token = _turns_left.set([MAX_LOOP_TURNS])
    parts: list[str] = []
    size = 0
    try:
        for part in template.generate(dict(variables)):
            size += len(part)
            if size > MAX_RENDERED_CHARS:
                raise TemplateFault(f"the text has more than {MAX_RENDERED_CHARS} characters")
            parts.append(part)
    except TemplateFault:
        raise
    # Values of any type meet operators of any kind here; each failure is the template's.
    except Exception as error:
        raise TemplateFault(str(error) or type(error).__name__) from None
    finally:
        _turns_left.reset(token)
    return "".join(parts).rstrip()
