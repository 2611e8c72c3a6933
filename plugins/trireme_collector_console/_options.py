"""The options of the console collector."""

from __future__ import annotations

import enum

import msgspec

__all__ = ["Color", "ConsoleOptions", "Stream"]


class Color(enum.StrEnum):
    """Whether lines are coloured."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Stream(enum.StrEnum):
    """Where the lines go."""

    STDOUT = "stdout"
    STDERR = "stderr"


class ConsoleOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the collector ``console``.

    Attributes:
        stream: Where the lines go.
        color: Whether the verdict is coloured; ``auto`` colours on a terminal, and obeys
            ``NO_COLOR`` and ``FORCE_COLOR``.
        json: Print one JSON object a line instead, for programs; never coloured.
    """

    stream: Stream = Stream.STDOUT
    color: Color = Color.AUTO
    json: bool = False
