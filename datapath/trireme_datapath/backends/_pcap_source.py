"""The bytes of a capture: opened, unpacked when compressed, read in bounded pieces."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from typing import BinaryIO, cast

from trireme_datapath.backends._pcap_types import CaptureError, TruncatedCaptureError

__all__ = ["MAGIC_BYTES", "STANDARD_INPUT", "CaptureSource", "open_source"]

STANDARD_INPUT = "-"
"""The path that stands for standard input."""

_BUFFER_BYTES = 256 * 1024
_DISCARD_BYTES = 64 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
MAGIC_BYTES = 4
"""What tells the formats apart: the first word of the file."""

_CUT_ADVICE = "it was cut while being written or copied; everything before was read"


class CaptureSource:
    """A stream that knows its name and place, and whose every failure is a `CaptureError`."""

    def __init__(self, file: BinaryIO, name: str, *, keep_open: bool = False) -> None:
        """Look at the first bytes; unpack the rest when they say so."""
        self.name = name
        self.offset = 0
        self._file = file
        self._owned = None if keep_open else file
        self.magic = self.read(MAGIC_BYTES)
        self.compressed = self.magic[:2] == _GZIP_MAGIC
        if self.compressed:
            # Streaming: a small file that unpacks to a huge one costs time, never memory.
            rest = cast("BinaryIO", _Joined(self.magic, file))
            self._file = cast("BinaryIO", gzip.GzipFile(fileobj=rest, mode="rb"))
            self.offset = 0
            self.magic = self.read(MAGIC_BYTES)

    def close(self) -> None:
        """Close the file, except standard input, which is not ours."""
        if self._owned is not None:
            self._owned.close()

    def error(self, found: str, advice: str, *, offset: int | None = None) -> CaptureError:
        """Make the error for what was found here, or at another place."""
        return CaptureError(self.name, self.offset if offset is None else offset, found, advice)

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes; fewer only at the end of the capture."""
        data = self._read(size)
        while len(data) < size:
            # A file object that is not buffered may return less than asked.
            more = self._read(size - len(data))
            if not more:
                break
            data += more
        return data

    def read_all_of(self, size: int, what: str, start: int) -> bytes:
        """Read ``size`` bytes of something that began at the offset ``start``.

        Raises:
            TruncatedCaptureError: The capture ends before.
        """
        data = self.read(size)
        if len(data) < size:
            raise self.truncated(what, start)
        return data

    def discard(self, size: int, what: str, start: int) -> None:
        """Read over ``size`` bytes without keeping them."""
        while size:
            piece = min(size, _DISCARD_BYTES)
            self.read_all_of(piece, what, start)
            size -= piece

    def truncated(self, what: str, start: int) -> TruncatedCaptureError:
        """Make the error for an end in the middle of something."""
        found = f"the capture ends inside {what} that begins at byte {start}"
        return TruncatedCaptureError(self.name, self.offset, found, _CUT_ADVICE)

    def _read(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except EOFError as error:
            raise TruncatedCaptureError(
                self.name, self.offset, "the compressed data ends too early", _CUT_ADVICE
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise self.error(
                f"the compressed data is damaged ({error})", "get the file again"
            ) from error
        except OSError as error:
            raise self.error(
                f"cannot be read ({error.strerror or error})", "check the disk or the pipe"
            ) from error
        self.offset += len(data)
        return data


class _Joined:
    """Bytes that were read already, then the rest of the file."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        self._file = file

    def read(self, size: int) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._file.read(size)


def open_source(path: str | os.PathLike[str]) -> CaptureSource:
    """Open a file, a named pipe, or standard input for ``-``.

    Raises:
        CaptureError: It cannot be opened.
    """
    name = os.fspath(path)
    if name == STANDARD_INPUT:
        if sys.stdin is None:  # a process may be started without one
            raise CaptureError("standard input", 0, "there is none", "give the path of a capture")
        return CaptureSource(sys.stdin.buffer, "standard input", keep_open=True)
    try:
        file = open(name, "rb", buffering=_BUFFER_BYTES)  # noqa: PTH123, SIM115  closed by the source; str paths stay as given
    except OSError as error:
        raise CaptureError(
            name,
            0,
            f"cannot be opened ({error.strerror})",
            "give the path of a pcap or pcapng file, or - for standard input",
        ) from error
    try:
        return CaptureSource(file, name)
    except CaptureError:
        file.close()
        raise
