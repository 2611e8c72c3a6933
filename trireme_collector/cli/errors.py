"""Errors as people and scripts see them: one message on standard error and an exit code."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

import click

from trireme_collector.cli.output import color_default, print_json, printable
from trireme_collector.errors import (
    ConfigError,
    DeliveryError,
    PluginError,
    PrivilegeError,
    TriremeError,
)
from trireme_collector.exit_codes import ExitCode

__all__ = ["exit_code_of", "report"]

_CODES: tuple[tuple[type[TriremeError], ExitCode], ...] = (
    (ConfigError, ExitCode.CONFIG),
    (PluginError, ExitCode.PLUGIN),
    (PrivilegeError, ExitCode.PRIVILEGE),
    (DeliveryError, ExitCode.OUTPUT),
)


def exit_code_of(error: BaseException) -> ExitCode:
    """Say with which code the process ends because of an error.

    An error class may have an attribute ``exit_code``; it comes before the table.
    """
    if isinstance(error, click.ClickException):
        return ExitCode.USAGE if error.exit_code == ExitCode.USAGE else ExitCode.FAILURE
    own = getattr(error, "exit_code", None)
    if isinstance(own, ExitCode):
        return own
    for known, code in _CODES:
        if isinstance(error, known):
            return code
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return ExitCode.OUTPUT
    return ExitCode.FAILURE


def report(error: BaseException, *, as_json: bool, color: bool | None = None) -> ExitCode:
    """Print an error on standard error.

    Args:
        error: What was raised.
        as_json: Whether to print one JSON object instead of text.
        color: Whether to colour; None decides as usual.

    Returns:
        The exit code that belongs to it.
    """
    code = exit_code_of(error)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True, color=color)
        return code
    if as_json:
        print_json({"error": _fields(error, code)}, err=True, indent=False)
        return code
    color = color_default("auto") if color is None else color
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True, color=color)
    label = click.style("error:", fg="red", bold=True)
    click.echo(f"{label} {_headline(error)}", err=True, color=color)
    for problem in _problems(error):
        click.echo(_mark_place(problem), err=True, color=color)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = click.style(f"Try '{error.ctx.command_path} --help'.", dim=True)
        click.echo(hint, err=True, color=color)
    return code


def _fields(error: BaseException, code: ExitCode) -> dict[str, object]:
    fields: dict[str, object] = {
        "kind": type(error).__name__,
        "exit_code": code.value,
        "code": code.name,
        "message": _headline(error),
        "problems": list(getattr(error, "problems", ())),
    }
    details = getattr(error, "details", None)
    if details:
        fields["details"] = list(details)
    return fields


def _headline(error: BaseException) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, ConfigError) and error.problems:
        if len(error.problems) == 1 and str(error) == error.problems[0]:
            return error.problems[0]
        if str(error) == "\n".join(error.problems):
            return f"{len(error.problems)} mistakes were found"
    if isinstance(error, TriremeError):
        return printable(str(error))
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"the output cannot be written: {error.strerror}; make room and run it again"
    where = ""
    if frames := traceback.extract_tb(error.__traceback__):
        where = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}"
    return (
        f"unexpected {type(error).__name__}{where}: {printable(str(error))}; this is a mistake"
        " in the program. Set TRIREME_TRACEBACK=1 and run it again to see all of it"
    )


def _problems(error: BaseException) -> tuple[str, ...]:
    problems = tuple(getattr(error, "problems", ()))
    return () if problems and _headline(error) == problems[0] else problems


def _mark_place(problem: str) -> str:
    """Make the place in front of a problem stand out."""
    parts = problem.split(": ", 1)
    if len(parts) == 2 and parts[0].count(":") >= 2:
        return f"{click.style(parts[0], bold=True)}: {parts[1]}"
    return problem
