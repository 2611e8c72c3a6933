"""The place of a unix socket: one living process has it, and one group may open what is there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import grp
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import Final

from trireme_collector.control import SocketBusyError
from trireme_collector.errors import ConfigError

__all__ = ["SocketPlace"]

_MODE: Final = 0o660
_WORKSHOP: Final = ".grpc"


class SocketPlace:
    """Keeps a path for a socket that a library makes.

    The library would take over the socket of a living server, and make one that is open to
    whoever its umask lets in. So it makes it in a directory that only we can enter, and the
    socket is moved to its place when its owner, group and mode are right. A lock beside the
    place tells whether its holder lives.

    Args:
        path: The place.
        group: Who may open it besides the owner: a name, a number, or nothing.

    Raises:
        SocketBusyError: Somebody else has it.
        ConfigError: It cannot be used; the message says why and what to do.
    """

    def __init__(self, path: str, group: str = "") -> None:
        """Lock the place, remove what a killed holder left, and make the directory."""
        self._path = Path(path)
        self._group = group
        self._identity: tuple[int, int] | None = None
        self._lock = -1
        self._workshop: Path | None = None
        gid = _group_id(group)
        self._gid = -1 if gid is None else gid
        try:
            _refuse_open_directory(self._path.parent)
            self._lock = _lock(self._lock_path, path)
            _remove_leftover(self._path)
            _remove_workshops(self._path)
            made = tempfile.mkdtemp(
                dir=self._path.parent, prefix=f".{self._path.name}.", suffix=_WORKSHOP
            )
            self._workshop = Path(made)
        except OSError as error:
            self.close()
            raise ConfigError(self._explain(error)) from error
        except ConfigError:
            self.close()
            raise

    @property
    def making(self) -> Path:
        """Where the library has to make the socket."""
        if self._workshop is None:
            raise ValueError("the place was given up")
        return self._workshop / "s"

    @property
    def _lock_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}.lock")

    def move(self) -> None:
        """Move what was made to its place.

        Raises:
            ConfigError: The group cannot be given to it.
        """
        try:
            if self._gid >= 0:
                os.chown(self.making, -1, self._gid, follow_symlinks=False)
            self.making.chmod(_MODE)
            status = self.making.lstat()
            self.making.rename(self._path)
            self._identity = status.st_dev, status.st_ino
        except OSError as error:
            raise ConfigError(self._explain(error)) from error

    def close(self) -> None:
        """Remove the socket, if it is still ours, the directory and the lock."""
        if self._identity is not None:
            with contextlib.suppress(OSError):
                status = self._path.lstat()
                if (status.st_dev, status.st_ino) == self._identity:
                    self._path.unlink()
            self._identity = None
        if self._workshop is not None:
            with contextlib.suppress(OSError):
                self.making.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._workshop.rmdir()
            self._workshop = None
        if self._lock >= 0:
            # Removed while it is held: who opened it meanwhile sees that it is gone.
            with contextlib.suppress(OSError):
                self._lock_path.unlink()
            os.close(self._lock)
            self._lock = -1

    def _explain(self, error: OSError) -> str:
        remedies = {
            errno.EACCES: f"give user {os.geteuid()} the right to it, or choose another path",
            errno.EROFS: "choose a path that can be written",
            errno.ENOENT: f"create the directory {self._path.parent}, or choose another path",
            errno.ELOOP: "its lock is a symbolic link; remove that",
        }
        if self._group:
            remedies[errno.EPERM] = f"only root, or a member, can let group {self._group!r} in"
        remedy = remedies.get(error.errno or 0, "choose another path")
        reason = (error.strerror or str(error)).lower()
        return f"cannot listen on unix://{self._path}: {reason}; {remedy}"


def _group_id(group: str) -> int | None:
    if not group:
        return None
    if group.isascii() and group.isdigit() and len(group) <= 10:
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        msg = f"there is no group {group!r} on this host; create it or name another"
        raise ConfigError(msg) from None


def _refuse_open_directory(directory: Path) -> None:
    """Refuse a directory in which others could put a socket of theirs in place of ours."""
    mode = directory.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        msg = (
            f"everybody can replace what lies in {directory}; chmod o-w {directory}, or choose"
            " another directory"
        )
        raise ConfigError(msg)


def _lock(lock_path: Path, path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        descriptor = os.open(lock_path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.fstat(descriptor)
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(lock_path)
                if (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino):
                    return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise _busy(path) from None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder ended and removed it between our two steps: once more


def _remove_leftover(path: Path) -> None:
    """Remove a socket that nobody listens on any more; anything else stays."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        msg = f"{path} is there and is no socket; remove it or choose another path"
        raise ConfigError(msg)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise _busy(str(path))
    path.unlink()


def _remove_workshops(path: Path) -> None:
    """Remove the directories of holders that were killed; the lock says that none is alive."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{_WORKSHOP}"):
        with contextlib.suppress(OSError):
            if left.is_symlink() or left.lstat().st_uid != os.geteuid():
                continue
            for inside in left.iterdir():
                inside.unlink()
            left.rmdir()


def _busy(path: str) -> SocketBusyError:
    return SocketBusyError(
        f"another process has unix://{path}; stop it or give each server a path of its own"
    )
