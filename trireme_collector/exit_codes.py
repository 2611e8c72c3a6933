"""The exit codes of the command line, in one table."""

from __future__ import annotations

import enum
from typing import Self

__all__ = ["ExitCode"]


class ExitCode(enum.IntEnum):
    """What the process says when it ends; scripts may rely on these numbers."""

    description: str

    def __new__(cls, value: int, description: str = "") -> Self:
        """Make a member that carries its own line of documentation."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member

    OK = 0, "The work was done."
    FAILURE = 1, "It failed for a reason that has no code of its own; the message says which."
    USAGE = 2, "The command line was wrong: an unknown option, a missing argument."
    CONFIG = 3, "A configuration or policy file has mistakes; each is listed with its place."
    PRIVILEGE = 4, "A capability or kernel feature is missing: CAP_NET_ADMIN, CAP_NET_RAW, NFQUEUE."
    QUEUE_BUSY = 5, "The queue number is held by another process."
    MISSING_EXTRA = 6, "An optional dependency is not installed; the message names the extra."
    PLUGIN = 7, "A plugin that the configuration names is unknown or broken."
    OUTPUT = 8, "An output cannot be written: a file, a socket, a directory."
    INPUT = 9, "An input cannot be read, or is not what it should be: a file, what `observe` asks."
    DENIED = 10, "`policy explain --exit-code`: the flow would be rejected. `ctl ping`: no answer."
    DEGRADED = 11, "`status`: the agent runs, and something needs attention or it does not answer."
    NOT_RUNNING = 12, "`status`, `ctl`: no agent listens at the socket. `record`: no recorder does."
    INTERRUPTED = 130, "Ended by Ctrl-C."
