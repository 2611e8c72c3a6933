"""What a process may do: capabilities given up for good, another user, no way back.

The standard library has no call for capabilities, so the kernel's are made by ctypes.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import os
import pwd
import signal
from typing import TYPE_CHECKING, Final

from trireme_collector.errors import ConfigError, PrivilegeError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Capability", "become", "die_with_parent", "find_user", "keep_only", "permitted"]

_VERSION_3: Final = 0x20080522  # _LINUX_CAPABILITY_VERSION_3 of linux/capability.h
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_KEEPCAPS: Final = 8
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_LAST_CAPABILITY: Final = 63

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Capability(enum.IntEnum):
    """The capabilities that an agent uses (``CAP_*`` of ``linux/capability.h``)."""

    NET_ADMIN = 12
    NET_RAW = 13


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def permitted() -> int:
    """Give the capabilities that this thread may use, as bits."""
    header, sets = _Header(_VERSION_3, 0), (_Sets * 2)()
    _check(_libc.capget(ctypes.byref(header), sets), "read the capabilities")
    return int(sets[0].permitted) | int(sets[1].permitted) << 32


def keep_only(capabilities: Iterable[Capability], *, inherit: bool = False) -> None:
    """Give up every other capability for good, also for programs that are started from here.

    Args:
        capabilities: Those to keep, as far as they are there.
        inherit: Whether programs that are started from here get them, too.

    Raises:
        PrivilegeError: The kernel does not let us.
    """
    wanted = permitted() & sum(1 << int(one) for one in capabilities)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(_LAST_CAPABILITY + 1):
        if not wanted >> number & 1:
            # Impossible without CAP_SETPCAP; no_new_privs below keeps the door shut as well.
            _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    _set(wanted, wanted if inherit else 0)
    if inherit:
        for one in capabilities:
            if wanted >> int(one) & 1:
                _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, int(one))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def find_user(user: str) -> pwd.struct_passwd:
    """Find the user that processes become.

    Args:
        user: The name of the user, or its number.

    Raises:
        ConfigError: There is no such user.
    """
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError) as error:
        raise ConfigError(f"[processes] user: there is no user {user!r}; make it first") from error


def become(user: str, capabilities: Iterable[Capability]) -> None:
    """Go on as another user, with these capabilities; nothing is done if we are that user.

    Args:
        user: The name of the user, or its number.
        capabilities: What to keep.

    Raises:
        ConfigError: There is no such user.
        PrivilegeError: We may not.
    """
    found = find_user(user)
    if found.pw_uid == os.geteuid():
        return
    kept = permitted() & sum(1 << int(one) for one in capabilities)
    try:
        _prctl(_PR_SET_KEEPCAPS, 1)
        os.initgroups(found.pw_name, found.pw_gid)
        os.setresgid(found.pw_gid, found.pw_gid, found.pw_gid)
        os.setresuid(found.pw_uid, found.pw_uid, found.pw_uid)
    except OSError as error:
        raise PrivilegeError(
            f"[processes] user: only root can become {user!r} ({error.strerror}); start the agent"
            " as root, or as that user with CAP_NET_ADMIN and without this key"
        ) from error
    _set(kept, 0)
    os.environ["HOME"] = found.pw_dir
    os.environ["USER"] = os.environ["LOGNAME"] = found.pw_name


def die_with_parent() -> None:
    """Have the kernel end this process when the thread that started it ends."""
    with contextlib.suppress(PrivilegeError):
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _set(allowed: int, inheritable: int) -> None:
    header, sets = _Header(_VERSION_3, 0), (_Sets * 2)()
    for index in range(2):
        low = allowed >> 32 * index & 0xFFFFFFFF
        sets[index].effective = sets[index].permitted = low
        sets[index].inheritable = inheritable >> 32 * index & 0xFFFFFFFF
    _check(_libc.capset(ctypes.byref(header), sets), "set the capabilities")


def _prctl(option: int, first: int, second: int = 0) -> None:
    zero = ctypes.c_ulong(0)
    arguments = (ctypes.c_ulong(first), ctypes.c_ulong(second), zero, zero)
    _check(_libc.prctl(option, *arguments), f"change the process (prctl {option})")


def _check(result: int, purpose: str) -> None:
    if result:
        reason = os.strerror(ctypes.get_errno())
        raise PrivilegeError(f"the kernel does not let us {purpose}: {reason}")
