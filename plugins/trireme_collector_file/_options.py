"""The options of the file collector."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

import msgspec

from trireme_collector import option_addresses  # noqa: TC001  msgspec reads the annotations
from trireme_collector.option_formats import format_option

__all__ = ["FileOptions", "Fsync"]


class Fsync(enum.StrEnum):
    """When the file is forced to the disk."""

    NEVER = "never"
    INTERVAL = "interval"
    ALWAYS = "always"


class FileOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the collector ``file``.

    Attributes:
        path: The file, not a link to it. Its directory must exist.
        format: ``json`` for records as they are; ``hubble`` for flows only, as lines that
            ``hubble observe --input-file`` reads; ``netobserv`` for flows only, as flow logs: one
            for each direction that was counted. Other records are then left out. Or the name of
            a format that a plugin offers.
        agent_ip: The address of this host, for ``AgentIP`` in flow logs.
        mode: The permissions of files that are created; existing ones keep theirs.
        rotate_bytes: The size at which a new file is begun; 0 for no limit.
        rotate_seconds: The length of the periods, counted from midnight UTC, of which each gets
            a file of its own; 0 for none.
        rotate_records: The number of records at which a new file is begun; 0 for no limit.
        keep: How many rotated files stay, besides the one that is written; 0 for all.
        compression: Whether rotated files are compressed, which happens in the background.
        fsync: ``never`` leaves it to the kernel; ``interval`` forces the file to the disk every
            `fsync_interval_seconds`; ``always`` does so before a batch counts as delivered.
        fsync_interval_seconds: The time for ``interval``; a second at most passes in addition.
    """

    path: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[^\x00-\x1f\x7f]{1,4095}$(?!\n)",
            extra={"expected": "the path of a file, without control characters"},
        ),
    ]
    format: Annotated[str, format_option("json", "hubble", "netobserv")] = "json"
    agent_ip: option_addresses.IpAddress = ""
    mode: Literal["0600", "0640"] = "0600"
    rotate_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    rotate_seconds: Annotated[int, msgspec.Meta(ge=0)] = 0
    rotate_records: Annotated[int, msgspec.Meta(ge=0)] = 0
    keep: Annotated[int, msgspec.Meta(ge=0)] = 10
    compression: Literal["none", "gzip"] = "none"
    fsync: Fsync = Fsync.INTERVAL
    fsync_interval_seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 1.0

    def __post_init__(self) -> None:
        """Refuse what would do nothing.

        Raises:
            ValueError: Files are to be compressed, and none is rotated, or there are no flow
                logs for an address to stand in.
        """
        rotates = self.rotate_bytes or self.rotate_seconds or self.rotate_records
        if self.compression != "none" and not rotates:
            msg = "rotate_bytes, rotate_seconds or rotate_records beside compression"
            raise ValueError(msg)
        if self.agent_ip and self.format != "netobserv":
            raise ValueError("format = netobserv beside agent_ip")
