"""The name of this machine, asked for once."""

from __future__ import annotations

import functools
import os

__all__ = ["host_name"]


@functools.cache
def host_name() -> str:
    """Give the host name, ``localhost`` when the machine has none."""
    return os.uname().nodename or "localhost"
