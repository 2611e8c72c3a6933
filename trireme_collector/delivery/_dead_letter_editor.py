"""The file of dead letters, seen by who decides about them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

import msgspec

from trireme_collector.delivery.dead_letters import (
    DONE,
    FILE_MODE,
    DeadLetter,
    decode_letter,
    locked_directory,
)
from trireme_collector.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO, Self

__all__ = ["DeadLetterEditor", "StoredLetter", "read_letters"]


class StoredLetter(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A dead letter and where it stands.

    Attributes:
        offset: Where its line begins.
        letter: What the line says, None when it is damaged.
    """

    offset: int
    letter: DeadLetter | None


def read_letters(path: Path) -> Iterator[StoredLetter]:
    """Read the letters of a file that are not done with; a torn last line is none.

    Raises:
        OSError: It cannot be read; a file that is not there is empty.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "rb") as file:
        yield from _read(file)


class DeadLetterEditor:
    """Removes letters from a file, alone among all editors, while the program may append.

    What was removed is marked in place and is gone for every reader from then on. Leaving the
    context gives the space back. A crash at any point costs nothing but that space.

    Args:
        path: The file.

    Raises:
        DeliveryError: Another editor is at work.
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        """Open and lock the file."""
        self._path = path
        while True:
            self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                opened = os.fstat(self._descriptor)
                named = path.stat()
            except BlockingIOError as error:
                os.close(self._descriptor)
                msg = f"dead letters {path}: another command changes them; wait until it is done"
                raise DeliveryError(msg) from error
            except BaseException:
                os.close(self._descriptor)
                raise
            if (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino):
                return
            os.close(self._descriptor)  # another editor has just replaced it

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the space of removed letters back, and let others in."""
        try:
            self._compact()
        finally:
            os.close(self._descriptor)

    def read(self) -> Iterator[StoredLetter]:
        """Give the letters that are there now, without those that are added meanwhile."""
        size = os.fstat(self._descriptor).st_size
        with self._whole_file() as file:
            for stored in _read(file):
                if stored.offset >= size:
                    return
                yield stored

    def remove(self, offsets: Iterable[int]) -> None:
        """Remove letters; return when that is on the disk."""
        with locked_directory(self._path.parent):
            for offset in offsets:
                os.pwrite(self._descriptor, DONE, offset)
            os.fsync(self._descriptor)

    def clear(self) -> None:
        """Remove everything, damaged lines too."""
        with locked_directory(self._path.parent):
            os.ftruncate(self._descriptor, 0)
            os.fsync(self._descriptor)

    def _whole_file(self) -> BinaryIO:
        file = os.fdopen(os.dup(self._descriptor), "rb")
        file.seek(0)
        return file

    def _compact(self) -> None:
        with locked_directory(self._path.parent) as directory:
            status = os.fstat(self._descriptor)
            with self._whole_file() as file:
                done = kept = 0
                for line in file:
                    if line.startswith(DONE):
                        done += 1
                    else:
                        kept += 1
                if not kept:
                    self._path.unlink()
                elif done:
                    file.seek(0)
                    self._replace(file, status)
                else:
                    return
            os.fsync(directory)

    def _replace(self, lines: Iterable[bytes], status: os.stat_result) -> None:
        new = self._path.with_name(f".{self._path.name}.new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        with open(descriptor, "wb") as file:  # noqa: PTH123  it is a descriptor
            if os.geteuid() == 0:
                # Otherwise the program, which is not root, could no longer write to it.
                os.fchown(descriptor, status.st_uid, status.st_gid)
            file.writelines(line for line in lines if not line.startswith(DONE))
            file.flush()
            os.fsync(descriptor)
        new.rename(self._path)


def _read(file: Iterable[bytes]) -> Iterator[StoredLetter]:
    offset = 0
    for line in file:
        if line.endswith(b"\n") and not line.startswith(DONE):
            letter = None
            with contextlib.suppress(msgspec.DecodeError):
                letter = decode_letter(line)
            yield StoredLetter(offset=offset, letter=letter)
        offset += len(line)
