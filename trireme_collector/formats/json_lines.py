"""Records as lines of JSON, one record per line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trireme_collector.formats._escaping import json_escape
from trireme_collector.records import encode_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trireme_collector.records import Record

__all__ = ["printable_json", "render_json_line", "render_json_lines"]

# The encoder has escaped everything below U+0020 already.
_HARMLESS = re.compile(rb"[ -~]*")


def render_json_line(record: Record) -> bytes:
    """Render a record as one line of JSON, UTF-8, with its line end.

    Characters that are not printable are written as JSON escapes, so that a terminal shows a
    file as it is; a JSON reader sees the same text as ever.
    """
    return printable_json(encode_json(record)) + b"\n"


def render_json_lines(records: Iterable[Record]) -> bytes:
    """Render records as lines of JSON; see `render_json_line`."""
    return b"".join([printable_json(encode_json(record)) + b"\n" for record in records])


def printable_json(line: bytes) -> bytes:
    """Write what is not printable in a line of JSON as JSON escapes."""
    if _HARMLESS.fullmatch(line):
        return line
    text = line.decode()
    # Outside of strings JSON is plain ASCII, so whatever is not printable stands in a string.
    return "".join(c if c.isprintable() else json_escape(c) for c in text).encode()
