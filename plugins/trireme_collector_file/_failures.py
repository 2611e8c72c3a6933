"""What a failure of the disk means, and what somebody can do about it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from trireme_collector_file._line_file import HeldByAnotherError, NotAFileError, UnsafeError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["explain", "is_configured_wrong"]

# What only a change by the operator mends; anything else may pass by itself.
_CONFIGURED_WRONG = {
    errno.EACCES: "give the agent's user the right to write there",
    errno.EISDIR: "name a file, not a directory",
    errno.ELOOP: "it is a symbolic link; name the file that it leads to",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ENOENT: "create its directory, or set another path",
    errno.ENOTDIR: "a part of the path is not a directory; set another path",
    errno.ENXIO: "name a file, not a pipe or a socket",
    errno.EPERM: "give the agent's user the right to write there",
    errno.EROFS: "the file system is read-only; set another path",
}
_DISK = {
    errno.ENOSPC: "the disk is full; free some space, writing goes on by itself",
    errno.EDQUOT: "the quota is used up; free some space, writing goes on by itself",
    errno.EFBIG: "the file is as large as the system allows; set rotate_bytes",
    errno.EIO: "the disk reports an error; check it, writing is tried again",
}


def is_configured_wrong(error: OSError) -> bool:
    """Whether a start that fails so will fail again."""
    return (
        isinstance(error, (NotAFileError, HeldByAnotherError, UnsafeError))
        or error.errno in _CONFIGURED_WRONG
    )


def explain(error: OSError, path: Path) -> str:
    """Say what is wrong with a path, and what to do."""
    if isinstance(error, NotAFileError):
        return "it is neither a file nor a terminal; name a file"
    if isinstance(error, HeldByAnotherError):
        return "another agent or collector writes to it; give each a path of its own"
    if isinstance(error, UnsafeError):
        return (
            "everybody may write to its directory, and the file was made by another user or has a"
            " second name; set a path in a directory of the agent's own"
        )
    if error.errno == errno.ENOENT and not path.parent.exists():
        return f"the directory {str(path.parent)!r} does not exist; create it or set path"
    if error.errno == errno.ELOOP and not path.is_symlink():
        return "its directory is in a loop of symbolic links; set another path"
    number = error.errno or 0
    remedy = _DISK.get(number) or _CONFIGURED_WRONG.get(number) or "it is tried again"
    return f"{error.strerror or os.strerror(number)}; {remedy}"
