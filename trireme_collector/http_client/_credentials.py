"""The headers by which a server recognizes us."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from trireme_collector.option_secrets import Secret, SecretError

if TYPE_CHECKING:
    from trireme_collector.http_client._target import HttpTarget

__all__ = ["Credentials"]


class Credentials:
    """What a receiver recognizes us by: headers that are secrets."""

    def __init__(self, options: HttpTarget) -> None:
        """Keep where the secrets are; read nothing."""
        self._token = Secret.of_options(options, "token")
        self._user = options.user
        self._password = Secret.of_options(options, "password")
        self._headers = {
            name: Secret.of_file(f"the header {name!r}", path)
            for name, path in options.header_files.items()
        }

    @property
    def is_empty(self) -> bool:
        """Whether nothing secret is sent."""
        return not (self._token or self._password or self._headers)

    def headers(self) -> dict[str, bytes]:
        """Read the headers.

        Raises:
            SecretError: A secret cannot be read.
        """
        found = {name: secret.value() for name, secret in self._headers.items()}
        if self._token is not None:
            found["Authorization"] = b"Bearer " + self._token.value()
        elif self._password is not None:
            # A password may hold any character: only its base64 form is sent.
            pair = self._user.encode() + b":" + self._password.line()
            found["Authorization"] = b"Basic " + base64.b64encode(pair)
        return found

    def spoken(self) -> list[bytes]:
        """Give what a server may repeat of them in an answer, in any form that it was told."""
        try:
            values = list(self.headers().values())
            if self._password is not None:
                values += self._password.lines()
        except SecretError:
            return []
        authorizations = (value.partition(b" ") for value in values)
        known = (b"Bearer", b"Basic")
        return values + [token for scheme, _, token in authorizations if scheme in known]
