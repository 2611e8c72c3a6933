"""Records as bytes and text: pure functions, without framing and without a transport."""

from __future__ import annotations

from trireme_collector.formats._escaping import escape_text, unescape_text
from trireme_collector.formats._time import format_rfc3339
from trireme_collector.formats.text import (
    protocol_name,
    record_time_ns,
    render_summary,
    render_text,
)

__all__ = [
    "escape_text",
    "format_rfc3339",
    "protocol_name",
    "record_time_ns",
    "render_summary",
    "render_text",
    "unescape_text",
]
