"""The name of this machine, asked for once."""

from __future__ import annotations

import functools
import socket

__all__ = ["host_name"]


@functools.cache
def host_name() -> str:
    """Give the host name, ``localhost`` when the machine has none."""
    return socket.gethostname() or "localhost"
