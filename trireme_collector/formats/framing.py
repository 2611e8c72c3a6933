"""Where a syslog message ends on a stream (RFC 6587)."""

from __future__ import annotations

import enum

__all__ = ["Framing", "frame_lf", "frame_octet_counting"]


class Framing(enum.StrEnum):
    """How messages are told apart on a stream."""

    OCTET_COUNTING = "octet-counting"
    LF = "lf"


def frame_octet_counting(message: bytes) -> bytes:
    """Put the length before the message: any content is safe (RFC 6587 section 3.4.1)."""
    return b"%d %b" % (len(message), message)


def frame_lf(message: bytes) -> bytes:
    """Put a line end after the message (RFC 6587 section 3.4.2).

    The message must not contain one; those of `render_rfc5424` never do.
    """
    return message + b"\n"
