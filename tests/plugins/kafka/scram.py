"""The server's side of SCRAM (RFC 5802), for one login."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

__all__ = ["ScramServer"]

_ITERATIONS = 4096  # as many as Kafka asks for


class ScramServer:
    """Finds out whether a client knows a password, and shows that it knows it, too.

    Args:
        mechanism: ``SCRAM-SHA-256`` or ``SCRAM-SHA-512``.
        user: Who may log in.
        password: With which password.
    """

    def __init__(self, mechanism: str, user: str, password: str) -> None:
        self.mechanism = mechanism
        self.user = ""
        self._hash = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}[mechanism]
        self._wanted = user
        self._salt = secrets.token_bytes(16)
        self._salted = hashlib.pbkdf2_hmac(self._hash, password.encode(), self._salt, _ITERATIONS)
        self._nonce = ""
        self._said = ""

    def answer(self, message: str) -> str | None:
        """Give the next message; None if the client is refused."""
        return self._first(message) if not self._nonce else self._final(message)

    def _first(self, message: str) -> str:
        assert message.startswith("n,,")
        bare = message[3:]
        fields = _fields(bare)
        self.user = fields["n"]
        self._nonce = fields["r"] + secrets.token_hex(12)
        salt = base64.b64encode(self._salt).decode()
        said = f"r={self._nonce},s={salt},i={_ITERATIONS}"
        self._said = f"{bare},{said}"
        return said

    def _final(self, message: str) -> str | None:
        without_proof, _, proof = message.rpartition(",p=")
        fields = _fields(without_proof)
        if fields["r"] != self._nonce or self.user != self._wanted:
            return None
        said = f"{self._said},{without_proof}".encode()
        key = self._keyed(self._salted, b"Client Key")
        stored = hashlib.new(self._hash, key).digest()
        signature = self._keyed(stored, said)
        expected = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        if not hmac.compare_digest(expected, base64.b64decode(proof)):
            return None
        own = self._keyed(self._keyed(self._salted, b"Server Key"), said)
        return f"v={base64.b64encode(own).decode()}"

    def _keyed(self, key: bytes, message: bytes) -> bytes:
        return hmac.new(key, message, self._hash).digest()


def _fields(message: str) -> dict[str, str]:
    return {part[0]: part[2:] for part in message.split(",") if part}
