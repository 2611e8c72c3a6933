"""The path of a unix socket: one living process has it, and one group may open what is there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
from typing import TYPE_CHECKING

from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SocketBusyError", "SocketPath", "explain_socket_error", "socket_group"]


class SocketBusyError(ConfigError):
    """A living process has the socket."""


class SocketPath:
    """Holds a path for a socket until it is closed, and leaves nothing there.

    A lock beside the socket tells whether its holder lives: the kernel lets go of it with the
    process, however that ends.

    Args:
        path: The path.
        prefix: What messages begin with.
        name: What they call the path; its own text by default.
        kind: The kind of socket.

    Raises:
        SocketBusyError: Somebody else has it.
        ConfigError: Others could replace what lies in its directory, or no socket is there.
        OSError: The lock cannot be made.
    """

    def __init__(
        self,
        path: Path,
        *,
        prefix: str = "",
        name: str = "",
        kind: socket.SocketKind = socket.SOCK_STREAM,
    ) -> None:
        """Lock the path, and remove what a killed holder left."""
        self.path = path
        self._prefix = prefix
        self._name = name or str(path)
        self._identity: tuple[int, int] | None = None
        self._lock = -1
        self._refuse_open_directory()
        self._lock = self._take_lock()
        try:
            self._remove_leftover(kind)
        except BaseException:
            self.close()
            raise

    @classmethod
    def held(cls, path: Path, lock: int) -> SocketPath:
        """Go on with what `release` gave, in the program that took its place.

        Args:
            path: The path.
            lock: The descriptor of its lock.
        """
        self = cls.__new__(cls)
        self.path = path
        self._prefix, self._name = "", str(path)
        self._lock = lock
        self._identity = None
        with contextlib.suppress(FileNotFoundError):
            self.own()
        return self

    def own(self) -> None:
        """Remember the socket that is there now as ours.

        Raises:
            FileNotFoundError: There is none.
        """
        status = self.path.lstat()
        self._identity = status.st_dev, status.st_ino

    def release(self) -> int:
        """Let go of the lock without closing it, and of the socket; give the lock."""
        lock, self._lock = self._lock, -1
        self._identity = None
        return lock

    def close(self) -> None:
        """Remove the socket, if it is still ours, and the lock."""
        if self._identity is not None:
            with contextlib.suppress(OSError):
                status = self.path.lstat()
                if (status.st_dev, status.st_ino) == self._identity:
                    self.path.unlink()
            self._identity = None
        if self._lock >= 0:
            # Removed while it is held: who opened it meanwhile sees that it is gone.
            with contextlib.suppress(OSError):
                self._lock_path.unlink()
            os.close(self._lock)
            self._lock = -1

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.lock")

    def _refuse_open_directory(self) -> None:
        """Refuse a directory in which others could put a socket of theirs in place of ours."""
        directory = self.path.parent
        mode = directory.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            msg = (
                f"{self._prefix}everybody can replace what lies in {directory}; chmod o-w"
                f" {directory}, or choose another directory"
            )
            raise ConfigError(msg)

    def _take_lock(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        while True:
            descriptor = os.open(self._lock_path, flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = os.fstat(descriptor)
                with contextlib.suppress(FileNotFoundError):
                    found = os.lstat(self._lock_path)
                    if (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino):
                        return descriptor
            except BlockingIOError:
                os.close(descriptor)
                raise self._busy() from None
            except OSError:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its holder ended and removed it between our two steps

    def _remove_leftover(self, kind: socket.SocketKind) -> None:
        """Remove a socket that nobody listens on any more; anything else stays."""
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            msg = (
                f"{self._prefix}{self.path} is there and is no socket; remove it or choose"
                " another path"
            )
            raise ConfigError(msg)
        with socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK) as probe:
            if probe.connect_ex(str(self.path)) != errno.ECONNREFUSED:
                raise self._busy()
        self.path.unlink()

    def _busy(self) -> SocketBusyError:
        return SocketBusyError(
            f"{self._prefix}another process has {self._name}; stop it or give each a path of"
            " its own"
        )


def socket_group(group: str, prefix: str = "") -> int | None:
    """Find a group.

    Args:
        group: Its name, its number, or nothing.
        prefix: What messages begin with.

    Returns:
        Its number, or None for nothing.

    Raises:
        ConfigError: There is no such group.
    """
    if not group:
        return None
    if group.isascii() and group.isdigit() and len(group) <= 10:
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        msg = f"{prefix}there is no group {group!r} on this host; create it or name another"
        raise ConfigError(msg) from None


def explain_socket_error(
    error: OSError, path: Path, *, group: str = "", prefix: str = "", name: str = ""
) -> str:
    """Say why a socket cannot be made, and what to do.

    Args:
        error: What the system said.
        path: Where.
        group: Who was to be let in.
        prefix: What the message begins with.
        name: What it calls the path; its own text by default.
    """
    right = f"give user {os.geteuid()} the right to it, or choose another path"
    if error.errno in {errno.EPERM, errno.EACCES} and group:
        right = f"{right}; only root, or a member, can let the group {group!r} in"
    remedies = {
        errno.EACCES: right,
        errno.EPERM: right,
        errno.EROFS: "choose a path that can be written",
        errno.ENOENT: f"create the directory {path.parent}, or choose another path",
        errno.ELOOP: "its lock is a symbolic link; remove that",
    }
    remedy = remedies.get(error.errno or 0, "choose another path")
    reason = (error.strerror or str(error)).lower()
    return f"{prefix}cannot listen on {name or path}: {reason}; {remedy}"
