"""Secrets from files, the environment or systemd's credentials; they have no printed form.

A plugin has three options for each secret, and no option for its value::

    token_file: ReadableFile = ""
    token_env: VariableName = ""
    token_credential: CredentialName = ""

`check_sources` refuses more than one of them, and ``Secret.of_options(options, "token")`` gives
the secret, which is read whenever it is needed.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from msgspec import Meta

from trireme_collector.strict_toml import Unfit

if TYPE_CHECKING:
    from collections.abc import Callable

    from msgspec import Struct

__all__ = ["CredentialName", "Secret", "SecretError", "VariableName", "check_sources", "is_given"]

_SOURCES = ("file", "env", "credential")
_MAX_BYTES = 65_536
_VALUE = re.compile(rb"[!-~](?:[ \t!-~]*[!-~])?")


def is_given(options: Struct, name: str) -> bool:
    """Whether an option says where the secret of that name is."""
    return any(getattr(options, f"{name}_{source}") for source in _SOURCES)


def check_sources(options: Struct, *names: str) -> None:
    """Check that no secret is in two places.

    Raises:
        ValueError: One is.
    """
    for name in names:
        if len([1 for source in _SOURCES if getattr(options, f"{name}_{source}")]) > 1:
            msg = f"one of {name}_file, {name}_env and {name}_credential, not several"
            raise ValueError(msg)


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
    def of_options(cls, options: Struct, name: str) -> Secret | None:
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

    def line(self) -> bytes:
        """Give it as one line of any characters.

        Raises:
            SecretError: It cannot be read, or has several lines.
        """
        lines = self.lines()
        if len(lines) > 1:
            raise self.error("it has several lines; it must be one")
        return lines[0]

    def value(self) -> bytes:
        """Give it as one line that may stand in a header.

        Raises:
            SecretError: It cannot be read, or has other characters.
        """
        line = self.line()
        if not _VALUE.fullmatch(line):
            raise self.error("it has characters that are not printable ASCII")
        return line

    def error(self, reason: str) -> SecretError:
        """Say what is wrong with it."""
        return SecretError(f"{self._what} ({self._source}) cannot be used: {reason}")

    def __repr__(self) -> str:
        return f"<Secret: {self._what}>"


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


def _check_credential_name(value: object) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}", str(value)):
        raise Unfit("the name of a credential, without '/'", found="another text")


def _check_variable_name(value: object) -> None:
    # Somebody may have put the secret itself here.
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,254}", str(value)):
        raise Unfit("the name of an environment variable", found="another text")


CredentialName: TypeAlias = Annotated[str, Meta(extra={"validate": _check_credential_name})]
"""The name of a systemd credential."""
VariableName: TypeAlias = Annotated[str, Meta(extra={"validate": _check_variable_name})]
"""The name of an environment variable."""
