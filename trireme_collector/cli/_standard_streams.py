"""Standard streams that whoever started the program has closed."""

from __future__ import annotations

import os
import sys

__all__ = ["open_missing_streams"]


def open_missing_streams() -> None:
    """Open what is closed of standard input, output and error to nothing.

    Otherwise the next file or socket would get the number of a standard stream, and with it what
    somebody prints there; and printing itself would fail.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            os.dup2(opened, number)  # a child inherits this one
            if opened != number:
                os.close(opened)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
