"""What the kernel counts about its packet queues, and who holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct

__all__ = [
    "KERNEL_QUEUES",
    "QueueStatistics",
    "holder_of",
    "parse_statistics",
    "read_statistics",
]

# The view of the calling thread: another thread may live in another network namespace.
_NET: Final = Path("/proc/thread-self/net")
KERNEL_QUEUES: Final = _NET / "netfilter" / "nfnetlink_queue"
"""The kernel's table of queues; readable by root only."""

_NETLINK_SOCKETS: Final = _NET / "netlink"
_COLUMNS = 8


class QueueStatistics(Struct, frozen=True, kw_only=True, gc=False):
    """One line of the kernel's table of queues.

    Attributes:
        queue_number: The queue.
        port_id: The netlink port of the socket that holds it; often its process id.
        waiting: Packets that wait for a verdict now.
        copy_mode: 0 nothing, 1 metadata, 2 packet bytes.
        copy_range: How many bytes of a packet are copied.
        dropped: Packets dropped because the queue was full (modulo 2**32).
        user_dropped: Packets dropped because the socket's buffer was full (modulo 2**32).
        last_packet_id: The id that was given last.
    """

    queue_number: int
    port_id: int
    waiting: int
    copy_mode: int
    copy_range: int
    dropped: int
    user_dropped: int
    last_packet_id: int


def parse_statistics(text: str) -> dict[int, QueueStatistics]:
    """Read the kernel's table of queues; a line of another form is left out."""
    queues = {}
    for line in text.splitlines():
        fields = line.split()
        # Plain ASCII digits only: `int` alone would take signs, underscores and other scripts.
        if len(fields) < _COLUMNS or not all(f.isascii() and f.isdigit() for f in fields[:8]):
            continue
        number, port_id, waiting, mode, copied, dropped, user_dropped, last = map(int, fields[:8])
        queues[number] = QueueStatistics(
            queue_number=number,
            port_id=port_id,
            waiting=waiting,
            copy_mode=mode,
            copy_range=copied,
            dropped=dropped,
            user_dropped=user_dropped,
            last_packet_id=last,
        )
    return queues


def read_statistics(path: Path = KERNEL_QUEUES) -> dict[int, QueueStatistics]:
    """Read the kernel's table of queues; empty where it can not be read."""
    try:
        return parse_statistics(path.read_text(encoding="ascii", errors="replace"))
    except OSError:
        return {}


def _socket_inode(port_id: int) -> str | None:
    try:
        lines = _NETLINK_SOCKETS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines[1:]:
        fields = line.split()  # sk, protocol, port id, ..., inode
        if len(fields) >= 10 and fields[1] == "12" and fields[2] == str(port_id):
            return fields[9]
    return None


def _process_with(inode: str) -> int | None:
    wanted = f"socket:[{inode}]"
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) == wanted:
                    return int(process.name)
        except OSError:
            continue  # it ended, or is somebody else's
    return None


def holder_of(port_id: int) -> str:
    """Describe the holder of a netlink port: the process, or at least the port."""
    inode = _socket_inode(port_id)
    process = _process_with(inode) if inode else None
    if process is None:
        return f"the netlink port {port_id}"
    try:
        name = Path(f"/proc/{process}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return f"process {process}"
    return f"process {process} ({name})"
