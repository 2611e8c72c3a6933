"""The section ``[processes]``: how an agent divides its work."""

from __future__ import annotations

import enum
from typing import Annotated, Final

from msgspec import Meta, Struct

__all__ = ["MAX_WORKERS", "ProcessLayout", "ProcessesConfig"]

MAX_WORKERS: Final = 64
"""More than a host needs: a worker keeps a core busy from some 200,000 packets a second on."""


class ProcessLayout(enum.StrEnum):
    """Which processes an agent has."""

    TREE = "tree"
    """A supervisor, enforcers that judge packets, and one process for the collectors."""
    SINGLE = "single"
    """One process that does everything."""


class ProcessesConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which processes an agent has.

    Attributes:
        layout: ``tree`` keeps the packets of a process that dies, and judges beside busy
            collectors; ``single`` needs less memory. The backend ``nfqueue`` is always single.
        workers: How many processes judge packets; each has a queue of its own, from the number
            ``queue`` of the datapath on, and a connection stays with one of them.
        user: The user that everything runs as once the queues are open, if it is started by root.
            Outputs, the state directory and the policy must be readable, or writable, for it.
        record_buffer_bytes: Room for records, for each worker, while the process of the
            collectors is away; what does not fit is dropped and counted.
    """

    layout: ProcessLayout = ProcessLayout.TREE
    workers: Annotated[int, Meta(ge=1, le=MAX_WORKERS)] = 1
    user: Annotated[str, Meta(max_length=64)] = ""
    record_buffer_bytes: Annotated[int, Meta(ge=262_144, le=1_073_741_824)] = 33_554_432
