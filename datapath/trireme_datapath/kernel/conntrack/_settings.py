"""What the kernel has to be told before it counts: three settings of the network namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["WANTED_SETTINGS", "enable_accounting"]

_DIRECTORY: Final = Path("/proc/sys/net/netfilter")
WANTED_SETTINGS: Final = {
    "nf_conntrack_acct": ("packets and bytes are not counted", {"1"}, "1"),
    "nf_conntrack_timestamp": ("start and end are not known", {"1"}, "1"),
    "nf_conntrack_events": ("the end of a connection is not told", {"1", "2"}, "2"),
}
"""By setting: what is missing without it, the values that do, and the value to write."""


def enable_accounting(directory: Path = _DIRECTORY) -> list[str]:
    """Let the kernel count in the network namespace of the calling thread.

    It counts connections that begin afterwards. What already is as it should be is not written.

    Returns:
        One sentence for each setting that could not be made.
    """
    problems = []
    for name, (missing, good, value) in WANTED_SETTINGS.items():
        path = directory / name
        try:
            if path.read_text(encoding="ascii").strip() in good:
                continue
            path.write_text(f"{value}\n", encoding="ascii")
        except OSError as error:
            reason = error.strerror or str(error)
            problems.append(f"{missing}: cannot set net.netfilter.{name} to {value}: {reason}")
    return problems
