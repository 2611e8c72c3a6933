"""`trireme-collector plugins new`: the project of a plugin, complete and tested."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click

from trireme_collector.cli.output import json_option, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["new_plugin"]

_VARIANTS = ("simple", "batched")
_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_PREFIX = "trireme-collector-"


@click.command(name="new", short_help="Write a project with a collector called NAME.")
@click.argument("name")
@click.option(
    "--variant",
    type=click.Choice(_VARIANTS),
    help="What the collector takes: simple is one record at a time, batched many. [simple]",
)
@click.option("--summary", metavar="TEXT", help="What it does, in one line.")
@click.option("--author", metavar="TEXT", help="Who writes it.")
@click.option(
    "--directory",
    metavar="DIR",
    help="Where to write the project; NAME in the working directory if not.",
)
@click.option("--defaults", is_flag=True, help="Ask nothing, even on a terminal.")
@json_option
def new_plugin(
    name: str,
    variant: str | None,
    summary: str | None,
    author: str | None,
    directory: str | None,
    *,
    defaults: bool,
    as_json: bool,
) -> None:
    """Write a project with a collector called NAME: code, types, tests, packaging.

    It can be installed and passes its tests as it is. On a terminal it asks for what no option
    says; elsewhere it takes the defaults.
    """
    from pathlib import Path

    from trireme_collector.cli._plugin_template import (
        DEFAULT_AUTHOR,
        DEFAULT_SUMMARIES,
        describe_project,
        write_project,
    )

    given, name = name, _checked_name(name.removeprefix(_PREFIX))
    place = Path(directory or given)
    asks = not (defaults or as_json) and sys.stdin.isatty()

    def ask(what: str, given: str | None, default: str, check: Callable[[str], str]) -> str:
        if given is not None:
            return check(given)
        return click.prompt(what, default=default, value_proc=check, err=True) if asks else default

    if variant is None:
        variant = "simple"
        if asks:
            choice = click.Choice(_VARIANTS)
            variant = click.prompt("Variant", default=variant, type=choice, err=True)
    summary = ask("Summary", summary, DEFAULT_SUMMARIES[variant], _checked_line)
    author = ask("Author", author, DEFAULT_AUTHOR, _checked_line)
    values = describe_project(name=name, variant=variant, summary=summary, author=author)
    files = write_project(place, values)
    if as_json:
        print_json(
            {
                "name": name,
                "variant": variant,
                "directory": str(place),
                "distribution": values["distribution"],
                "module": values["module"],
                "files": files,
            }
        )
        return
    click.echo(f"Wrote {len(files)} files to {place}: a {variant} collector called {name!r}.")
    click.echo("\nTry it:\n")
    click.echo(f"    cd {place}")
    click.echo("    pip install --editable . pytest")
    click.echo("    pytest")
    click.echo(f"    trireme-collector plugins show {name}")


def _checked_name(name: str) -> str:
    """Refuse what could not be a collector, a module and a distribution at once.

    Raises:
        UsageError: It could not.
    """
    from trireme_collector.cli._plugin_template import LONGEST_NAME
    from trireme_collector.registry import Registry

    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower())
        near = "-".join(words).lstrip("0123456789-")[:LONGEST_NAME].rstrip("-")
        hint = f"; {near!r} would do" if _NAME.fullmatch(near) else ""
        raise click.BadParameter(
            f"{name!r} is no name for a collector: expected at most {LONGEST_NAME} small letters,"
            f" digits and single hyphens, beginning with a letter{hint}",
            param_hint="NAME",
        )
    if name in Registry().names():
        raise click.BadParameter(
            f"a plugin called {name!r} is installed already: choose another name, because one"
            " would hide the other",
            param_hint="NAME",
        )
    return name


def _checked_line(text: str) -> str:
    """Refuse what would have to be quoted, in three languages.

    Raises:
        BadParameter: It would.
    """
    if not text.strip() or len(text) > 60 or not text.isprintable() or set(text) & set('"\\{}'):
        raise click.BadParameter(
            f"{text!r} cannot be used: expected 1 to 60 printable characters, none of them a"
            " double quote, a backslash or a brace"
        )
    return text.strip()
