"""Reads the text of a configuration file, if it is one that can be trusted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from trireme_collector._toml_positions import Position
from trireme_collector._toml_problems import syntax_error
from trireme_collector._toml_values import printable
from trireme_collector.errors import ConfigError

__all__ = ["MAX_DOCUMENT_BYTES", "read_text"]

MAX_DOCUMENT_BYTES = 256 * 1024 * 1024
"""The largest file that is read: ten million addresses fit, and nobody writes more by mistake."""


def read_text(
    path: str | os.PathLike[str], *, refuse_world_writable: bool = False, form: str = "TOML"
) -> tuple[str, str]:
    """Read a file of text.

    Args:
        path: The file.
        refuse_world_writable: Whether a file that every user can change is a mistake.
        form: What messages call the form that the file should have.

    Returns:
        What messages call the file, and its text.

    Raises:
        ConfigError: The file cannot be read, or is not UTF-8.
    """
    name = printable(os.fspath(path))  # whole: editors jump to it
    try:
        content = _read_file(Path(path), name, refuse_world_writable=refuse_world_writable)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        message = f"{name}: cannot be read: {reason}; check the path and its permissions"
        raise ConfigError(message) from error
    except ValueError as error:
        message = f"{name}: cannot be read: {error}; give the path of a {form} file"
        raise ConfigError(message) from error
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(errors="replace")
        place = Position(before.count("\n") + 1, len(before) - before.rfind("\n"))
        found = f"byte 0x{content[error.start]:02x} that is not UTF-8"
        raise syntax_error(name, place, found, "a file saved as UTF-8") from error
    return name, text


def _read_file(path: Path, name: str, *, refuse_world_writable: bool) -> bytes:
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
