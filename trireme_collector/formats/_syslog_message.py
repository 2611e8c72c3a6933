"""What both syslog formats share: priority, and how a message is cut to its limit."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from trireme_collector.formats._structured_data import parameter_value, parameters
from trireme_collector.records import ActionType, FlowRecord, PacketReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trireme_collector.records import Record

__all__ = ["Body", "Facility", "Severity", "cut_body", "severity_of"]

_CUT = "…"
_SHORTEST_VALUE = 16  # below that a value says nothing; the last parameters are left out instead
_SHARE_OF_TEXT = 8  # of a message that is cut, the text for people keeps up to an eighth


class Facility(enum.IntEnum):
    """The facilities of RFC 5424 section 6.2.1 that an application may use."""

    USER = 1
    DAEMON = 3
    AUTH = 4
    SYSLOG = 5
    AUTHPRIV = 10
    LOCAL0 = 16
    LOCAL1 = 17
    LOCAL2 = 18
    LOCAL3 = 19
    LOCAL4 = 20
    LOCAL5 = 21
    LOCAL6 = 22
    LOCAL7 = 23


class Severity(enum.IntEnum):
    """The severities of RFC 5424 section 6.2.1."""

    EMERGENCY = 0
    ALERT = 1
    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7


class Severities(Protocol):
    """The severity of each thing that may have happened."""

    @property
    def accepted(self) -> Severity: ...
    @property
    def rejected(self) -> Severity: ...
    @property
    def observed(self) -> Severity: ...
    @property
    def other(self) -> Severity: ...


class Body(NamedTuple):
    """A message after its header.

    Attributes:
        values: The parameters, each after a space.
        summary: The text for people.
    """

    values: str
    summary: str


def severity_of(record: Record, severities: Severities) -> Severity:
    """Choose the severity by what happened."""
    if isinstance(record, FlowRecord):
        if record.action.rejected:
            return severities.rejected
        if record.observed_action is not ActionType.NONE and record.observed_action.rejected:
            return severities.observed
        return severities.accepted
    if isinstance(record, PacketReport):
        return severities.rejected if record.drop_reason else severities.accepted
    return severities.other


def cut_body(record: Record, summary: str, max_bytes: int, fixed_bytes: int) -> Body:
    """Give what fits, and say how much was left out.

    The longest values are cut first: a peer that sends a long URI cannot push out the verdict.

    Args:
        record: The record.
        summary: The text for people.
        max_bytes: The limit of the whole message.
        fixed_bytes: What header, brackets and separators take of it.
    """
    named = parameters(record)
    room = max_bytes - fixed_bytes - len(f' truncated="{len(named)}"')
    for_text = min(len(summary.encode()), max_bytes // _SHARE_OF_TEXT)
    sizes = [len(parameter_value(value).encode()) for _, value in named]
    frames = [len(f' {name}=""') for name, _ in named]
    kept = len(named)
    needed = sum(frames) + sum(min(size, _SHORTEST_VALUE) for size in sizes)
    while kept and needed > room - for_text:
        kept -= 1
        needed -= frames[kept] + min(sizes[kept], _SHORTEST_VALUE)
    limit = _fill(sizes[:kept], room - for_text - sum(frames[:kept]))
    cut = len(named) - kept + sum(size > limit for size in sizes[:kept])
    values = "".join(
        f' {name}="{_prefix(value, limit, parameter_value)}"' for name, value in named[:kept]
    )
    mark = f' truncated="{cut}"' if cut else ""
    return Body(values + mark, _prefix(summary, room - len(values.encode()), str))


def _fill(sizes: Sequence[int], room: int) -> int:
    """Find the limit for the longest values with which all of them fit."""
    left = len(sizes)
    for size in sorted(sizes):
        if size * left > room:
            return room // left
        room -= size
        left -= 1
    return max(sizes, default=0)


def _prefix(text: str, room: int, render: Callable[[str], str]) -> str:
    """Give the longest beginning of a text that fits once it is rendered, and marked as cut."""
    rendered = render(text)
    if len(rendered.encode()) <= room:
        return rendered
    room -= len(_CUT.encode())
    low, high = 0, max(0, min(len(text), room))
    while low < high:
        middle = (low + high + 1) // 2
        if len(render(text[:middle]).encode()) <= room:
            low = middle
        else:
            high = middle - 1
    return render(text[:low]) + _CUT if low else ""
