"""What every source gives: payloads, and errors in place of payloads."""

from __future__ import annotations

import enum
from typing import Final, TypeAlias

from msgspec import Struct

from trireme_datapath.monitor.gob import Basic, Field, GobSchema, StructType

__all__ = [
    "MAX_MESSAGE_BYTES",
    "PAYLOAD_SCHEMA",
    "Event",
    "Payload",
    "PayloadType",
    "SourceError",
    "SourceFault",
]

MAX_MESSAGE_BYTES: Final = 1 << 20
"""The longest message that is taken: samples of the datapath have at most 64 KiB, and the text of
an agent's event is as long as the labels of an endpoint."""


class PayloadType(enum.IntEnum):
    """What a payload is; the numbers are those of the kernel's ring buffer."""

    LOST = 2
    SAMPLE = 9


class Payload(Struct, frozen=True, kw_only=True, gc=False):
    """One event of the monitor protocol.

    Attributes:
        data: The message, its type in the first byte.
        cpu: The processor that it comes from.
        lost: How many messages were lost instead.
        type: A number of `PayloadType`; others are possible.
    """

    data: bytes = b""
    cpu: int = 0
    lost: int = 0
    type: int = PayloadType.SAMPLE


PAYLOAD_SCHEMA: Final = GobSchema(
    {
        65: StructType(
            "Payload",
            (
                Field("Data", Basic.BYTES),
                Field("CPU", Basic.INT),
                Field("Lost", Basic.UINT),
                Field("Type", Basic.INT),
            ),
        )
    },
    root=65,
)
"""How a payload is written."""


class SourceFault(enum.StrEnum):
    """What can go wrong with a source.

    After ``DAMAGED`` the next message is read as if nothing had been; after all others the source
    begins anew, with another connection if it is a socket, or is at its end if it is a file.
    """

    DAMAGED = "damaged"
    UNREADABLE = "unreadable"
    CUT = "cut"
    STALLED = "stalled"
    CLOSED = "closed"
    UNREACHABLE = "unreachable"


class SourceError(Struct, frozen=True, kw_only=True, gc=False):
    """Something that stands where a payload should have been.

    Attributes:
        fault: What it is.
        message: What happened, on what, and what comes of it.
    """

    fault: SourceFault
    message: str


Event: TypeAlias = Payload | SourceError
"""What a source gives."""
