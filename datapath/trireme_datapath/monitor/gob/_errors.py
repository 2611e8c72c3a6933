"""What can be wrong with gob, and how much of it is taken."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from trireme_collector.errors import DatapathError

__all__ = ["DEFAULT_LIMITS", "GobError", "GobLimits", "GobStreamError"]


class GobError(DatapathError):
    """A gob message cannot be read, or a value cannot be written; the next one may be sound."""


class GobStreamError(GobError):
    """A gob stream cannot be followed any more: where its next message begins is not known."""


class GobLimits(Struct, frozen=True, kw_only=True, gc=False):
    """How much a gob stream may ask for.

    Attributes:
        max_message_bytes: The length of one message. A datapath sample is at most 64 KiB.
        max_depth: How deep values may be nested. The deepest message of an agent, a header of
            an HTTP request, has six levels.
        max_types: How many types one stream may define. An access log defines eighteen.
        max_values: How many fields and elements one message may hold.
    """

    max_message_bytes: int = 1 << 20
    max_depth: int = 24
    max_types: int = 256
    max_values: int = 8192


DEFAULT_LIMITS: Final = GobLimits()
