"""TLS of those who connect: what they show, whom they trust, and when their files change."""

from __future__ import annotations

import contextlib
import os
import ssl
from pathlib import Path
from typing import TypeAlias

__all__ = [
    "FileIdentities",
    "check_client_key",
    "client_context",
    "identify_files",
    "tls_reason",
    "trust_system",
]

FileIdentities: TypeAlias = tuple[tuple[int, ...], ...]
"""Changes when one of the files is replaced or written."""

_MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# For interpreters whose OpenSSL was built to look elsewhere: Debian, Fedora, Alpine.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


def check_client_key(certificate: str, key: str, *, has_password: bool = False) -> None:
    """Refuse options that speak of a key, but not of the certificate to which it belongs.

    Args:
        certificate: The option ``client_certificate_file``.
        key: The option ``client_key_file``.
        has_password: Whether one of the options with the password of the key is set.

    Raises:
        ValueError: They do.
    """
    if key and not certificate:
        raise ValueError("client_certificate_file beside client_key_file")
    if has_password and not certificate:
        raise ValueError("client_certificate_file beside the password of its key")


def client_context(minimum: str, *, verify: bool) -> ssl.SSLContext:
    """Make a context that trusts nobody yet.

    Args:
        minimum: The oldest version of TLS to speak, ``1.2`` or ``1.3``.
        verify: Whether the server's certificate is checked at all.
    """
    # Not create_default_context(): it obeys SSLKEYLOGFILE, which would write down session keys.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _MINIMUM[minimum]
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def trust_system(context: ssl.SSLContext) -> bool:
    """Trust the authorities of this system; give whether there are any."""
    # By path, not by set_default_verify_paths(): that obeys SSL_CERT_FILE and SSL_CERT_DIR.
    known = ssl.get_default_verify_paths()
    file = next((f for f in (known.openssl_cafile, *_BUNDLES) if Path(f).is_file()), None)
    directory = known.openssl_capath if Path(known.openssl_capath).is_dir() else None
    if file is None and directory is None:
        return False
    with contextlib.suppress(ssl.SSLError):  # an empty bundle: the directory may have them
        context.load_verify_locations(cafile=file, capath=directory)
    return True


def tls_reason(error: Exception) -> str:
    """Say why a handshake failed, or a file cannot be used, as far as the library knows."""
    if isinstance(error, ssl.SSLError):
        # Only those that OpenSSL has caused have one.
        reason: str | None = getattr(error, "reason", None)
        return (reason or "not in PEM form").lower().replace("_", " ")
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error)


def identify_files(*names: str) -> FileIdentities:
    """Take down which files stand at these paths now; empty paths are left out."""
    return tuple(_identify(name) for name in names if name)


def _identify(name: str) -> tuple[int, ...]:
    try:
        status = os.stat(name)  # noqa: PTH116  once a request; a Path would cost more than the call
    except (OSError, ValueError):
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
