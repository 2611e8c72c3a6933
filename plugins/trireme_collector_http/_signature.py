"""Signatures as Standard Webhooks defines them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trireme_collector.option_secrets import Secret

__all__ = ["read_keys", "sign"]

_PREFIX = b"whsec_"
_MIN_BYTES = 16  # what is shorter can be found by trying


def read_keys(secret: Secret | None) -> list[bytes]:
    """Read the keys that requests are signed by; none without a secret.

    Raises:
        SecretError: It cannot be read, or has another form.
    """
    return [] if secret is None else [_key(line, secret) for line in secret.lines()]


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


def _key(line: bytes, secret: Secret) -> bytes:
    if not line.startswith(_PREFIX):
        raise secret.error("it does not begin with 'whsec_'")
    encoded = line.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        # Not "from": the original would carry the text.
        raise secret.error("what follows 'whsec_' is not base64") from None
    if len(key) < _MIN_BYTES:
        raise secret.error(f"it holds fewer than {_MIN_BYTES} bytes; make one of 24 to 64")
    return key
