"""Runs a command and turns whatever it raises into one message and an exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from trireme_collector.cli import errors
from trireme_collector.cli._group import PROGRAM, CommandGroup, ReaderGoneError, root
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run"]

TRACEBACK_VARIABLE = "TRIREME_TRACEBACK"


def run(words: Sequence[str], *, group: CommandGroup | None = None) -> int:
    """Run the words of a command line.

    Args:
        words: What stands after the program's name.
        group: The commands to use instead of the installed ones.

    Returns:
        The exit code.
    """
    own, _, _ = "\0".join(words).partition("\0--\0")
    options = own.split("\0")
    as_json = "--json" in options
    color = _color_asked(options)
    try:
        code = (group or root).main(list(words), prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, ReaderGoneError):
        _silence_stdout()
        return ExitCode.OK  # whoever read has read enough
    except (click.Abort, KeyboardInterrupt):
        _flush_quietly()
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001  the last boundary: commands of plugins may raise anything
        _flush_quietly()
        if "--traceback" in options or os.environ.get(TRACEBACK_VARIABLE, "") not in {"", "0"}:
            import traceback

            traceback.print_exception(error)
        return errors.report(error, as_json=as_json, color=color)
    return code if isinstance(code, int) else ExitCode.OK


def _color_asked(options: Sequence[str]) -> bool | None:
    """Find out about colour from the bare words: the error may be that they cannot be parsed."""
    for index, word in enumerate(options):
        name, equals, value = word.partition("=")
        if name == "--color":
            value = value if equals else "".join(options[index + 1 : index + 2])
            return {"always": True, "never": False}.get(value)
    return None


def _flush_quietly() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _silence_stdout()


def _silence_stdout() -> None:
    """Keep the interpreter from complaining about the same output again when it ends."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
