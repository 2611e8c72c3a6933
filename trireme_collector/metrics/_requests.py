"""The little of HTTP/1.1 that a scrape needs, as a total function over bytes."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["MAX_HEAD_BYTES", "Request", "read_request", "write_response"]

MAX_HEAD_BYTES: Final = 8192
"""A longer request is refused."""

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Request(NamedTuple):
    """What was asked for.

    Attributes:
        status: 0, or the status of the refusal.
        path: The path, without a query.
        accept: What the client reads, in lower case.
        is_head: Whether it wants no body.
    """

    status: int
    path: str = ""
    accept: str = ""
    is_head: bool = False


def read_request(data: bytes | bytearray) -> Request | None:
    """Read a request as far as it is there.

    Args:
        data: What the client has sent.

    Returns:
        The request or its refusal, or None while the head is not whole.
    """
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
    if end < 0:
        return Request(431) if len(data) >= MAX_HEAD_BYTES else None
    lines = bytes(data[:end]).decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or words[2] not in {"HTTP/1.1", "HTTP/1.0"}:
        return Request(400)
    method, target, _ = words
    if method not in {"GET", "HEAD"}:
        return Request(405)
    if not target.startswith("/"):
        return Request(400)
    accept = ""
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            return Request(400)
        if name.lower() == "accept":
            accept += value.lower()
    return Request(0, target.partition("?")[0], accept, method == "HEAD")


def write_response(status: int, content_type: str, body: bytes, *, is_head: bool) -> bytes:
    """Write an answer; the connection ends with it."""
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if status == 405:
        lines.append("Allow: GET, HEAD")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if is_head else head + body
