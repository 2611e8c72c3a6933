"""What an answer says about the records that were sent."""

from __future__ import annotations

import datetime
import email.utils
import enum
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

from trireme_collector.formats import escape_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = ["Answer", "Meaning", "explain", "judge", "retry_after_seconds"]

_LONGEST_SECONDS = 3600.0
_SHOWN_CHARACTERS = 200
_SECONDS = re.compile(r"[0-9]+")
_BUSY = frozenset({408, 421, 425, 429})
_DIVIDED = frozenset({400, 413, 422})
_CREDENTIAL = frozenset({401, 403, 407})
# Servers say 400 where no request was understood, because TLS was not as they want it.
_NOT_ABOUT_RECORDS = (b"SSL certificate", b"plain HTTP")


class Meaning(enum.Enum):
    """What is to be done after an answer."""

    DELIVERED = "delivered"
    RETRY = "retry"
    CREDENTIAL_REFUSED = "credential refused"
    DIVIDE = "divide"
    REFUSED = "refused"


class Answer(NamedTuple):
    """What a server said.

    Attributes:
        status: The status code.
        headers: The headers, names in lower case.
        body: The start of the body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def judge(answer: Answer, retry_statuses: Collection[int] = ()) -> Meaning:
    """Tell what an answer means for the records of its request."""
    status = answer.status
    if 200 <= status < 300:
        return Meaning.DELIVERED
    if status == 400 and any(words in answer.body for words in _NOT_ABOUT_RECORDS):
        return Meaning.CREDENTIAL_REFUSED
    if status in _DIVIDED:
        return Meaning.DIVIDE
    if status in retry_statuses or status in _BUSY or not 300 <= status < 500:
        return Meaning.RETRY
    if status in _CREDENTIAL:
        return Meaning.CREDENTIAL_REFUSED
    return Meaning.REFUSED


def retry_after_seconds(headers: Mapping[str, str], now_ns: int) -> float | None:
    """Read ``Retry-After`` in either form.

    A date counts from the server's own ``Date``, so that its clock and ours need not agree.

    Args:
        headers: The headers of the answer.
        now_ns: The time of day, nanoseconds since 1970 UTC; for answers without ``Date``.

    Returns:
        Seconds to wait, an hour at most; None when nothing useful is said. No pause at all is
        not useful: it would be a busy loop.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        # More digits than an hour needs: int() refuses very long ones.
        seconds = _LONGEST_SECONDS if len(text.lstrip("0")) > 4 else float(int(text))
    else:
        until = _parse_date(text)
        if until is None:
            return None
        since = _parse_date(headers.get("date", ""))
        seconds = until - (now_ns / 1e9 if since is None else since)
    return min(seconds, _LONGEST_SECONDS) if seconds > 0 else None


def explain(answer: Answer, url: str, secrets: Iterable[bytes] = ()) -> str:
    """Say what the server answered, without what it may have repeated of our secrets."""
    status = answer.status
    if 300 <= status < 400 and "location" in answer.headers:
        target = _host(url, answer.headers["location"])
        return (
            f"it redirects to {target} (status {status}); redirects are not followed: set url to"
            " where records are to go"
        )
    body = answer.body
    for secret in sorted(secrets, key=len, reverse=True):
        body = body.replace(secret, b"(not shown)")
    text = " ".join(body[: 4 * _SHOWN_CHARACTERS].decode("utf-8", "replace").split())
    shown = escape_text(text[:_SHOWN_CHARACTERS]) + ("…" if len(text) > _SHOWN_CHARACTERS else "")
    return f"it answered with status {status}" + (f": {shown}" if shown else "")


def _parse_date(text: str) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
        if moment.tzinfo is None:
            # The oldest of the three forms names no zone; it is UTC (RFC 9110, section 5.6.7).
            moment = moment.replace(tzinfo=datetime.UTC)
        return moment.timestamp()
    except (ValueError, OverflowError, TypeError):
        return None


def _host(url: str, location: str) -> str:
    try:
        parts = urlsplit(urljoin(url, location))
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an impossible place"
    return repr(escape_text(host[:_SHOWN_CHARACTERS])) + port if host else "another place"
