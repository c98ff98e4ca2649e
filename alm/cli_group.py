"""The command group: commands contributed by other packages, and what becomes of errors.

A package contributes a command by an entry point of the group `alm.commands`, whose name is the command's and
whose value is a function with typer's annotations or a `typer.Typer` with commands of its own. Help imports
every contributed module, so such a module imports nothing heavy at its top.
"""

from __future__ import annotations

import os
import sys
from importlib import metadata
from typing import Any

import typer
from typer.core import TyperGroup

from alm.errors import AlmError
from alm.terminal import printable

ENTRY_POINT_GROUP = "alm.commands"
#: Commands of this distribution's own folders: asked for without being installed, they deserve a remedy.
_OWN_COMMANDS = ("batch", "chat", "data", "eval", "export", "train")
_DEBUG_FLAG = "--debug"
USER_ERROR, INTERNAL_ERROR, INTERRUPTED = 2, 1, 130


class CommandGroup(TyperGroup):
    """Finds contributed commands by name, and turns errors into one line and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Own commands in the order of the file, then contributed ones by name."""
        own = list(super().list_commands(ctx))
        return own + sorted(name for name in _contributed() if name not in own)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, loaded when it is contributed; None when nobody knows the name."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        entry = _contributed().get(cmd_name)
        if entry is None:
            return _missing_command(cmd_name) if cmd_name in _OWN_COMMANDS else None
        try:
            return as_command(entry.load(), cmd_name)
        except Exception as error:  # one broken package must not take the whole command line away
            return _broken_command(cmd_name, entry, error)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`--debug` is understood anywhere before `--`, not only in front of the command."""
        end = args.index("--") if "--" in args else len(args)
        rest = [arg for arg in args[:end] if arg != _DEBUG_FLAG]
        found = len(rest) < end
        return list(super().parse_args(ctx, [_DEBUG_FLAG] * found + rest + args[end:]))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; no exception leaves as a traceback unless `--debug` asks for it."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            # The reader has what it wanted. Python would complain again when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            sys.stderr.write("\ninterrupted\n")
            raise typer.Exit(INTERRUPTED) from None
        except AlmError as error:
            self._report(ctx, str(error), error, USER_ERROR)
        except OSError as error:
            self._report(ctx, _system_error(error), error, USER_ERROR)
        except Exception as error:
            if _is_usage_error(error):
                raise
            what = f"unexpected {type(error).__name__}: {error} (run again with --debug and report it)"
            self._report(ctx, what, error, INTERNAL_ERROR)

    def _report(self, ctx: Any, text: str, error: Exception, code: int) -> None:
        if ctx.params.get("debug"):
            raise error
        sys.stderr.write(f"error: {' '.join(printable(text).split())}\n")
        raise typer.Exit(code)


def as_command(value: Any, name: str) -> Any:
    """The command made of a function with typer's annotations, or of a `typer.Typer`."""
    if isinstance(value, typer.Typer):
        command = typer.main.get_command(value)
    else:
        app = typer.Typer(add_completion=False, rich_markup_mode="rich")
        app.command(name)(value)
        command = typer.main.get_command(app)
    command.name = name
    return command


def _contributed() -> dict[str, metadata.EntryPoint]:
    return {entry.name: entry for entry in metadata.entry_points(group=ENTRY_POINT_GROUP)}


def _missing_command(name: str) -> Any:
    def missing() -> None:
        raise AlmError(
            f"the command {name!r} is not installed here: install the project again "
            "(`pip install -e .` in the checkout), which registers it"
        )

    missing.__doc__ = "Not installed."
    command = as_command(missing, name)
    return _accepting_anything(command)


def _broken_command(name: str, entry: metadata.EntryPoint, cause: Exception) -> Any:
    def broken() -> None:
        raise AlmError(
            f"the command {name!r} cannot be loaded from {entry.value}: {type(cause).__name__}: {cause}; "
            "install the package that brings it again"
        ) from cause

    broken.__doc__ = f"Cannot be loaded: {type(cause).__name__}."
    command = as_command(broken, name)
    return _accepting_anything(command)


def _accepting_anything(command: Any) -> Any:
    command.ignore_unknown_options = True
    command.allow_extra_args = True
    command.context_settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return command


def _is_usage_error(error: Exception) -> bool:
    """Exit, abort and wrong options belong to typer, which prints them well."""
    return isinstance(error, typer.Exit | typer.Abort) or hasattr(error, "exit_code")


def _system_error(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}"
