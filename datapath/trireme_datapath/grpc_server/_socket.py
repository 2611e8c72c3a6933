"""The place of a unix socket: one living process has it, and one group may open what is there."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
from pathlib import Path
from typing import Final

from trireme_collector.errors import ConfigError
from trireme_collector.socket_path import SocketPath, explain_socket_error, socket_group

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
        self._place = Path(path)
        self._group = group
        self._path: SocketPath | None = None
        self._workshop: Path | None = None
        self._gid = socket_group(group)
        try:
            self._path = SocketPath(self._place, name=f"unix://{path}")
            _remove_workshops(self._place)
            made = tempfile.mkdtemp(
                dir=self._place.parent, prefix=f".{self._place.name}.", suffix=_WORKSHOP
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

    def move(self) -> None:
        """Move what was made to its place.

        Raises:
            ConfigError: The group cannot be given to it.
        """
        try:
            if self._gid is not None:
                os.chown(self.making, -1, self._gid, follow_symlinks=False)
            self.making.chmod(_MODE)
            self.making.rename(self._place)
            if self._path is not None:
                self._path.own()
        except OSError as error:
            raise ConfigError(self._explain(error)) from error

    def close(self) -> None:
        """Remove the socket, if it is still ours, the directory and the lock."""
        if self._workshop is not None:
            with contextlib.suppress(OSError):
                self.making.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._workshop.rmdir()
            self._workshop = None
        if self._path is not None:
            self._path.close()

    def _explain(self, error: OSError) -> str:
        name = f"unix://{self._place}"
        return explain_socket_error(error, self._place, group=self._group, name=name)


def _remove_workshops(path: Path) -> None:
    """Remove the directories of holders that were killed; the lock says that none is alive."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{_WORKSHOP}"):
        with contextlib.suppress(OSError):
            if left.is_symlink() or left.lstat().st_uid != os.geteuid():
                continue
            for inside in left.iterdir():
                inside.unlink()
            left.rmdir()
