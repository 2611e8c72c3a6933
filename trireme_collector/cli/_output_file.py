"""Lines to standard output or to a file."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from trireme_collector.errors import TriremeError
from trireme_collector.exit_codes import ExitCode
from trireme_collector.formats.json_lines import printable_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    WriteLines = Callable[[Sequence[bytes]], None]

__all__ = ["OutputError", "lines_written_to"]

STANDARD_OUTPUT = "-"


class OutputError(TriremeError):
    """An output cannot be written."""

    exit_code = ExitCode.OUTPUT


@contextlib.contextmanager
def lines_written_to(path: str) -> Iterator[WriteLines]:
    """Open an output for lines of bytes.

    Args:
        path: A file, which is replaced, or ``-`` for standard output.

    Raises:
        OutputError: The file cannot be written.
    """
    if path == STANDARD_OUTPUT:
        # What was printed as text before comes before.
        sys.stdout.flush()
        stream = sys.stdout.buffer
        if sys.stdout.isatty():
            # Others wrote what stands in the lines: it must not steer a terminal.
            yield lambda lines: _write(stream, [printable_json(line) for line in lines])
        else:
            yield lambda lines: _write(stream, lines)
        return
    try:
        with open(path, "wb") as file:  # noqa: PTH123  a path of the command line, as it is
            yield lambda lines: _write(file, lines)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        msg = (
            f"{path!r} cannot be written: {error.strerror}; check the path, its rights and the disk"
        )
        raise OutputError(msg) from error


def _write(stream: BinaryIO, lines: Sequence[bytes]) -> None:
    if lines:
        stream.write(b"\n".join(lines) + b"\n")
        stream.flush()  # somebody may be waiting for them
