"""What collectors that send over HTTP share: options, TLS, credentials, requests and answers.

It needs an extra that brings ``httpx2``, which is imported with the first request.
"""

from __future__ import annotations

from trireme_collector.http_client._answers import (
    Answer,
    Meaning,
    explain,
    judge,
    retry_after_seconds,
)
from trireme_collector.http_client._checks import Url, check_url
from trireme_collector.http_client._exchange import MAX_ANSWER_BYTES
from trireme_collector.http_client._sender import HttpSender
from trireme_collector.http_client._target import HttpTarget

__all__ = [
    "MAX_ANSWER_BYTES",
    "Answer",
    "HttpSender",
    "HttpTarget",
    "Meaning",
    "Url",
    "check_url",
    "explain",
    "judge",
    "retry_after_seconds",
]
