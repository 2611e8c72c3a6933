"""Lines out of files and pipes, a batch at a time, with bounded memory."""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from trireme_collector.errors import TriremeError
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["STANDARD_INPUT", "InputError", "LineSource"]

STANDARD_INPUT = "-"
_READ_BYTES = 262_144


class InputError(TriremeError):
    """An input cannot be read."""

    exit_code = ExitCode.INPUT


class LineSource:
    """Reads inputs one after another.

    Attributes:
        bytes_read: How much was read.
        total_bytes: How much there is; None if one of the inputs is no file.
        too_long: How many lines were longer than allowed; they are passed over.
    """

    def __init__(self, paths: Sequence[str], *, max_line_bytes: int) -> None:
        """Look at the inputs; open none.

        Args:
            paths: Files, or ``-`` for standard input.
            max_line_bytes: What is longer is no line.

        Raises:
            InputError: One of them does not exist.
        """
        self.bytes_read = 0
        self.too_long = 0
        self._paths = tuple(paths)
        self._max_line_bytes = max_line_bytes
        self.total_bytes = self._measure()

    def batches(self, wait_seconds: float | None = None) -> Iterator[list[bytes]]:
        """Give the lines, as many as one read brought, without line ends.

        Args:
            wait_seconds: Give an empty batch whenever nothing came for so long; None to wait.

        Raises:
            InputError: An input cannot be read.
        """
        for path in self._paths:
            try:
                yield from self._batches_of(path, wait_seconds)
            except OSError as error:
                raise _unreadable(path, error) from error

    def _batches_of(self, path: str, wait_seconds: float | None) -> Iterator[list[bytes]]:
        is_input = path == STANDARD_INPUT
        number = 0 if is_input else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            waits = wait_seconds is not None and not stat.S_ISREG(os.fstat(number).st_mode)
            rest, skipping = b"", False
            while True:
                if waits and not select.select([number], [], [], wait_seconds)[0]:
                    yield []
                    continue
                chunk = os.read(number, _READ_BYTES)
                if not chunk:
                    break
                self.bytes_read += len(chunk)
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()
                if skipping and lines:
                    del lines[0]  # the end of a line that was too long
                    skipping = False
                if skipping or len(rest) > self._max_line_bytes:
                    self.too_long += not skipping
                    rest, skipping = b"", True
                if lines:
                    yield lines
            if rest:
                yield [rest]
        finally:
            if not is_input:
                os.close(number)

    def _measure(self) -> int | None:
        total = 0
        for path in self._paths:
            try:
                state = os.fstat(0) if path == STANDARD_INPUT else Path(path).stat()
            except OSError as error:
                raise _unreadable(path, error) from error
            if not stat.S_ISREG(state.st_mode):
                return None
            total += state.st_size
        return total


def _unreadable(path: str, error: OSError) -> InputError:
    name = "standard input" if path == STANDARD_INPUT else repr(path)
    return InputError(f"{name} cannot be read: {error.strerror}; check the path and its rights")
