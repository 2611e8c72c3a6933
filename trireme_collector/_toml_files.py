"""Reads the bytes of a configuration file, if it is one that can be trusted."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_DOCUMENT_BYTES", "read_file"]

MAX_DOCUMENT_BYTES = 256 * 1024 * 1024
"""The largest file that is read: ten million addresses fit, and nobody writes more by mistake."""


def read_file(path: Path, name: str, *, refuse_world_writable: bool) -> bytes:
    """Read a regular file.

    Args:
        path: The file.
        name: What messages call it.
        refuse_world_writable: Whether a file that every user can change is refused.

    Returns:
        Its content.

    Raises:
        ConfigError: It is not a regular file, not trusted, or too large.
        OSError: It cannot be opened or read.
    """
    # Without O_NONBLOCK a named pipe nobody writes to would hold the program for ever.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise ConfigError(f"{name}: cannot be read: it is {kind}; give the path of a TOML file")
        if refuse_world_writable and status.st_mode & stat.S_IWOTH:
            raise ConfigError(
                f"{name}: every user of this machine can change it (mode "
                f"{stat.S_IMODE(status.st_mode):04o}), so it is not trusted; run: chmod o-w {name}"
            )
        if status.st_size > MAX_DOCUMENT_BYTES:
            raise ConfigError(
                f"{name}: it has {status.st_size} bytes; at most {MAX_DOCUMENT_BYTES} are read: "
                "make it smaller"
            )
        return file.read(MAX_DOCUMENT_BYTES)
