"""Names of rotated files."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from trireme_collector_file._disk import Disk

__all__ = [
    "COMPRESSED",
    "Generation",
    "find_generations",
    "partial_name",
    "partial_names",
    "period_of",
    "rotate",
]

COMPRESSED = ".gz"
_NANOSECONDS = 1_000_000_000
_STAMP = re.compile(r"\.(\d{8}T\d{6}Z)(?:\.(\d{1,9}))?(\.gz)?", re.ASCII)


class Generation(NamedTuple):
    """A rotated file; generations sort by age, the oldest first.

    Attributes:
        stamp: When it was rotated.
        number: Tells apart those of one second.
        name: The name of the file, without the ending of a compressed one.
        plain: Whether there is a file of this name.
        compressed: Whether there is one with the ending of a compressed one.
    """

    stamp: str
    number: int
    name: str
    plain: bool
    compressed: bool


def period_of(seconds: int, length_seconds: int) -> int:
    """Number the period that a time falls into, counted from 1970 UTC; 0 if there are none."""
    return seconds // length_seconds if length_seconds else 0


def rotate(disk: Disk, path: Path, now_ns: int) -> None:
    """Move a file aside, to its name and the time: ``flows.jsonl.20260102T030405Z``.

    Two moves within a second get a number each; nothing is overwritten.

    Raises:
        OSError: It could not be moved.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_ns // _NANOSECONDS))
    # After the highest number, not the first free one: the oldest may have been removed.
    generations = find_generations(path.name, disk.names(str(path.parent)))
    numbers = [generation.number for generation in generations if generation.stamp == stamp]
    suffix = f".{max(numbers) + 1}" if numbers else ""
    disk.rename(str(path), str(path.with_name(f"{path.name}.{stamp}{suffix}")))


def find_generations(base: str, names: Iterable[str]) -> list[Generation]:
    """Find the rotated files of a file among the names in its directory, the oldest first."""
    found: dict[str, Generation] = {}
    for name in names:
        match = _STAMP.fullmatch(name, len(base)) if name.startswith(base) else None
        if match is None:
            continue
        plain_name = name.removesuffix(COMPRESSED)
        before = found.get(plain_name)
        found[plain_name] = Generation(
            stamp=match[1],
            number=int(match[2] or 0),
            name=plain_name,
            plain=match[3] is None or (before is not None and before.plain),
            compressed=match[3] is not None or (before is not None and before.compressed),
        )
    return sorted(found.values())


def partial_name(generation: Generation) -> str:
    """Name the file that becomes the compressed one; hidden from ``flows.jsonl*``."""
    return f".{generation.name}{COMPRESSED}.partial"


def partial_names(base: str, names: Iterable[str]) -> Iterator[str]:
    """Find what a compression that did not end has left."""
    for name in names:
        inner = name.removeprefix(".").removesuffix(".partial")
        if name == f".{inner}.partial" and inner.startswith(base):
            match = _STAMP.fullmatch(inner, len(base))
            if match is not None and match[3]:
                yield name
