"""The socket that the server listens on."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from trireme_collector.metrics._config import Listen

__all__ = ["ListeningSocket"]

_BACKLOG = 16


class ListeningSocket:
    """A socket that listens, and the path that it leaves behind.

    Args:
        listen: Where.
        mode: The permissions of a unix socket.

    Raises:
        ConfigError: It is in use, or not allowed.
    """

    def __init__(self, listen: Listen, mode: int) -> None:
        """Bind and listen."""
        self._path = listen.path
        self._inode = 0
        family = socket.AF_UNIX if listen.path else socket.AF_INET
        if ":" in listen.host:
            family = socket.AF_INET6
        self.socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            if listen.path:
                _remove_leftover(listen.path)
                self.socket.bind(listen.path)
                self._inode = Path(listen.path).stat().st_ino
                # Nobody can connect before it listens, so nobody gets in by earlier permissions.
                Path(listen.path).chmod(mode)
            else:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.socket.bind((listen.host, listen.port))
            self.socket.listen(_BACKLOG)
        except OSError as error:
            self.close()
            raise ConfigError(_explain(listen, error)) from error

    @property
    def port(self) -> int:
        """The port, 0 for a unix socket."""
        return 0 if self._path else int(self.socket.getsockname()[1])

    def close(self) -> None:
        """Stop to listen, and remove the path if it is still ours."""
        self.socket.close()
        if self._inode:
            with contextlib.suppress(OSError):
                if Path(self._path).stat().st_ino == self._inode:
                    Path(self._path).unlink()
            self._inode = 0


def _remove_leftover(path: str) -> None:
    """Remove a socket that nobody listens on any more; anything else stays.

    Raises:
        OSError: Somebody listens, or it is not a socket.
    """
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISSOCK(kind):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            if probe.connect_ex(path) == errno.ECONNREFUSED:
                Path(path).unlink()
                return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _explain(listen: Listen, error: OSError) -> str:
    remedies = {
        errno.EADDRINUSE: "another program has it; choose another",
        errno.EADDRNOTAVAIL: "this host has no such address; choose one that it has",
        errno.EACCES: "give the agent's user the right to it, or choose another",
        errno.EPERM: "give the agent's user the right to it, or choose another",
        errno.ENOENT: "create its directory, or choose another",
    }
    remedy = remedies.get(error.errno or 0, "choose another")
    reason = (error.strerror or str(error)).lower()
    return f"[metrics] cannot listen on {listen}: {reason}; {remedy}"
