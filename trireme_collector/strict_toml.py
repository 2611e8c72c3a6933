"""TOML files read strictly: every mistake at once, each with its line and column.

::

    document = load_document("collector.toml")
    settings = document.convert((), Settings)      # a msgspec Struct, or None on mistakes
    document.raise_problems()                      # ConfigError that lists them all

A type may carry its own check, which runs where the plain type already fits::

    Port = Annotated[int | str, Meta(extra={"validate": check_port, "expected": "a port"})]

The check raises `Unfit` for a value that will not do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from trireme_collector._toml_checker import Finding, Unfit, find
from trireme_collector._toml_files import MAX_DOCUMENT_BYTES, read_text
from trireme_collector._toml_parser import MAX_NESTING, parse
from trireme_collector._toml_positions import KeyPath, Position, Positions, format_path, scan
from trireme_collector._toml_problems import DocumentError, Problem
from trireme_collector._toml_values import describe, nearest, quote

if TYPE_CHECKING:
    import os
    from collections.abc import Collection

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "MAX_NESTING",
    "REDACTED_WORDS",
    "Document",
    "DocumentError",
    "KeyPath",
    "Position",
    "Positions",
    "Problem",
    "Unfit",
    "describe",
    "format_path",
    "load_document",
    "nearest",
    "parse_document",
    "quote",
    "read_text",
]

T = TypeVar("T")

REDACTED_WORDS = frozenset(
    {
        "api_key",
        "apikey",
        "authorization",
        "credential",
        "passphrase",
        "passwd",
        "password",
        "private_key",
        "secret",
        "token",
    }
)

_TOGETHER = "what does not go together"


class Document:
    """A parsed TOML text, with the places of its values and the problems found so far.

    Attributes:
        name: What the messages call the file.
        data: The tables as the standard library's parser gives them.
        redacted: Words; the value of a key that contains one is never shown.
    """

    def __init__(
        self,
        name: str,
        text: str,
        data: dict[str, object],
        *,
        redacted: Collection[str] = REDACTED_WORDS,
    ) -> None:
        """Take a text and what the parser made of it; use `parse_document` instead."""
        self.name = name
        self.data = data
        self.redacted = frozenset(word.lower() for word in redacted)
        self._text = text
        self._positions: Positions | None = None
        self._findings: list[Finding] = []

    @property
    def positions(self) -> Positions:
        """The places of all keys and values, found out when first asked for."""
        if self._positions is None:
            self._positions = scan(self._text)
        return self._positions

    def position(self, path: KeyPath) -> Position:
        """Give the place of a value; of the table around it when there is no such value."""
        return self.positions.of_value(path)

    def get(self, path: KeyPath) -> object:
        """Give the plain value at a path, or None when there is none."""
        value: object = self.data
        for part in path:
            match value, part:
                case dict(), str():
                    value = value.get(part)
                case list(), int() if part < len(value):
                    value = value[part]
                case _:
                    return None
        return value

    def convert(self, path: KeyPath, kind: type[T]) -> T | None:
        """Turn a part of the document into a type; unknown keys are mistakes.

        Args:
            path: Where the part begins; ``()`` is the whole document.
            kind: Any type that msgspec can convert to.

        Returns:
            The value, or None when there were mistakes: they are kept for `raise_problems`.
        """
        value = self.get(path)
        findings = list(find(value, kind, path))
        if not findings:
            try:
                return msgspec.convert(value, kind)
            except msgspec.ValidationError as error:
                # Left to msgspec: what a struct's own __post_init__ refuses.
                reason, _, place = str(error).partition(" - at `$")
                # A struct looks at its fields together; each alone was sound.
                found = _TOGETHER if isinstance(value, dict) else _value_of(value)
                findings = [Finding((*path, *_parse_place(place)), found, reason)]
        self._findings.extend(findings)
        return None

    def part(self, path: KeyPath, kind: type[T], *, without: Collection[str] = ()) -> T | None:
        """Take a part that `convert` has already looked at, to go on where it was sound.

        Args:
            path: Where the part begins.
            kind: The struct to make of it.
            without: Keys of the part to leave out, and whose problems do not matter.

        Returns:
            The value, or None when a problem is known in it.
        """
        depth = len(path)
        for finding in self._findings:
            if finding.path[:depth] == path and not (
                len(finding.path) > depth and finding.path[depth] in without
            ):
                return None
        value = self.get(path)
        if without and isinstance(value, dict):
            value = {key: element for key, element in value.items() if key not in without}
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            return None

    def unsound_keys(self, path: KeyPath) -> frozenset[str]:
        """Give the keys of a table in whose values, or in which themselves, problems are known."""
        depth = len(path)
        below = (f.path[depth] for f in self._findings if f.path[:depth] == path != f.path)
        return frozenset(key for key in below if isinstance(key, str))

    def length(self, path: KeyPath) -> int:
        """Count the elements of the array at a path, 0 when there is no array."""
        value = self.get(path)
        return len(value) if isinstance(value, list) else 0

    def add_problem(
        self,
        path: KeyPath,
        *,
        expected: str,
        found: str = "",
        nearest: str = "",
        of_key: bool = False,
    ) -> None:
        """Note a mistake that a type cannot express.

        Args:
            path: The value that is wrong.
            expected: What would be right.
            found: What stands there; empty to describe the value.
            nearest: What was probably meant, or empty.
            of_key: Whether the key is wrong rather than its value.
        """
        value = self.get(path)
        shown = found or ("nothing" if value is None else describe(value))
        self._findings.append(Finding(path, shown, expected, nearest, of_key))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All mistakes noted so far, in the order of the file."""
        if not self._findings:
            return ()
        problems = [self._problem(finding) for finding in dict.fromkeys(self._findings)]
        return tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))

    def raise_problems(self) -> None:
        """Raise all mistakes noted so far as one error, if there are any.

        Raises:
            DocumentError: A `ConfigError` with one line per mistake.
        """
        problems = self.problems
        if problems:
            raise DocumentError(problems)

    def _problem(self, finding: Finding) -> Problem:
        place = self.positions.of_key if finding.of_key else self.positions.of_value
        line, column = place(finding.path)
        hidden = not finding.of_key and self._is_redacted(finding.path)
        present = finding.found not in {"nothing", "an empty file"}
        return Problem(
            file=self.name,
            line=line,
            column=column,
            key=format_path(finding.path),
            found="a value that is not shown" if hidden and present else finding.found,
            expected=finding.expected,
            nearest="" if hidden else finding.nearest,
        )

    def _is_redacted(self, path: KeyPath) -> bool:
        return any(
            word in part.lower().replace("-", "_")
            for part in path
            if isinstance(part, str)
            for word in self.redacted
        )


