"""The socket that commands come through: one living agent holds it, and one group may open it."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Final, Self

from trireme_collector.control._config import DEFAULT_PATH
from trireme_collector.errors import ConfigError
from trireme_collector.socket_path import (
    SocketBusyError,
    SocketPath,
    explain_socket_error,
    socket_group,
)

__all__ = ["ControlSocket", "SocketBusyError"]

_BACKLOG: Final = 16
_MODE: Final = 0o660
_DIRECTORY_MODE: Final = 0o755  # that of a RuntimeDirectory; the socket's own mode keeps others out


class ControlSocket:
    """Listens at a path until it is closed, and leaves nothing there.

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
        prefix = f"[{section}] "
        place = Path(path)
        gid = socket_group(group, prefix)
        self._path: SocketPath | None = None
        self.socket = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
        try:
            if make_directory:
                with contextlib.suppress(FileExistsError):
                    place.parent.mkdir(mode=_DIRECTORY_MODE)
            self._path = SocketPath(place, prefix=prefix, kind=kind)
            self.socket.bind(path)
            self._path.own()
            # Nobody can connect before it listens, so nobody gets in by earlier permissions.
            if gid is not None:
                os.chown(path, -1, gid, follow_symlinks=False)
            place.chmod(_MODE)
            self.socket.listen(_BACKLOG)
        except OSError as error:
            self.close()
            msg = explain_socket_error(error, place, group=group, prefix=prefix)
            raise ConfigError(msg) from error
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
        self.socket = socket.socket(fileno=descriptors[0])
        self._path = SocketPath.held(Path(path), descriptors[1])
        return self

    def release(self) -> tuple[int, int]:
        """Let go of the socket and its lock without closing them; who comes waits in the kernel."""
        lock = -1 if self._path is None else self._path.release()
        return self.socket.detach(), lock

    def close(self) -> None:
        """Stop to listen; remove the socket, if it is still ours, and the lock."""
        self.socket.close()
        if self._path is not None:
            self._path.close()
