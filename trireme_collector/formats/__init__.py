"""Records as bytes and text: pure functions, without a transport."""

from __future__ import annotations

from trireme_collector.formats._escaping import escape_text, unescape_text
from trireme_collector.formats._time import format_rfc3339
from trireme_collector.formats.framing import Framing, frame_lf, frame_octet_counting
from trireme_collector.formats.hubble_json import (
    MAX_HUBBLE_LINE_BYTES,
    drop_to_hubble,
    flow_to_hubble,
    render_hubble_line,
    render_hubble_lines,
    render_hubble_response,
)
from trireme_collector.formats.icmp import icmp_text
from trireme_collector.formats.json_lines import render_json_line, render_json_lines
from trireme_collector.formats.rfc3164 import Rfc3164Options, render_rfc3164
from trireme_collector.formats.rfc5424 import (
    EXAMPLE_ENTERPRISE_ID,
    SMALLEST_MAX_BYTES,
    Facility,
    Rfc5424Options,
    Severity,
    header_field,
    render_rfc5424,
)
from trireme_collector.formats.text import (
    protocol_name,
    record_time_ns,
    render_summary,
    render_text,
)

__all__ = [
    "EXAMPLE_ENTERPRISE_ID",
    "MAX_HUBBLE_LINE_BYTES",
    "SMALLEST_MAX_BYTES",
    "Facility",
    "Framing",
    "Rfc3164Options",
    "Rfc5424Options",
    "Severity",
    "drop_to_hubble",
    "escape_text",
    "flow_to_hubble",
    "format_rfc3339",
    "frame_lf",
    "frame_octet_counting",
    "header_field",
    "icmp_text",
    "protocol_name",
    "record_time_ns",
    "render_hubble_line",
    "render_hubble_lines",
    "render_hubble_response",
    "render_json_line",
    "render_json_lines",
    "render_rfc3164",
    "render_rfc5424",
    "render_summary",
    "render_text",
    "unescape_text",
]
