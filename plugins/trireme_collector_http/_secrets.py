"""Secrets from files, the environment or systemd's credentials; they have no printed form."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_collector_http._options import HttpOptions

__all__ = ["Credentials", "Secret", "SecretError"]

_MAX_BYTES = 65_536
_VALUE = re.compile(rb"[!-~](?:[ \t!-~]*[!-~])?")
_SIGNING_PREFIX = b"whsec_"
_MIN_SIGNING_BYTES = 16  # what is shorter can be found by trying


class SecretError(Exception):
    """A secret cannot be had; the message says why without any part of it."""


class Secret:
    """One secret, read whenever it is needed, so that a changed one is used at once.

    Args:
        what: What messages call it, such as ``the token``.
        source: Where it is, for messages.
        read: Gives it.
    """

    def __init__(self, what: str, source: str, read: Callable[[], bytes]) -> None:
        """Keep where it is; read nothing."""
        self._what = what
        self._source = source
        self._read = read

    @classmethod
    def of_file(cls, what: str, path: str) -> Secret:
        """Take a secret from a file."""
        return cls(what, f"file {path!r}", lambda: _read_file(Path(path)))

    @classmethod
    def of_options(cls, options: HttpOptions, name: str) -> Secret | None:
        """Take the secret of the options ``<name>_file``, ``_env`` and ``_credential``, if any."""
        what = "the " + name.replace("_", " ")
        if path := getattr(options, f"{name}_file"):
            return cls.of_file(what, path)
        if variable := getattr(options, f"{name}_env"):
            source = f"environment variable {variable}"
            return cls(what, source, lambda: _read_variable(variable))
        if credential := getattr(options, f"{name}_credential"):
            source = f"credential {credential!r}"
            return cls(what, source, lambda: _read_credential(credential))
        return None

    def lines(self) -> list[bytes]:
        """Give its lines, those that are empty left out; at least one.

        Raises:
            SecretError: It cannot be read, or is none.
        """
        try:
            text = self._read()
        except OSError as error:
            raise self.error((error.strerror or str(error)).lower()) from error
        except LookupError as error:
            raise self.error(str(error.args[0])) from error
        lines = [line.rstrip(b"\r") for line in text.split(b"\n") if line.rstrip(b"\r")]
        if not lines:
            raise self.error("it is empty")
        return lines

    def value(self) -> bytes:
        """Give it as one line that may stand in a header.

        Raises:
            SecretError: It cannot be read, or has other characters.
        """
        lines = self.lines()
        if len(lines) > 1:
            raise self.error("it has several lines; it must be one")
        if not _VALUE.fullmatch(lines[0]):
            raise self.error("it has characters that are not printable ASCII")
        return lines[0]

    def error(self, reason: str) -> SecretError:
        """Say what is wrong with it."""
        return SecretError(f"{self._what} ({self._source}) cannot be used: {reason}")

    def __repr__(self) -> str:
        return f"<Secret: {self._what}>"


class Credentials:
    """What a receiver recognizes us by: headers, and the secrets that sign requests."""

    def __init__(self, options: HttpOptions) -> None:
        """Keep where the secrets are; read nothing."""
        self._token = Secret.of_options(options, "token")
        self._user = options.user
        self._password = Secret.of_options(options, "password")
        self._signing = Secret.of_options(options, "signing_secret")
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
            lines = self._password.lines()
            if len(lines) > 1:
                raise self._password.error("it has several lines; it must be one")
            pair = self._user.encode() + b":" + lines[0]
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

    def signing_keys(self) -> list[bytes]:
        """Read the keys that requests are signed by; none when they are not.

        Raises:
            SecretError: A secret cannot be read, or has another form.
        """
        secret = self._signing
        return [] if secret is None else [_signing_key(line, secret) for line in secret.lines()]


def _signing_key(line: bytes, secret: Secret) -> bytes:
    if not line.startswith(_SIGNING_PREFIX):
        raise secret.error("it does not begin with 'whsec_'")
    encoded = line.removeprefix(_SIGNING_PREFIX)
    try:
        key = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        # Not "from": the original would carry the text.
        raise secret.error("what follows 'whsec_' is not base64") from None
    if len(key) < _MIN_SIGNING_BYTES:
        raise secret.error(f"it holds fewer than {_MIN_SIGNING_BYTES} bytes; make one of 24 to 64")
    return key


def _read_file(path: Path) -> bytes:
    # Not blocking: a pipe without a writer must not hold up the delivery.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:  # noqa: PTH123  it is a descriptor
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise LookupError("it is not a regular file")
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise LookupError(f"it is larger than {_MAX_BYTES} bytes")
    return content


def _read_variable(name: str) -> bytes:
    value = os.environb.get(name.encode())
    if value is None:
        raise LookupError("it is not set")
    return value


def _read_credential(name: str) -> bytes:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise LookupError(
            "CREDENTIALS_DIRECTORY is not set; give the service LoadCredential= in its unit"
        )
    return _read_file(Path(directory) / name)
