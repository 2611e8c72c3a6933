"""What a service tells systemd: that it is ready, what it does, and that it is alive."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["ServiceNotifier"]

_NAMES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_PASSED: Final = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
_FIRST_PASSED: Final = 3  # SD_LISTEN_FDS_START
_MICROSECOND: Final = 1_000
_SECOND_NS: Final = 1_000_000_000


class ServiceNotifier:
    """Speaks to the service manager, if there is one (``sd_notify(3)``).

    Args:
        environment: Where it says how; its variables are removed, so that no child speaks for us.
        pid: The process that speaks.

    Attributes:
        watchdog_seconds: How often it wants to hear that we live; 0 if it does not.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ, pid: int = 0) -> None:
        """Read how; say nothing yet."""
        found = {name: environment.pop(name, "") for name in _NAMES}
        self._variables = {name: value for name, value in found.items() if value}
        self._address = found["NOTIFY_SOCKET"]
        self.watchdog_seconds = 0.0
        self._next_alive_ns = 0
        whose = found["WATCHDOG_PID"]
        if found["WATCHDOG_USEC"].isdecimal() and whose in {"", str(pid or os.getpid())}:
            # Twice as often as asked for, as sd_watchdog_enabled(3) advises.
            self.watchdog_seconds = int(found["WATCHDOG_USEC"]) / 2_000_000

        self._passed = _passed({name: environment.pop(name, "") for name in _PASSED}, pid)

    def passed(self, name: str) -> int:
        """Give the descriptor that the service manager opened for us under a name; -1 if none.

        It is the caller's from then on.
        """
        descriptor = self._passed.pop(name, -1)
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)  # noqa: FBT003  positional only
        return descriptor

    def variables(self) -> dict[str, str]:
        """Give what was removed, for a program that takes our place."""
        return dict(self._variables)

    def ready(self, status: str) -> None:
        """Say that the start, or a reload, is done."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Say what goes on, in one line for people."""
        self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """Say that a reload begins; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // _MICROSECOND}")

    def stopping(self, status: str) -> None:
        """Say that the end begins."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def alive(self) -> None:
        """Say that we live."""
        self._send("WATCHDOG=1")

    def turned(self, now_ns: int) -> None:
        """Note that the loop turned: say that we live, as often as it wants to hear it.

        Args:
            now_ns: The time, of any clock that goes forward.
        """
        if self.watchdog_seconds and now_ns >= self._next_alive_ns:
            self._next_alive_ns = now_ns + round(self.watchdog_seconds * _SECOND_NS)
            self.alive()

    def extend(self, seconds: float) -> None:
        """Ask for more time to start or stop."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def _send(self, text: str) -> None:
        address = self._address
        if not address or address[0] not in "/@":
            return
        if address[0] == "@":
            address = "\0" + address[1:]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            try:
                sock.sendto(text.encode("utf-8", "replace"), address)
            except OSError:
                return  # nobody listens: the service goes on all the same


def _passed(variables: dict[str, str], pid: int) -> dict[str, int]:
    """Find out what was opened for us (``sd_listen_fds_with_names(3)``)."""
    count, whose = variables["LISTEN_FDS"], variables["LISTEN_PID"]
    if not count.isdecimal() or whose != str(pid or os.getpid()):
        return {}
    names = variables["LISTEN_FDNAMES"].split(":")
    return {name: _FIRST_PASSED + place for place, name in enumerate(names[: int(count)])}
