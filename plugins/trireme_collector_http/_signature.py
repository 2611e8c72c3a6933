"""Signatures as Standard Webhooks defines them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["sign"]


def sign(keys: Iterable[bytes], message_id: str, timestamp_seconds: int, body: bytes) -> str:
    """Sign a request with each key, so that a receiver may know the old one or the new one.

    Args:
        keys: The keys.
        message_id: The value of ``webhook-id``.
        timestamp_seconds: The value of ``webhook-timestamp``.
        body: The body exactly as it is sent, compressed if it is.

    Returns:
        The value of ``webhook-signature``.
    """
    content = b".".join((message_id.encode(), str(timestamp_seconds).encode(), body))
    digests = (hmac.digest(key, content, hashlib.sha256) for key in keys)
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)
