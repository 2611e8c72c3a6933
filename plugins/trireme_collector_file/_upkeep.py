"""What is done to rotated files: the oldest go, the others are compressed."""

from __future__ import annotations

import errno
import os
import stat
import zlib
from functools import partial
from typing import TYPE_CHECKING

from trireme_collector_file._disk import directory
from trireme_collector_file._rotation import (
    COMPRESSED,
    find_generations,
    partial_name,
    partial_names,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    from trireme_collector_file._disk import Disk
    from trireme_collector_file._rotation import Generation

    ItemT = TypeVar("ItemT")

__all__ = ["StoppedError", "Upkeep"]

_CHUNK_BYTES = 1 << 18  # a stop waits for as much at most
_LEVEL = 6
_GZIP = 31  # the window of 32 KiB, with the header and the trailer of a file
_NO_FILE = {errno.ENOENT, errno.ELOOP, errno.ENXIO}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class StoppedError(Exception):
    """It was told to stop; the next run goes on."""


class Upkeep:
    """Removes and compresses the rotated files of one path.

    At any moment each record is in a whole file. A compressed file gets its name when it is on
    the disk, and only then the plain one goes; whoever is killed between the two is cleaned up
    after by the next run.

    Args:
        path: The file that is rotated.
        disk: Where it is.
        keep: How many rotated files stay; 0 for all.
        compresses: Whether those that stay are compressed.
    """

    def __init__(self, path: Path, disk: Disk, *, keep: int, compresses: bool) -> None:
        """Touch nothing yet."""
        self._path = path
        self._disk = disk
        self._keep = keep
        self._compresses = compresses

    def run(self, is_stopped: Callable[[], bool]) -> None:
        """Do what is to be done.

        Args:
            is_stopped: Asked again and again; when it says yes, nothing more is begun.

        Raises:
            OSError: Something of it failed; the rest was done.
            StoppedError: It was stopped.
        """
        disk, base = self._disk, self._path.name
        names = disk.names(str(self._path.parent))
        failures: list[OSError] = []
        for name in partial_names(base, names):
            _attempt(failures, self._remove, name)
        generations = find_generations(base, names)
        gone = generations[: -self._keep] if self._keep else []
        for generation in gone:
            _attempt(failures, self._drop, generation)
        for generation in generations[len(gone) :]:
            if generation.plain and (self._compresses or generation.compressed):
                _attempt(failures, partial(self._compress, is_stopped), generation)
            if failures and failures[-1].errno in _FULL:
                break  # what is left of the disk is for records
        if failures:
            raise failures[0]

    def _place(self, name: str) -> str:
        return str(self._path.with_name(name))

    def _remove(self, name: str) -> None:
        try:
            self._disk.unlink(self._place(name))
        except FileNotFoundError:
            return

    def _drop(self, generation: Generation) -> None:
        if generation.plain:
            self._remove(generation.name)
        if generation.compressed:
            self._remove(generation.name + COMPRESSED)

    def _compress(self, is_stopped: Callable[[], bool], generation: Generation) -> None:
        disk = self._disk
        try:
            source = disk.open(self._place(generation.name), _READ, 0)
        except OSError as error:
            if error.errno in _NO_FILE:
                return  # somebody has taken it away, or put something else in its place
            raise
        try:
            status = disk.describe(source)
            if not stat.S_ISREG(status.st_mode):
                return
            if generation.compressed:
                # Left by a kill, or by somebody who compresses them, too: that may not be whole.
                if not self._is_same(source, generation.name + COMPRESSED, is_stopped):
                    return
            else:
                self._write(source, status, generation, is_stopped)
        finally:
            disk.close(source)
        with directory(self._disk, self._path.parent) as names:
            self._disk.sync(names)
        self._remove(generation.name)

    def _write(
        self,
        source: int,
        status: os.stat_result,
        generation: Generation,
        is_stopped: Callable[[], bool],
    ) -> None:
        disk, unfinished = self._disk, self._place(partial_name(generation))
        target = disk.open(unfinished, _CREATE, 0o600)
        try:
            try:
                self._pump(source, target, is_stopped)
                self._dress(target, status)
                disk.sync(target)
            finally:
                disk.close(target)
            disk.rename(unfinished, self._place(generation.name + COMPRESSED))
        except (OSError, StoppedError):
            self._clean(unfinished)
            raise

    def _clean(self, unfinished: str) -> None:
        try:
            self._disk.unlink(unfinished)
        except OSError:
            return  # the next run finds it

    def _pump(self, source: int, target: int, is_stopped: Callable[[], bool]) -> None:
        squeeze = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        offset = 0
        while data := self._disk.read_at(source, _CHUNK_BYTES, offset):
            if is_stopped():
                raise StoppedError
            offset += len(data)
            self._write_all(target, squeeze.compress(data))
        self._write_all(target, squeeze.flush())

    def _write_all(self, target: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = self._disk.write(target, view)
            if not count:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            view = view[count:]

    def _dress(self, target: int, status: os.stat_result) -> None:
        """Give the compressed file what the plain one had: `find -mtime` goes on to work."""
        try:
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                self._disk.set_owner(target, status.st_uid, status.st_gid)
        except PermissionError:
            # Only root may give files away; then nobody but us gets any right.
            self._disk.set_mode(target, status.st_mode & 0o700)
        else:
            self._disk.set_mode(target, stat.S_IMODE(status.st_mode) & 0o777)
        self._disk.set_modified(target, status.st_mtime_ns)

    def _is_same(self, source: int, compressed: str, is_stopped: Callable[[], bool]) -> bool:
        """Whether a compressed file is whole and holds what the plain one does."""
        disk = self._disk
        descriptor = disk.open(self._place(compressed), _READ, 0)
        try:
            swell = zlib.decompressobj(_GZIP)
            offset = place = 0
            while data := disk.read_at(descriptor, _CHUNK_BYTES, offset):
                offset += len(data)
                text = b" " * _CHUNK_BYTES
                # A full piece may have left some in the decoder, although it has eaten all.
                while data or len(text) == _CHUNK_BYTES:
                    if is_stopped():
                        raise StoppedError
                    text = swell.decompress(data, _CHUNK_BYTES)
                    if text != disk.read_at(source, len(text), place):
                        return False
                    place += len(text)
                    data = swell.unconsumed_tail
            return swell.eof and place == disk.describe(source).st_size
        except zlib.error:
            return False
        finally:
            disk.close(descriptor)


def _attempt(failures: list[OSError], work: Callable[[ItemT], None], item: ItemT) -> None:
    """Do something; one file that cannot be handled is no reason to leave the others."""
    try:
        work(item)
    except OSError as error:
        failures.append(error)
