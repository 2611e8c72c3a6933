"""What Loki says when it does not take lines."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trireme_collector.http_client import Answer

__all__ = ["BLOCKED", "lacks_tenant", "oldest_accepted_ns", "refuses_metadata"]

BLOCKED = 260
"""Taken and thrown away: a tenant's writes can be blocked."""

_NANOSECONDS = 1_000_000_000
_TOO_OLD = b"timestamp too old"
_OLDEST = b"oldest acceptable timestamp is: "
_LONGEST_TIME = len("2006-01-02T15:04:05.999999999Z")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def oldest_accepted_ns(answer: Answer) -> int | None:
    """Give the time before which lines are refused, if that is what Loki complains about."""
    body = answer.body
    complaint = body.find(_TOO_OLD) if answer.status == 400 else -1
    place = body.find(_OLDEST, complaint) if complaint >= 0 else -1
    if place < 0:
        return None
    text = body[place + len(_OLDEST) :][:_LONGEST_TIME].decode("ascii", "replace")
    moment, end, _ = text.partition("Z")
    whole, _, fraction = moment.partition(".")
    if not end or not (fraction or "0").isdecimal() or not whole.isascii():
        return None
    try:
        since = datetime.datetime.strptime(f"{whole}+0000", "%Y-%m-%dT%H:%M:%S%z") - _EPOCH
    except ValueError:
        return None
    seconds = since.days * 86_400 + since.seconds
    return seconds * _NANOSECONDS + int(fraction.ljust(9, "0")[:9])


def lacks_tenant(answer: Answer) -> bool:
    """Whether Loki serves several tenants, and was not told which."""
    return answer.status == 401 and b"no org id" in answer.body.lower()


def refuses_metadata(answer: Answer) -> bool:
    """Whether Loki says that it does not know structured metadata, or may not take it."""
    if answer.status != 400:
        return False
    body = answer.body.lower()
    return b"structured metadata" in body and (b"disallowed" in body or b"not allowed" in body)
