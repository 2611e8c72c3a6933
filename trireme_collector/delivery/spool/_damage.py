"""Keeping damaged parts aside, where somebody can look at them later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.delivery.spool._files import Files

if TYPE_CHECKING:
    from trireme_collector.delivery.spool._segment import Segment

__all__ = ["DAMAGED_DIRECTORY", "DamageKeeper"]

DAMAGED_DIRECTORY = "damaged"
_PORTION = 1024 * 1024


class DamageKeeper:
    """Copies ranges of segments into a directory of their own.

    Args:
        files: The directory of the spool.
        max_bytes: How much may be kept.
    """

    def __init__(self, files: Files, max_bytes: int) -> None:
        """Look for nothing yet."""
        self._spool = files
        self._files = Files(files.storage, files.path(DAMAGED_DIRECTORY))
        self._max_bytes = max_bytes
        self._kept: dict[str, int] | None = None
        self._seen: set[tuple[str, int]] = set()

    def keep(self, segment: Segment, begin: int, end: int) -> bool | None:
        """Copy a range aside.

        Returns:
            True when the copy is there, False when it could not be made, None when this range
            was seen before.
        """
        key = (segment.name, begin)
        name = f"{segment.name}-{begin:08x}"
        if key in self._seen:
            return None
        self._seen.add(key)
        try:
            kept = self._load()
            if name in kept:
                return None
            if sum(kept.values()) + end - begin > self._max_bytes:
                return False
            self._copy(segment, begin, end, name)
        except OSError:
            return False
        kept[name] = end - begin
        return True

    def _load(self) -> dict[str, int]:
        if self._kept is None:
            try:
                names = self._files.names()
            except FileNotFoundError:
                self._spool.make_directory(DAMAGED_DIRECTORY)
                names = []
            self._kept = {
                name: self._files.size(name) for name in names if not name.endswith(".part")
            }
        return self._kept

    def _copy(self, segment: Segment, begin: int, end: int, name: str) -> None:
        part = f"{name}.part"
        self._files.unlink(part)
        source = self._spool.open_read(segment.name)
        try:
            target = self._files.open_write(part, create=True)
            try:
                for offset in range(begin, end, _PORTION):
                    data = self._spool.read(source, min(_PORTION, end - offset), offset)
                    self._files.write(target, data, offset - begin)
            finally:
                self._files.close(target)
        finally:
            self._spool.close(source)
        self._files.put_in_place(part, name)
