"""Conversation records as lines that are safe before anything is acknowledged."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import TYPE_CHECKING

from trireme_collector.cli._output_file import STANDARD_OUTPUT, OutputError
from trireme_collector.formats.json_lines import printable_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["LineSink"]

_READ_BYTES = 65_536


class LineSink:
    """Appends lines to a file, or writes them to standard output.

    What is in a file counts once the disk has it; what was written to a pipe counts as taken.

    Args:
        path: The file; ``-`` for standard output.
        with_places: Whether each record says which one it is, in a field ``_Place``.
    """

    def __init__(self, path: str, *, with_places: bool = False) -> None:
        """Open it; half a line at the end of a file was never acknowledged and is removed.

        Raises:
            OutputError: It cannot be written.
        """
        self._path = path
        self._with_places = with_places
        self._shows = False
        if path == STANDARD_OUTPUT:
            sys.stdout.flush()
            self._number, self._is_file = sys.stdout.fileno(), False
            self._shows = sys.stdout.isatty()
            return
        with self._explained():
            self._number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            self._is_file = stat.S_ISREG(os.fstat(self._number).st_mode)
            if self._is_file:
                _mend(self._number)

    @property
    def backlog(self) -> int:
        """How many lines were not acknowledged yet: none waits here."""
        return 0

    def write(self, lines: Sequence[bytes], places: Sequence[str]) -> None:
        """Write lines; see `RecordSink`."""
        if self._with_places:
            lines = [
                b'%b,"_Place":"%b"}' % (line[:-1], place.encode())
                for line, place in zip(lines, places, strict=True)
            ]
        if self._shows:
            lines = [printable_json(line) for line in lines]
        text = memoryview(b"\n".join([*lines, b""]))
        with self._explained():
            while text:
                text = text[os.write(self._number, text) :]

    def settle(self, seconds: float) -> bool:
        """Bring everything to the disk; see `RecordSink`."""
        del seconds
        if self._is_file:
            with self._explained():
                os.fdatasync(self._number)
        return True

    def close(self) -> None:
        """Close the file."""
        if self._path != STANDARD_OUTPUT:
            os.close(self._number)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            msg = (
                f"{self._path!r} cannot be written: {error.strerror}; check the path, its rights"
                " and the disk"
            )
            raise OutputError(msg) from error


def _mend(number: int) -> None:
    """Remove what stands after the last line end."""
    end = size = os.fstat(number).st_size
    while end:
        start = max(0, end - _READ_BYTES)
        found = os.pread(number, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(number, end)
