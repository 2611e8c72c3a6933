"""Types of options that name a file: it is looked at when the configuration is read.

A plugin writes ``ca_file: AuthorityFile = ""`` in its options, and a file that is missing, cannot
be read or is not what it should be is a mistake with its line. No message repeats the path: a
secret may stand where it does not belong.
"""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path
from typing import Annotated, TypeAlias

from msgspec import Meta

from trireme_collector.strict_toml import Unfit

__all__ = ["AuthorityFile", "CertificateFile", "KeyFile", "ReadableFile"]

_LONGEST_BYTES = 1 << 20  # no chain of certificates is nearly so long


def _check_readable(value: object) -> None:
    expected = "a file that can be read"
    try:
        mode = os.stat(str(value)).st_mode  # noqa: PTH116  a Path hides impossible ones
        may_read = os.access(str(value), os.R_OK)
    except FileNotFoundError:
        found = "the path of a file that does not exist"
        raise Unfit(f"{expected}; check the path", found=found) from None
    except (OSError, ValueError):
        raise Unfit(f"{expected}; check the path", found="a path that cannot be used") from None
    if not stat.S_ISREG(mode):
        raise Unfit(f"{expected}; check the path", found="the path of something else")
    if not may_read:
        found = "a file that this user may not read"
        raise Unfit(f"{expected}; give the agent's user the right to", found=found)


def _check_authorities(value: object) -> None:
    _check_readable(value)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=str(value))
    except (OSError, ValueError):
        raise Unfit(
            "a file of certificates in PEM form", found="a file without a usable certificate"
        ) from None


def _check_holds(value: object, word: bytes, what: str) -> None:
    _check_readable(value)
    try:
        with Path(str(value)).open("rb") as file:
            text = file.read(_LONGEST_BYTES)
    except OSError:
        raise Unfit(f"a file with {what} in PEM form", found="a file that cannot be read") from None
    if b"-----BEGIN " not in text or word + b"-----" not in text:
        raise Unfit(f"a file with {what} in PEM form", found=f"a file without {what}")


def _check_certificate(value: object) -> None:
    _check_holds(value, b"CERTIFICATE", "a certificate")


def _check_key(value: object) -> None:
    _check_holds(value, b"PRIVATE KEY", "a private key")


ReadableFile: TypeAlias = Annotated[str, Meta(extra={"validate": _check_readable})]
"""The path of a file that the agent's user may read."""
AuthorityFile: TypeAlias = Annotated[str, Meta(extra={"validate": _check_authorities})]
"""The path of a file with the certificates of authorities, in PEM form."""
CertificateFile: TypeAlias = Annotated[str, Meta(extra={"validate": _check_certificate})]
"""The path of a file with a certificate, in PEM form."""
KeyFile: TypeAlias = Annotated[str, Meta(extra={"validate": _check_key})]
"""The path of a file with a private key, in PEM form; it may be encrypted."""
