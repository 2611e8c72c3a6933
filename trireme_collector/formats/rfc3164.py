"""Records as BSD syslog messages, RFC 3164, as local daemons and old receivers read them.

The message is the line for people, and after it the fields of the record in the form of RFC 5424
structured data: ``trireme[42]: flow REJECT tcp ... [flow@32473 source_ip="10.0.0.1" ...]``. A
receiver that reads only text can still rebuild the record.
"""

from __future__ import annotations

import functools
import re
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from trireme_collector.formats._structured_data import render_parameters
from trireme_collector.formats._syslog_message import Facility, Severity, cut_body, severity_of
from trireme_collector.formats.rfc5424 import EXAMPLE_ENTERPRISE_ID, SMALLEST_MAX_BYTES
from trireme_collector.formats.text import record_time_ns, render_summary

if TYPE_CHECKING:
    from trireme_collector.records import Record

__all__ = ["Rfc3164Options", "render_rfc3164"]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SECOND_NS = 1_000_000_000
_LAST_SECOND = 253_402_214_400  # a day before the year 10000, whatever the time zone
_LARGEST_TAG = 32
# Section 5.3 ends the tag at the first character that is not alphanumeric; receivers take these
# as well, and a process number in brackets.
_NOT_IN_TAG = re.compile(r"[^A-Za-z0-9_.-]")
_NOT_IN_HOSTNAME = re.compile(r"[^A-Za-z0-9_.:-]")
_NOT_IN_PROCID = re.compile(r"[^!-Z^-~]")
_LARGEST_HOSTNAME = 255


class Rfc3164Options(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the header, and how long a message may be.

    Attributes:
        facility: The facility of every message.
        accepted: The severity of accepted flows and passed packets.
        rejected: The severity of rejected flows and dropped packets.
        observed: The severity of flows that an observed policy would have rejected.
        other: The severity of all other records.
        hostname: The sending machine. ``""`` leaves it out, as programs do on a local socket.
        app_name: The application.
        procid: The process, ``""`` when it does not matter.
        enterprise_id: The private enterprise number in the names of the elements.
        max_bytes: The longest message, without framing.
        utc: Whether the time is that of UTC instead of the machine's time zone, which the RFC
            wants and receivers expect.
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
    utc: bool = False


def render_rfc3164(record: Record, options: Rfc3164Options, *, now_ns: int) -> bytes:
    r"""Render a record as one BSD syslog message, without framing.

    Values are escaped as by `render_rfc5424`: the message is UTF-8, printable and on one line.
    What is longer than ``max_bytes`` is cut and marked in the same way.

    Args:
        record: Any record.
        options: Header and limit.
        now_ns: The time of records that know none, nanoseconds since 1970 UTC: the format cannot
            do without one.
    """
    start = _start(options, type(record), severity_of(record, options))
    time_ns = record_time_ns(record)
    seconds = (now_ns if time_ns is None else time_ns) // _SECOND_NS
    if not 0 <= seconds <= _LAST_SECOND:
        seconds = 0
    head = f"{start.priority}{_second(seconds, options.utc)}{start.rest}"
    text = render_summary(record)
    message = f"{head}{text}{start.element}{render_parameters(record)}]".encode()
    if len(message) <= options.max_bytes:
        return message
    fixed = len(f"{head}{start.element}]".encode())
    body = cut_body(record, text, options.max_bytes, fixed)
    return f"{head}{body.summary}{start.element}{body.values}]".encode()


class _Start(NamedTuple):
    """A header around the time, and the beginning of the fields."""

    priority: str
    rest: str
    element: str


@functools.lru_cache(maxsize=128)
def _start(options: Rfc3164Options, kind: type[Record], severity: Severity) -> _Start:
    host = _NOT_IN_HOSTNAME.sub("_", options.hostname)[:_LARGEST_HOSTNAME]
    tag = _NOT_IN_TAG.sub("_", options.app_name)[:_LARGEST_TAG] or "-"
    process = _NOT_IN_PROCID.sub("_", options.procid)[:_LARGEST_TAG]
    return _Start(
        f"<{options.facility * 8 + severity}>",
        f"{' ' + host if host else ''} {tag}{f'[{process}]' if process else ''}: ",
        f" [{kind.__struct_config__.tag}@{options.enterprise_id}",
    )


@functools.lru_cache(maxsize=64)
def _second(seconds: int, utc: bool) -> str:  # noqa: FBT001  the key of a cache
    # Not strftime: the names of months are English in the RFC, whatever the locale.
    then = time.gmtime(seconds) if utc else time.localtime(seconds)
    clock = f"{then.tm_hour:02d}:{then.tm_min:02d}:{then.tm_sec:02d}"
    return f"{_MONTHS[then.tm_mon - 1]} {then.tm_mday:2d} {clock}"
