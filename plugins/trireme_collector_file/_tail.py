"""What stands behind the last line end of a file, and whether that is a torn line of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from trireme_collector_file._disk import Disk

__all__ = ["Tail", "find_tail"]

_STEP_BYTES = 1 << 16
_LONGEST_BYTES = 1 << 24  # no record is nearly so long: it is no line of ours
# Of each format.
_BEGINNINGS = (b'{"type":', b'{"flow":')


class Tail(NamedTuple):
    """The end of a file that has no line end.

    Attributes:
        size: How long it is, in bytes; 0 for a file of whole lines.
        is_torn: Whether it is the beginning of a record, or space that was never written to.
            Otherwise it is a whole record, or nothing of ours.
    """

    size: int
    is_torn: bool


def find_tail(disk: Disk, descriptor: int, size: int) -> Tail:
    """Look at the end of a file of the given size.

    Raises:
        OSError: It cannot be read.
    """
    parts: list[bytes] = []
    start = size
    while start and size - start < _LONGEST_BYTES:
        step = min(_STEP_BYTES, start)
        start -= step
        parts.append(_read(disk, descriptor, step, start))
        if b"\n" in parts[-1]:
            break
    data = b"".join(reversed(parts))
    _, end, rest = data.rpartition(b"\n")
    if not end and start:
        return Tail(len(data), is_torn=False)
    return Tail(len(rest), is_torn=_is_torn(rest))


def _read(disk: Disk, descriptor: int, size: int, offset: int) -> bytes:
    """Read all of a place: a short read would make a hole."""
    data = b""
    while len(data) < size:
        more = disk.read_at(descriptor, size - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _is_torn(rest: bytes) -> bool:
    # After a loss of power a file can be longer than what was written to it.
    written = rest.rstrip(b"\0")
    if not written.startswith(_BEGINNINGS) and not any(
        beginning.startswith(written) for beginning in _BEGINNINGS
    ):
        return False
    try:
        msgspec.json.decode(rest)
    except (msgspec.DecodeError, RecursionError):
        return True
    return False