def load_document(
    path: str | os.PathLike[str],
    *,
    redacted: Collection[str] = REDACTED_WORDS,
    refuse_world_writable: bool = False,
) -> Document:
    """Read and parse a TOML file.

    Args:
        path: The file.
        redacted: Words; the value of a key that contains one is never shown in a message.
        refuse_world_writable: Whether a file that every user can change is a mistake.

    Returns:
        The document, without any check of its content yet.

    Raises:
        ConfigError: The file cannot be read, or is not TOML.
    """
    name, text = read_text(path, refuse_world_writable=refuse_world_writable)
    return parse_document(text, name, redacted=redacted)


def parse_document(
    text: str, name: str = "<text>", *, redacted: Collection[str] = REDACTED_WORDS
) -> Document:
    """Parse a TOML text.

    Args:
        text: The text.
        name: What messages call it.
        redacted: Words; the value of a key that contains one is never shown in a message.

    Returns:
        The document, without any check of its content yet.

    Raises:
        ConfigError: The text is not TOML.
    """
    text = text.replace("\r\n", "\n")
    return Document(name, text, parse(text, name), redacted=redacted)


def _value_of(value: object) -> str:
    return "nothing" if value is None else describe(value)


def _parse_place(place: str) -> KeyPath:
    """Read msgspec's ``.unit[0].name`` as far as it is exact."""
    path: list[str | int] = []
    for name, index in re.findall(r"\.([^.\[`]+)|\[(\d+|\.\.\.)\]", place):
        if index == "...":
            break
        path.append(name or int(index))
    return tuple(path)
