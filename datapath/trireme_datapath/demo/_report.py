"""What a demo showed, for scripts."""

from __future__ import annotations

import msgspec

from trireme_collector.records import Record  # noqa: TC001  msgspec reads the annotation at run time
from trireme_datapath.demo._attempts import Result  # noqa: TC001  as above

__all__ = ["DemoReport"]


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a demo showed.

    Attributes:
        mode: ``live`` with real packets, ``replay`` with the capture.
        missing: What the machine lacks for real packets, empty when they were real.
        backend: Where packets came from.
        policy: The policy file.
        attempts: What the clients tried, and what they saw; empty for a capture.
        records: The records in the order in which they arrived.
        packets_judged: Packets that were judged.
        kernel_dropped: Packets that the kernel dropped because they could not be queued.
        file_lines: What landed in the file.
        syslog_messages: What arrived at the syslog socket.
    """

    mode: str
    missing: tuple[str, ...]
    backend: str
    policy: str
    attempts: tuple[Result, ...] = ()
    records: tuple[Record, ...] = ()
    packets_judged: int = 0
    kernel_dropped: int = 0
    file_lines: tuple[str, ...] = ()
    syslog_messages: tuple[str, ...] = ()

    @property
    def as_expected(self) -> bool:
        """Whether every client saw what the policy says, and every record arrived everywhere."""
        count = len(self.records)
        return (
            all(result.as_expected for result in self.attempts)
            and count >= max(1, len(self.attempts))
            and len(self.file_lines) == len(self.syslog_messages) == count
        )
