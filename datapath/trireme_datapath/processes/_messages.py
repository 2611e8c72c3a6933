"""What every child of a supervisor says: that it is ready, or why it cannot work."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Failed", "Message", "Ready"]


class Message(Struct, frozen=True, kw_only=True, tag_field="kind", tag=True, gc=False):
    """Anything that is said."""


class Ready(Message, frozen=True, kw_only=True, gc=False):
    """All is prepared.

    Attributes:
        edition: By which policy, and which units told of, it will judge; for the process of the
            collectors its name.
    """

    edition: str


class Failed(Message, frozen=True, kw_only=True, gc=False):
    """It cannot work.

    Attributes:
        message: What failed, on what, what to do.
        exit_code: How a program ends because of that.
        problems: One line per mistake.
    """

    message: str
    exit_code: int
    problems: tuple[str, ...] = ()
