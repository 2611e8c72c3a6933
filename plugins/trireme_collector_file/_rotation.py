"""Names of rotated files, and which of them may go."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["period_of", "prune", "rotate"]

_NANOSECONDS = 1_000_000_000
_STAMP = re.compile(r"\.(\d{8}T\d{6}Z)(?:\.(\d+))?")


def period_of(seconds: int, length_seconds: int) -> int:
    """Number the period that a time falls into, counted from 1970 UTC; 0 if there are none."""
    return seconds // length_seconds if length_seconds else 0


def rotate(path: Path, now_ns: int) -> Path:
    """Move a file aside, to its name and the time: ``flows.jsonl.20260102T030405Z``.

    Two moves within a second get a number each; nothing is overwritten.

    Returns:
        The new path.

    Raises:
        OSError: It could not be moved.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_ns // _NANOSECONDS))
    # After the highest number, not the first free one: the oldest may have been removed.
    numbers = [number for other, number, _ in _rotated(path) if other == stamp]
    suffix = f".{max(numbers) + 1}" if numbers else ""
    target = path.with_name(f"{path.name}.{stamp}{suffix}")
    path.rename(target)
    return target


def prune(path: Path, keep: int) -> None:
    """Remove the oldest rotated files of a path but the given number; 0 keeps all."""
    if not keep:
        return
    for _, _, other in sorted(_rotated(path))[:-keep]:
        other.unlink(missing_ok=True)


def _rotated(path: Path) -> Iterator[tuple[str, int, Path]]:
    """Find the rotated files of a path, with time and number."""
    for other in path.parent.iterdir():
        if other.name.startswith(path.name):
            match = _STAMP.fullmatch(other.name[len(path.name) :])
            if match:
                yield match[1], int(match[2] or 0), other
