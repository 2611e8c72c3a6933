"""Records as the body of a request."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING

from msgspec import UNSET

from trireme_collector.formats import render_json_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trireme_collector import Record

__all__ = ["BodyForm", "digest", "is_numbered", "text_form"]

_GZIP_LEVEL = 6


class BodyForm:
    """How texts of records become a body.

    Args:
        layout: ``json`` for one array, anything else for lines.
        compression: ``gzip`` or ``none``.
    """

    def __init__(self, layout: str, compression: str) -> None:
        """Work out the headers."""
        self._is_array = layout == "json"
        self._is_gzip = compression == "gzip"
        kind = "application/json" if self._is_array else "application/x-ndjson"
        self.headers = {"Content-Type": kind}
        if self._is_gzip:
            self.headers["Content-Encoding"] = "gzip"

    def build(self, texts: Sequence[bytes]) -> bytes:
        """Put the records together; the same ones give the same bytes."""
        body = b"[" + b",".join(texts) + b"]" if self._is_array else b"\n".join((*texts, b""))
        # Without a time, a body that is sent again would differ, and so would its signature.
        return gzip.compress(body, _GZIP_LEVEL, mtime=0) if self._is_gzip else body

    def fitting(self, texts: Sequence[bytes], start: int, limit_bytes: int) -> int:
        """Find where a body of at most so many bytes ends that begins at ``start``.

        Returns:
            The index after its last record. It holds one at least, however long.
        """
        size = 2
        for index in range(start, len(texts)):
            size += len(texts[index]) + 1
            if size > limit_bytes and index > start:
                return index
        return len(texts)


def text_form(
    layout: str,
    *,
    agent_ip: str = "",
    enrich: Callable[[Mapping[str, object]], dict[str, object]] | None = None,
) -> Callable[[Record], bytes]:
    """Give the function that writes a record as JSON, printable, without a line end.

    Args:
        layout: ``netobserv`` for flow logs, one a line; anything else for the record itself.
        agent_ip: The address of this host, for flow logs.
        enrich: Adds to flow logs what is known of their ends.
    """
    if layout != "netobserv":
        return lambda record: render_json_line(record)[:-1]

    # The format brings a good part of the library along.
    from trireme_collector.formats.netobserv import render_netobserv  # noqa: PLC0415

    def render(record: Record) -> bytes:
        lines = render_netobserv(record, agent_ip=agent_ip or UNSET, enrich=enrich)
        return b"\n".join(lines)

    return render


def digest(texts: Sequence[bytes]) -> str:
    """Sum up records by their content."""
    whole = hashlib.sha256()
    for text in texts:
        whole.update(text)
        whole.update(b"\n")
    return whole.hexdigest()[:32]


def is_numbered(records: Sequence[Record]) -> bool:
    """Whether each record has an identity of its own, so that no two batches are alike."""
    return all(record.instance and record.epoch and record.sequence for record in records)
