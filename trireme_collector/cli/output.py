"""What commands print: JSON of a stable version, aligned tables, colour where it is wanted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["JSON_VERSION", "color_default", "json_option", "print_json", "printable", "table"]

JSON_VERSION = 1
"""The ``version`` of every JSON object that commands print. Fields are added, never changed."""

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON of a stable form instead of text."
)


def color_default(asked: str) -> bool | None:
    """Decide about colour.

    Args:
        asked: ``auto``, ``always`` or ``never``.

    Returns:
        Whether to colour; None leaves it to whether the stream is a terminal.
    """
    if asked != "auto":
        return asked == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return False if os.environ.get("TERM") == "dumb" else None


def print_json(fields: dict[str, object], *, err: bool = False, indent: bool = True) -> None:
    """Print one JSON object that begins with its version.

    Args:
        fields: What the object says.
        err: Whether it goes to standard error.
        indent: Whether to spread it over lines, for people who read it after all.
    """
    encoded = msgspec.json.encode({"version": JSON_VERSION, **fields})
    click.echo((msgspec.json.format(encoded) if indent else encoded).decode(), err=err)


def printable(text: str) -> str:
    """Make a text safe for a terminal: what is not printable is shown as an escape."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align rows under a head; the last column may be of any length.

    Widths are those of the text without colour.
    """
    widths = [
        max((len(click.unstyle(row[column])) for row in (head, *rows)), default=0)
        for column in range(len(head) - 1)
    ]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell + " " * (width - len(click.unstyle(cell)))
            for cell, width in zip(row, widths, strict=False)
        ]
        return "  ".join([*cells, row[-1]]).rstrip()

    styled = [click.style(title, bold=True) for title in head]
    return "\n".join(line(row) for row in (styled, *rows))
