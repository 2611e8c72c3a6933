"""The formatter: messages of one stream become text in one mode."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from trireme_datapath.monitor._errors import MessageError
from trireme_datapath.monitor._go_text import json_text
from trireme_datapath.monitor.display import Display, Level, Mode, link_names
from trireme_datapath.monitor.filters import filter_of
from trireme_datapath.monitor.messages._kinds import NO_TYPE, kinds_of
from trireme_datapath.monitor.profiles import find_profile
from trireme_datapath.monitor.tables.message_types import message_type_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trireme_datapath.monitor.filters import EventFilter
    from trireme_datapath.monitor.messages._kinds import Kind, Message
    from trireme_datapath.monitor.profiles import Profile

__all__ = ["Formatter", "Seen"]

_LEVELS: Final = {
    Mode.INFO: Level.INFO,
    Mode.INFO_NUMERIC: Level.INFO,
    Mode.DEBUG: Level.DEBUG,
    Mode.VERBOSE: Level.VERBOSE,
    Mode.VERBOSE_NUMERIC: Level.VERBOSE,
    Mode.VERBOSE_HEX: Level.VERBOSE,
    Mode.JSON: Level.JSON,
}
_NUMERIC: Final = {Mode.INFO_NUMERIC, Mode.VERBOSE_NUMERIC}


class Seen:
    """What a formatter has seen.

    Attributes:
        types: How many messages came, by the number of their type.
        filtered: How many of them the filter held back.
        malformed: How many of them could not be read.
        lost: How many messages were lost on the way.
    """

    __slots__ = ("filtered", "lost", "malformed", "types")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.types: Counter[int] = Counter()
        self.filtered = 0
        self.malformed = 0
        self.lost = 0

    @property
    def messages(self) -> dict[str, int]:
        """How many messages came, by the name of their type."""
        return {message_type_name(number): self.types[number] for number in sorted(self.types)}


class Formatter:
    """Makes text of messages; nothing is printed.

    Args:
        profile: The version of Cilium whose output is wanted.
        mode: How much is shown.
        ifnames: The names of interfaces by number.
        filter: Which messages are wanted: a filter, or its conditions (types, from, to,
            related).
        fixed: Whether the output is for people and whole, or exactly that of Cilium.
        numeric: Whether identities are numbers, also where the mode does not say so.
        hexadecimal: Whether packets are dumped, also where the mode does not say so.

    Attributes:
        seen: What came so far.

    Raises:
        ConfigError: The filter cannot be used.
        ValueError: There is no such profile or mode.
    """

    def __init__(
        self,
        *,
        profile: str | Profile = "1.16",
        mode: str | Mode = Mode.INFO,
        ifnames: Mapping[int, str] | Mapping[str, str] | None = None,
        filter: EventFilter | Mapping[str, Iterable[str | int]] | None = None,  # noqa: A002
        fixed: bool = False,
        numeric: bool = False,
        hexadecimal: bool = False,
    ) -> None:
        """Prepare what every message needs."""
        version = find_profile(profile)
        mode = Mode(mode)
        self.seen = Seen()
        self._level = _LEVELS[mode]
        self._display = Display(
            profile=version,
            numeric=numeric or mode in _NUMERIC,
            hexadecimal=hexadecimal or mode is Mode.VERBOSE_HEX,
            fixed=fixed,
            ifnames=link_names(ifnames),
        )
        self._filter = filter_of(filter, version)
        self._kinds = kinds_of(version)
        self._json_lines = fixed and self._level is Level.JSON

    def message(self, data: bytes, cpu: int = 0) -> str:
        """Give the text of a message, with the end of its last line.

        Args:
            data: The message, its type in the first byte. Any bytes will do.
            cpu: The processor that it comes from.
        """
        if not data:
            self.seen.malformed += 1
            # Cilium ends here, and has printed nothing.
            return self._error("", NO_TYPE, cpu) if self.fixed else ""
        number = data[0]
        self.seen.types[number] += 1
        kind = self._kinds.get(number)
        if kind is None:
            return self._unknown(data, cpu)
        try:
            message = kind.decode(data)
        except MessageError as error:
            self.seen.malformed += 1
            failure = self._failure(kind, error, cpu)
            return failure if self.fixed else failure + self._show_empty(kind, data, cpu)
        if not self._accepts(number, message):
            return ""
        return message.show(self._level, data, f"CPU {cpu:02d}:", self._display)

    def lost(self, count: int, cpu: int = 0) -> str:
        """Give the line about messages that were lost.

        Args:
            count: How many.
            cpu: The processor that they come from.
        """
        self.seen.lost += count
        if self._json_lines:
            return json_text({"cpu": f"CPU {cpu:02d}:", "type": "lost", "lost": count}) + "\n"
        return f"CPU {cpu:02d}: Lost {count} events\n"

    @property
    def fixed(self) -> bool:
        """Whether the output is for people and whole, or exactly that of Cilium."""
        return self._display.fixed

    def _accepts(self, number: int, message: Message) -> bool:
        if self._filter is None:
            return True
        endpoints = message.endpoints()
        if endpoints is None or self._filter.accepts(number, endpoints):
            return True
        self.seen.filtered += 1
        return False

    def _show_empty(self, kind: Kind, data: bytes, cpu: int) -> str:
        """Show what Cilium shows after an error: it goes on as if all had been zero."""
        if not self._accepts(kind.number, kind.empty):
            return ""
        if kind.ends(data, self._level):
            return kind.begun
        return kind.empty.show(self._level, data, f"CPU {cpu:02d}:", self._display)

    def _unknown(self, data: bytes, cpu: int) -> str:
        if self._json_lines:
            form = {"cpu": f"CPU {cpu:02d}:", "type": "unknown", "data": data.hex()}
            return json_text(form) + "\n"
        return f"CPU {cpu:02d}: Unknown event: [{' '.join(map(str, data))}]\n"

    def _failure(self, kind: Kind, error: MessageError, cpu: int) -> str:
        reason = str(error)
        if kind.cut is not None and not self.fixed:
            reason = kind.cut
        return self._error(kind.failure, reason, cpu)

    def _error(self, failure: str, reason: str, cpu: int) -> str:
        text = f"{failure}: {reason}" if failure else reason
        if self._json_lines:
            form = {"cpu": f"CPU {cpu:02d}:", "type": "error", "message": text}
            return json_text(form) + "\n"
        return f"{self._display.outside(text)}\n"
