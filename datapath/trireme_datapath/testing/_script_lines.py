"""The lines of a packet script, taken apart."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from trireme_datapath.packets import Verdict
from trireme_datapath.testing._crafting import ScriptError, craft
from trireme_datapath.testing._script_records import RecordPattern, read_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_datapath.packets import QueuedPacket

__all__ = ["Expected", "PacketLine", "ScriptLine", "WaitLine", "read_script"]

_NAME: Final = re.compile(r"\s*([A-Za-z_][\w-]*)\s*=\s*(\S+)\s*")
_BAR: Final = re.compile(r"\s+\|\s+")  # one without blanks belongs to an action: accept|log
_SECONDS: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s?")  # thirty years and more
_VERDICTS: Final = {verdict.name.lower(): verdict for verdict in Verdict}
_MANY: Final = frozenset({"open", "close"})


class Expected(NamedTuple):
    """What a line expects of a decision.

    Attributes:
        verdict: None for any.
        mark: None when nothing is said.
        records: In order.
        more: Whether further records may follow.
    """

    verdict: Verdict | None
    mark: int | None = None
    records: tuple[RecordPattern, ...] = ()
    more: bool = False


class PacketLine(NamedTuple):
    """A packet and what is expected of its decision."""

    number: int
    text: str
    packet: QueuedPacket
    expected: Expected


class WaitLine(NamedTuple):
    """Time that passes, and the records that are expected then; None when nothing is said."""

    number: int
    text: str
    seconds: float
    expected: Expected | None


ScriptLine: TypeAlias = "PacketLine | WaitLine"


def read_script(script: str) -> list[ScriptLine]:
    """Read a script.

    Raises:
        ScriptError: A line cannot be read; it says which.
    """
    names: dict[str, str] = {}
    lines: list[ScriptLine] = []
    for number, whole in enumerate(script.splitlines(), 1):
        line = _without_comment(whole).strip()
        if not line:
            continue
        try:
            named = _NAME.fullmatch(line)
            if named:
                names[named[1]] = names.get(named[2], named[2])
            else:
                lines.extend(_read(number, line, names))
        except ScriptError as error:
            raise ScriptError(f"line {number}: {error}, in {whole.strip()!r}") from error
    return lines


def _without_comment(line: str) -> str:
    """Cut a line at a ``#`` that begins a word and stands in no quotes."""
    quote = ""
    for index, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#" and (index == 0 or line[index - 1].isspace()):
            return line[:index]
    return line


def _read(number: int, line: str, names: dict[str, str]) -> Iterator[ScriptLine]:
    left, arrow, right = (part.strip() for part in line.partition("->"))
    word, rest = (*left.split(None, 1), "", "")[:2]
    if word == "wait":
        seconds = _SECONDS.fullmatch(rest.strip())
        if seconds is None:
            raise ScriptError(f"expected wait SECONDS, found {rest.strip()!r}")
        records = _read_records(_BAR.split(right)) if arrow else None
        yield WaitLine(number, left, float(seconds[1]), records)
        return
    if not arrow:
        raise ScriptError("expected -> and what is expected of the packet, or -> * for anything")
    expected = _read_expected(right)
    if word not in _MANY:
        yield PacketLine(number, left, craft(_resolve(left, names)), expected)
        return
    if not rest.startswith("tcp ") or len(rest.split()) < 4:
        raise ScriptError(f"expected {word} tcp SOURCE:PORT > DESTINATION:PORT")
    steps = _steps(word, _resolve(rest, names), passes=expected.verdict in {None, Verdict.ACCEPT})
    for index, text in enumerate(steps):
        # The first packet causes what the line says; the others pass without a word.
        said = Expected(expected.verdict) if index else expected
        yield PacketLine(number, text, craft(text), said)


def _steps(word: str, text: str, *, passes: bool) -> list[str]:
    """Give the packets that open or close a connection, as far as they get through."""
    protocol, client, arrow, server, *words = text.split()
    if arrow not in {">", "<"}:
        raise ScriptError("expected > between the client and the server")
    back = "<" if arrow == ">" else ">"
    rest = " ".join(words)
    there, here = (f"{protocol} {client} {way} {server} {rest}".strip() for way in (arrow, back))
    flags = ("S", "SA", "A") if word == "open" else ("FA", "FA", "A")
    steps = [f"{there} {flags[0]}", f"{here} {flags[1]}", f"{there} {flags[2]}"]
    return steps if passes else steps[:1]


def _resolve(text: str, names: dict[str, str]) -> str:
    """Put addresses for names; a name may be followed by a port."""
    resolved = []
    for word in text.split():
        name, colon, port = word.partition(":")
        known = names.get(word)
        if known is None and colon and name in names:
            address = names[name]
            known = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        resolved.append(word if known is None else known)
    return " ".join(resolved)


def _read_expected(text: str) -> Expected:
    head, *records = _BAR.split(text)
    words = head.split()
    if not words:
        raise ScriptError("expected a verdict after ->")
    verdict = None if words[0] == "*" else _VERDICTS.get(words[0])
    if verdict is None and words[0] != "*":
        raise ScriptError(f"expected one of {', '.join(_VERDICTS)} or *, found {words[0]!r}")
    mark = None
    for word in words[1:]:
        name, _, value = word.partition("=")
        if name != "mark":
            raise ScriptError(f"expected mark=NUMBER after the verdict, found {word!r}")
        try:
            mark = int(value, 0)
        except ValueError:
            raise ScriptError(f"expected a number as mark, found {value!r}") from None
    if verdict is None and not records:
        return Expected(None, mark, more=True)
    if not records:
        return Expected(verdict, mark)
    return _read_records(records)._replace(verdict=verdict, mark=mark)


def _read_records(parts: list[str]) -> Expected:
    patterns: list[RecordPattern] = []
    if parts == ["nothing"]:
        return Expected(None)
    more = parts[-1] == "..."
    for part in parts[:-1] if more else parts:
        try:
            words = shlex.split(part)
        except ValueError as error:
            raise ScriptError(f"{error} in {part!r}") from error
        patterns.append(read_record(words))
    return Expected(None, None, tuple(patterns), more)
