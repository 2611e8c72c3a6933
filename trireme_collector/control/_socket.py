"""The socket that commands come through: one living agent holds it, and one group may open it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
from pathlib import Path
from typing import Final, Self

from trireme_collector.control._config import DEFAULT_PATH
from trireme_collector.errors import ConfigError

__all__ = ["ControlSocket", "SocketBusyError"]

_BACKLOG: Final = 16
_MODE: Final = 0o660
_DIRECTORY_MODE: Final = 0o755  # that of a RuntimeDirectory; the socket's own mode keeps others out


class SocketBusyError(ConfigError):
    """A living process has the control socket."""


class ControlSocket:
    """Listens at a path until it is closed, and leaves nothing there.

    A lock beside the socket tells whether its holder lives: the kernel lets go of it with the
    process, however that ends.

    Args:
        path: Where.
        group: Who may open it besides the owner: a name, a number, or nothing.
        section: The section of the configuration that messages name.
        make_directory: Whether to make the directory; only where the path is our own default.
        kind: The kind of socket.

    Raises:
        SocketBusyError: Somebody else has it.
        ConfigError: It cannot be used; the message says why and what to do.
    """

    def __init__(
        self,
        path: str,
        group: str = "",
        *,
        section: str = "control",
        make_directory: bool | None = None,
        kind: socket.SocketKind = socket.SOCK_STREAM,
    ) -> None:
        """Lock, bind, let the group in and listen."""
        if make_directory is None:
            make_directory = path == DEFAULT_PATH
        self._path = Path(path)
        self._identity: tuple[int, int] | None = None
        self._lock = -1
        gid = _group_id(group, section)
        self.socket = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
        try:
            _prepare_directory(self._path.parent, section, make=make_directory)
            self._lock = _lock(self._lock_path, path, section)
            _remove_leftover(self._path, section, kind)
            self.socket.bind(path)
            status = self._path.lstat()
            self._identity = status.st_dev, status.st_ino
            # Nobody can connect before it listens, so nobody gets in by earlier permissions.
            if gid is not None:
                os.chown(path, -1, gid, follow_symlinks=False)
            self._path.chmod(_MODE)
            self.socket.listen(_BACKLOG)
        except OSError as error:
            self.close()
            raise ConfigError(_explain(path, group, section, error)) from error
        except ConfigError:
            self.close()
            raise

    @classmethod
    def held(cls, path: str, descriptors: tuple[int, int]) -> Self:
        """Go on with what `release` gave, in the program that took its place.

        Args:
            path: Where it listens.
            descriptors: The socket and its lock.
        """
        self = cls.__new__(cls)
        self._path = Path(path)
        self.socket = socket.socket(fileno=descriptors[0])
        self._lock = descriptors[1]
        self._identity = None
        with contextlib.suppress(FileNotFoundError):
            status = self._path.lstat()
            self._identity = status.st_dev, status.st_ino
        return self

    def release(self) -> tuple[int, int]:
        """Let go of the socket and its lock without closing them; who comes waits in the kernel."""
        lock, self._lock = self._lock, -1
        self._identity = None
        return self.socket.detach(), lock

    @property
    def _lock_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}.lock")

    def close(self) -> None:
        """Stop to listen; remove the socket, if it is still ours, and the lock."""
        self.socket.close()
        if self._identity is not None:
            with contextlib.suppress(OSError):
                status = self._path.lstat()
                if (status.st_dev, status.st_ino) == self._identity:
                    self._path.unlink()
            self._identity = None
        if self._lock >= 0:
            # Removed while it is held: who opened it meanwhile sees that it is gone.
            with contextlib.suppress(OSError):
                self._lock_path.unlink()
            os.close(self._lock)
            self._lock = -1


def _group_id(group: str, section: str) -> int | None:
    if not group:
        return None
    if group.isascii() and group.isdigit() and len(group) <= 10:
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        msg = f"[{section}] there is no group {group!r} on this host; create it or name another"
        raise ConfigError(msg) from None


def _prepare_directory(directory: Path, section: str, *, make: bool) -> None:
    """Refuse a directory in which others could put a socket of theirs in place of ours."""
    if make:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=_DIRECTORY_MODE)
    mode = directory.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        msg = (
            f"[{section}] everybody can replace what lies in {directory}; chmod o-w {directory},"
            " or choose another directory"
        )
        raise ConfigError(msg)


def _lock(lock_path: Path, path: str, section: str) -> int:
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
            raise _busy(path, section) from None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder ended and removed it between our two steps: once more


def _remove_leftover(path: Path, section: str, kind: socket.SocketKind) -> None:
    """Remove a socket that nobody listens on any more; anything else stays."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        msg = f"[{section}] {path} is there and is no socket; remove it or choose another path"
        raise ConfigError(msg)
    with socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK) as probe:
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise _busy(str(path), section)
    path.unlink()


def _busy(path: str, section: str) -> SocketBusyError:
    return SocketBusyError(
        f"[{section}] another process has {path}; stop it or give each agent a path of its own"
    )


def _explain(path: str, group: str, section: str, error: OSError) -> str:
    right = f"give user {os.geteuid()} the right to it, or choose another path"
    if error.errno in {errno.EPERM, errno.EACCES} and group:
        right = f"{right}; only root, or a member, can let the group {group!r} in"
    remedies = {
        errno.EACCES: right,
        errno.EPERM: right,
        errno.EROFS: "choose a path that can be written",
        errno.ENOENT: f"create the directory {Path(path).parent}, or choose another path",
        errno.ELOOP: "its lock is a symbolic link; remove that",
    }
    remedy = remedies.get(error.errno or 0, "choose another path")
    reason = (error.strerror or str(error)).lower()
    return f"[{section}] cannot listen on {path}: {reason}; {remedy}"
