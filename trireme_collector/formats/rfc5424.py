"""Records as syslog messages, RFC 5424.

The fields of a record are the parameters of one structured-data element, named after its kind
and the private enterprise number: ``[flow@32473 source_ip="10.0.0.1" ...]``. The message is the
line for people. A receiver can rebuild the record from the parameters alone.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from trireme_collector.formats._structured_data import render_parameters
from trireme_collector.formats._syslog_message import Facility, Severity, cut_body, severity_of
from trireme_collector.formats._time import format_rfc3339
from trireme_collector.formats.text import record_time_ns, render_summary

if TYPE_CHECKING:
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
_LARGEST_NAME = {"app_name": 48, "hostname": 255, "procid": 128, "msgid": 32}
_NOT_IN_HEADER = re.compile(r"[^\x21-\x7e]")
_BOM = "\ufeff"


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
    kind = type(record)
    start = _start(options, kind, severity_of(record, options))
    time_ns = record_time_ns(record) or now_ns
    time = (format_rfc3339(time_ns) if time_ns is not None else "") or _NIL
    text = render_summary(record)
    values = render_parameters(record)
    bom = "" if text.isascii() else _BOM
    message = f"{start.priority}{time}{start.rest}{values}] {bom}{text}".encode()
    if len(message) <= options.max_bytes:
        return message
    fixed = len(f"{start.priority}{time}{start.rest}] {_BOM}".encode())
    body = cut_body(record, text, options.max_bytes, fixed)
    message_text = f"{start.priority}{time}{start.rest}{body.values}]"
    if body.summary:
        message_text += f" {'' if body.summary.isascii() else _BOM}{body.summary}"
    return message_text.encode()


class _Start(NamedTuple):
    """A header and the beginning of the structured data, around the time."""

    priority: str
    rest: str


# Every record of one kind and severity begins alike but for the time.
@functools.lru_cache(maxsize=128)
def _start(options: Rfc5424Options, kind: type[Record], severity: Severity) -> _Start:
    tag = str(kind.__struct_config__.tag)
    rest = (
        f" {header_field(options.hostname, 'hostname')}"
        f" {header_field(options.app_name, 'app_name')}"
        f" {header_field(options.procid, 'procid')}"
        f" {header_field(tag.upper(), 'msgid')} [{tag}@{options.enterprise_id}"
    )
    return _Start(f"<{options.facility * 8 + severity}>1 ", rest)
