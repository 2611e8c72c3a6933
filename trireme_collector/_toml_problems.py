"""Mistakes in a file, each with its place, and the error that lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

    from trireme_collector._toml_positions import Position

__all__ = ["DocumentError", "Problem", "syntax_error"]


class Problem(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One mistake in a file."""

    file: str
    line: int
    column: int
    key: str
    found: str
    expected: str
    nearest: str = ""

    def __str__(self) -> str:
        """Put the mistake on one line, the place first, as compilers do."""
        key = f"{self.key}: " if self.key else ""
        hint = f" (did you mean {self.nearest}?)" if self.nearest else ""
        return (
            f"{self.file}:{self.line}:{self.column}: {key}"
            f"found {self.found}, expected {self.expected}{hint}"
        )


class DocumentError(ConfigError):
    """A file has mistakes; `details` holds them in order, ready to be shown or encoded."""

    def __init__(self, details: Collection[Problem]) -> None:
        """List the mistakes, one per line."""
        lines = [str(problem) for problem in details]
        super().__init__("\n".join(lines), problems=lines)
        self.details = tuple(details)


def syntax_error(name: str, place: Position, found: str, expected: str) -> DocumentError:
    """Make the error for a file that cannot be taken apart, because of what stands at a place."""
    problem = Problem(
        file=name, line=place.line, column=place.column, key="", found=found, expected=expected
    )
    return DocumentError([problem])
