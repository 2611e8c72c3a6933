"""The places where a spool can be made to die, so that tests can show what survives.

The environment variable `ENVIRONMENT_VARIABLE` names one point, and with ``name:3`` its third
passing. The process ends there at once, as if killed: nothing is flushed, no handler runs.
"""

from __future__ import annotations

import enum
import os

from trireme_collector.errors import ConfigError

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "EXIT_CODE",
    "CrashPoint",
    "arm",
    "arm_from_environment",
    "is_due",
    "reach",
]

ENVIRONMENT_VARIABLE = "TRIREME_CRASH_POINT"
"""Names the point to die at, as ``name`` or ``name:n`` for its n-th passing."""
EXIT_CODE = 137
"""What the process ends with: the same as after ``kill -9`` seen through a shell."""


class CrashPoint(enum.StrEnum):
    """Every place, in the order in which the life of a spool passes them."""

    OPEN_LOCKED = "open-locked"
    OPEN_DAMAGE_KEPT = "open-damage-kept"
    OPEN_TAIL_CUT = "open-tail-cut"
    OPEN_RECOVERED = "open-recovered"
    SEGMENT_CREATED = "segment-created"
    SEGMENT_READY = "segment-ready"
    APPEND_BEGUN = "append-begun"
    APPEND_HALF_WRITTEN = "append-half-written"
    APPEND_WRITTEN = "append-written"
    SYNC_BEGUN = "sync-begun"
    SYNC_SEGMENTS_DONE = "sync-segments-done"
    SYNC_DONE = "sync-done"
    REWRITE_WRITTEN = "rewrite-written"
    REWRITE_DONE = "rewrite-done"
    ACKNOWLEDGE_BEGUN = "acknowledge-begun"
    STATE_HALF_WRITTEN = "state-half-written"
    STATE_WRITTEN = "state-written"
    STATE_SYNCED = "state-synced"
    DROP_COUNTED = "drop-counted"
    REMOVE_BEGUN = "remove-begun"
    REMOVE_DONE = "remove-done"
    CLOSE_BEGUN = "close-begun"
    CLOSE_DONE = "close-done"


class _Armed:
    """The one point to die at, if any."""

    point: CrashPoint | None = None
    passings_left = 0


def arm(text: str) -> None:
    """Choose where to die; an empty text disarms.

    Raises:
        ConfigError: There is no such point, or the number is none.
    """
    if not text:
        _Armed.point = None
        return
    name, _, number = text.partition(":")
    number = number or "1"
    if name not in set(CrashPoint) or not (number.isascii() and number.isdigit() and int(number)):
        msg = (
            f"{ENVIRONMENT_VARIABLE}={text!r} names no crash point; unset it, or give one of "
            + ", ".join(CrashPoint)
            + ", with :n for its n-th passing"
        )
        raise ConfigError(msg)
    _Armed.passings_left = int(number)
    _Armed.point = CrashPoint(name)


def arm_from_environment() -> None:
    """Choose where to die from the environment; nothing happens when it says nothing.

    Raises:
        ConfigError: The variable names no point.
    """
    text = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if text:
        arm(text)


def is_due(point: CrashPoint) -> bool:
    """Say whether this passing of a point is the one to die at."""
    if _Armed.point is not point:
        return False
    _Armed.passings_left -= 1
    return not _Armed.passings_left


def reach(point: CrashPoint) -> None:
    """Pass a point: go on, or die."""
    if _Armed.point is point and is_due(point):
        os._exit(EXIT_CODE)
