"""`seamline`: the commands, each loaded when it is asked for."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from seamline.cli.common import EXIT_CODES, emit_json, fail

__all__ = ["app"]


class _Part(NamedTuple):
    module: str
    help: str
    group: bool = False


_PARTS = {
    "init": _Part("seamline.cli.init", "Write a new project with a working agent."),
    "run": _Part("seamline.cli.run", "Run an agent on a text."),
    "check": _Part("seamline.cli.check", "Check a project without running it."),
    "policies": _Part("seamline.cli.policies", "List, show, lock, label, compare policies.", True),
    "tools": _Part("seamline.cli.tools", "List tools, call one.", True),
    "models": _Part("seamline.cli.models", "List, pull and check bases, skills, endpoints.", True),
    "train": _Part("seamline.cli.train", "Train a skill's adapter from its recipe."),
    "eval": _Part("seamline.cli.eval", "Evaluate a skill: one grid, the same rows, a gate."),
    "traces": _Part("seamline.cli.traces", "Look at recorded runs.", True),
    "doctor": _Part("seamline.cli.doctor", "Say whether this machine is ready."),
}


class _LazyGroup(TyperGroup):
    """Knows every command by name and loads one when it is used.

    The help of all of them then needs no model, template or database code, and one that is
    not installed does not break the others.
    """

    _helping = False
    _json = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Every command, in the order of the help."""
        return list(_PARTS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command, loaded; only its name and help while help is being written."""
        part = _PARTS.get(cmd_name)
        if part is None:
            return None
        if self._helping:
            return TyperCommand(cmd_name, help=part.help)
        return _load(cmd_name, part)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help, from the names and lines above."""
        self._helping = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._helping = False

    def make_context(
        self, info_name: Any, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """The context of a call, from what the parser makes of its arguments."""
        self._json = "--json" in (args[: args.index("--")] if "--" in args else args)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except Exception as error:
            self._tell_usage(error)
            raise

    def _tell_usage(self, error: Any) -> None:
        """A usage error as JSON where `--json` asks for it; the parser tells it on stderr."""
        if self._json and hasattr(error, "format_message"):
            emit_json({"error": error.format_message(), "error_type": type(error).__name__})

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error becomes one line and a documented exit code."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:  # while help was written
            from seamline.cli.console import end_quietly

            end_quietly(sys.stdout)
        except Exception as error:
            if hasattr(error, "format_message"):
                self._tell_usage(error)
                raise
            raise fail(error) from None


def _load(name: str, part: _Part) -> Any:
    module = importlib.import_module(part.module)
    app: typer.Typer = module.app
    command = typer.main.get_command(app)
    if not part.group and isinstance(command, TyperGroup):
        command = next(iter(command.commands.values()))
    command.name = name
    return command


_EPILOG = "Exit codes: " + "; ".join(f"{code} {what}" for code, what in EXIT_CODES.items()) + "."

app = typer.Typer(
    name="seamline",
    cls=_LazyGroup,
    help="Graph-based agents: prompts orchestrate, adapters know, traces remember.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> None:
    if show:
        from seamline import __version__

        typer.echo(f"seamline {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Graph-based agents: prompts orchestrate, adapters know, traces remember."""


if __name__ == "__main__":
    app()
