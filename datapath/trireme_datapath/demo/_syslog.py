"""A syslog socket of the demo's own: what `/dev/log` is elsewhere."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

__all__ = ["SyslogSocket"]

_MAX_MESSAGE: Final = 65_536


class SyslogSocket:
    """Listens on a datagram socket and keeps what comes.

    Attributes:
        messages: What came, in order.
    """

    def __init__(self, path: Path) -> None:
        """Listen at a path."""
        self.messages: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._receive, name="demo-syslog", daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        while message := self._socket.recv(_MAX_MESSAGE):
            self.messages.append(message.decode(errors="replace"))

    def close(self) -> None:
        """Take what has come so far, and stop; a second call does nothing."""
        if self._socket.fileno() < 0:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
