"""Records as syslog messages, RFC 5424.

The fields of a record are the parameters of one structured-data element, named after its kind
and the private enterprise number: ``[flow@32473 source_ip="10.0.0.1" ...]``. The message is the
line for people. A receiver can rebuild the record from the parameters alone.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Annotated

import msgspec

from trireme_collector.formats._escaping import escape_text
from trireme_collector.formats._structured_data import parameters
from trireme_collector.formats._time import format_rfc3339
from trireme_collector.formats.text import record_time_ns, render_summary
from trireme_collector.records import ActionType, FlowRecord, PacketReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trireme_collector.records import Record

__all__ = [
    "EXAMPLE_ENTERPRISE_ID",
    "SMALLEST_MAX_BYTES",
    "Facility",
    "Rfc5424Options",
    "Severity",
    "header_field",
    "render_rfc5424",
]

EXAMPLE_ENTERPRISE_ID = 32473
"""The number for documentation of RFC 5612; a site with its own number should set that."""

SMALLEST_MAX_BYTES = 640
"""What the longest header of RFC 5424 and the name of an element need."""

_NIL = "-"
_CUT = "…"
_SHORTEST_VALUE = 16  # below that a value says nothing; the last parameters are left out instead
_SHARE_OF_TEXT = 8  # of a message that is cut, the text for people keeps up to an eighth
_LARGEST_NAME = {"app_name": 48, "hostname": 255, "procid": 128, "msgid": 32}
_NOT_IN_HEADER = re.compile(r"[^\x21-\x7e]")
_BOM = "\ufeff"
# RFC 5424 section 6.3.3: these three, and only these, are escaped in a parameter value.
_SPECIAL = re.compile(r'["\\\]]')


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


class Rfc5424Options(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the header, and how long a message may be.

    Attributes:
        facility: The facility of every message.
        accepted: The severity of accepted flows and passed packets.
        rejected: The severity of rejected flows and dropped packets.
        observed: The severity of flows that an observed policy would have rejected.
        other: The severity of all other records.
        hostname: The sending machine, ``""`` when unknown.
        app_name: The application.
        procid: The process, ``""`` when it does not matter.
        enterprise_id: The private enterprise number in the names of the elements.
        max_bytes: The longest message, without framing.
    """

    facility: Facility = Facility.DAEMON
    accepted: Severity = Severity.INFO
    rejected: Severity = Severity.WARNING
    observed: Severity = Severity.NOTICE
    other: Severity = Severity.INFO
    hostname: str = ""
    app_name: str = "trireme"
    procid: str = ""
    enterprise_id: Annotated[int, msgspec.Meta(ge=1, le=4_294_967_295)] = EXAMPLE_ENTERPRISE_ID
    max_bytes: Annotated[int, msgspec.Meta(ge=SMALLEST_MAX_BYTES, le=65_507)] = 8192


def header_field(text: str, name: str) -> str:
    """Fit a text into a header field: printable ASCII without spaces, limited in length.

    Args:
        text: The text; other characters become ``_``.
        name: ``hostname``, ``app_name``, ``procid`` or ``msgid``.

    Returns:
        The field, ``-`` for an empty text.
    """
    return _NOT_IN_HEADER.sub("_", text)[: _LARGEST_NAME[name]] or _NIL


def render_rfc5424(record: Record, options: Rfc5424Options, *, now_ns: int | None = None) -> bytes:
    r"""Render a record as one syslog message, without framing.

    Control characters, line ends, direction overrides and lone surrogates are written as
    ``\uXXXX`` (see `escape_text`), so the message is printable and on one line. A message with
    characters beyond ASCII has the byte order mark that RFC 5424 wants before its text; parameter
    values are UTF-8 without one, as it says. What is longer than ``max_bytes`` is cut at a
    character and marked with ``…``: the text for people, the longest values, and where even short
    values have no room the last parameters are left out. The parameter ``truncated`` then says
    how many parameters were cut or left out.

    Args:
        record: Any record.
        options: Header and limit.
        now_ns: The time of records that know none, nanoseconds since 1970 UTC; without it they
            have no timestamp.
    """
    kind = record.__struct_config__.tag
    time_ns = record_time_ns(record) or now_ns
    severity = _severity(record, options)
    header = (
        f"<{options.facility * 8 + severity}>1"
        f" {(format_rfc3339(time_ns) if time_ns is not None else '') or _NIL}"
        f" {header_field(options.hostname, 'hostname')}"
        f" {header_field(options.app_name, 'app_name')}"
        f" {header_field(options.procid, 'procid')}"
        f" {header_field(str(kind).upper(), 'msgid')} "
    )
    element = f"[{kind}@{options.enterprise_id}"
    named = parameters(record)
    text = render_summary(record)
    bom = "" if text.isascii() else _BOM
    values = "".join(f' {name}="{_value(value)}"' for name, value in named)
    message = f"{header}{element}{values}] {bom}{text}".encode()
    if len(message) <= options.max_bytes:
        return message
    return _render_cut(header + element, named, text, options.max_bytes)


def _severity(record: Record, options: Rfc5424Options) -> Severity:
    if isinstance(record, FlowRecord):
        if record.action.rejected:
            return options.rejected
        if record.observed_action is not ActionType.NONE and record.observed_action.rejected:
            return options.observed
        return options.accepted
    if isinstance(record, PacketReport):
        return options.rejected if record.drop_reason else options.accepted
    return options.other


def _value(text: str) -> str:
    return _SPECIAL.sub(_escape_special, escape_text(text))


def _escape_special(match: re.Match[str]) -> str:
    return "\\" + match[0]


def _render_cut(start: str, named: Sequence[tuple[str, str]], text: str, max_bytes: int) -> bytes:
    """Render what fits, and say how much was left out.

    The longest values are cut first: a peer that sends a long URI cannot push out the verdict.
    """
    mark_bytes = len(f' truncated="{len(named)}"] {_BOM}'.encode())
    room = max_bytes - len(start.encode()) - mark_bytes
    for_text = min(len(text.encode()), max_bytes // _SHARE_OF_TEXT)
    sizes = [len(_value(value).encode()) for _, value in named]
    frames = [len(f' {name}=""') for name, _ in named]
    kept = len(named)
    needed = sum(frames) + sum(min(size, _SHORTEST_VALUE) for size in sizes)
    while kept and needed > room - for_text:
        kept -= 1
        needed -= frames[kept] + min(sizes[kept], _SHORTEST_VALUE)
    limit = _fill(sizes[:kept], room - for_text - sum(frames[:kept]))
    cut = len(named) - kept + sum(size > limit for size in sizes[:kept])
    values = "".join(f' {name}="{_prefix(value, limit, _value)}"' for name, value in named[:kept])
    mark = f' truncated="{cut}"' if cut else ""
    summary = _prefix(text, room - len(values.encode()), str)
    bom = "" if summary.isascii() else _BOM
    message = f"{start}{values}{mark}]"
    return (f"{message} {bom}{summary}" if summary else message).encode()


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
