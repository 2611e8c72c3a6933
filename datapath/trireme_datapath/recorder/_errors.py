"""Why a recording cannot begin, or not go on."""

from __future__ import annotations

import enum

from trireme_collector.errors import DatapathError

__all__ = ["RecorderError", "Refusal"]


class Refusal(enum.Enum):
    """What kind of refusal it is; each is a status of gRPC."""

    INVALID = "invalid"
    """What was asked for cannot be done by anybody."""
    UNFIT = "unfit"
    """This recorder cannot do it as it is set up."""
    EXHAUSTED = "exhausted"
    """There is no room for it now."""
    FORBIDDEN = "forbidden"
    """The process lacks a right."""
    UNKNOWN_RECORDING = "unknown recording"
    """There is no recording of that name."""
    CLOSING = "closing"
    """The recorder is about to end."""
    GONE = "gone"
    """The client does not go on."""
    FAILED = "failed"
    """The recording broke."""


class RecorderError(DatapathError):
    """A recording cannot begin, or broke.

    Attributes:
        refusal: What kind of failure it is.
    """

    def __init__(self, message: str, refusal: Refusal = Refusal.INVALID) -> None:
        """Keep the kind beside the message."""
        super().__init__(message)
        self.refusal = refusal
