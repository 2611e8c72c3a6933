"""Messages of a file or of standard input."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final, cast

from trireme_collector.errors import DatapathError
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.monitor.sources._forms import InputForm, decoder_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedIOBase
    from typing import Self

    from trireme_datapath.monitor.sources._payload import Event

__all__ = ["STANDARD_INPUT", "FileSource", "InputError"]

STANDARD_INPUT: Final = "-"
_PIECE_BYTES: Final = 1 << 16
_PAUSE_SECONDS: Final = 0.25


class InputError(DatapathError):
    """An input cannot be opened or read."""

    exit_code = ExitCode.INPUT


class FileSource:
    """Reads the messages of a file from its start.

    Args:
        path: The file, or `STANDARD_INPUT`.
        form: How the messages stand in it.
        follow: Wait for more at the end, as ``tail -F`` does: a file that was replaced or made
            shorter is read anew.
        keep_previous: See `SessionDecoder`.
        pause: Waits that many seconds.
    """

    def __init__(
        self,
        path: str,
        *,
        form: InputForm = InputForm.AUTO,
        follow: bool = False,
        keep_previous: bool = False,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Keep what to read; nothing is opened."""
        self._path = path
        self._form = form
        self._follow = follow and path != STANDARD_INPUT
        self._keep_previous = keep_previous
        self._pause = pause
        self._descriptor = -1

    def open(self) -> Self:
        """Open the file.

        Raises:
            InputError: It cannot be opened.
        """
        if self._path == STANDARD_INPUT:
            return self
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            msg = f"{self._path} cannot be opened: {reason}; give a file of messages, or -"
            raise InputError(msg) from error
        return self

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def events(self) -> Iterator[list[Event]]:
        """Give the events of each piece that was read.

        Raises:
            InputError: The file cannot be read any more.
        """
        decoder = decoder_for(self._form, keep_previous=self._keep_previous)
        while True:
            data = self._read()
            if data:
                yield decoder.receive(data)
            elif not self._follow:
                yield decoder.end()
                return
            elif self._begins_anew():
                yield decoder.end()
                self.close()
                self.open()
                decoder = decoder_for(self._form, keep_previous=self._keep_previous)
            else:
                self._pause(_PAUSE_SECONDS)

    def _read(self) -> bytes:
        try:
            if self._path == STANDARD_INPUT:
                return cast("BufferedIOBase", sys.stdin.buffer).read1(_PIECE_BYTES)
            return os.read(self._descriptor, _PIECE_BYTES)
        except OSError as error:
            msg = f"{self._path} cannot be read: {error.strerror}; give a file of messages, or -"
            raise InputError(msg) from error

    def _begins_anew(self) -> bool:
        try:
            there = os.stat(self._path)  # noqa: PTH116  beside fstat, which has no other form
        except OSError:
            return False  # between two files: what is open stays until another is there
        opened = os.fstat(self._descriptor)
        replaced = (there.st_dev, there.st_ino) != (opened.st_dev, opened.st_ino)
        return replaced or opened.st_size < os.lseek(self._descriptor, 0, os.SEEK_CUR)
