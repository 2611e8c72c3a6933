"""TLS as the options want it."""

from __future__ import annotations

import contextlib
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from trireme_collector.option_secrets import Secret

if TYPE_CHECKING:
    from trireme_collector.http_client._target import HttpTarget

__all__ = ["Fingerprint", "TlsError", "build_context", "fingerprint"]

Fingerprint = tuple[tuple[int, ...], ...]
"""Changes when one of the files of a configuration does."""

_MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# For interpreters whose OpenSSL was built to look elsewhere: Debian, Fedora, Alpine.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


class TlsError(Exception):
    """The files do not make a usable configuration; the message says which and why."""


def build_context(options: HttpTarget) -> ssl.SSLContext:
    """Make a context that trusts and shows what the options say.

    Raises:
        TlsError: A file cannot be used.
        SecretError: The password of the key cannot be read.
    """
    # Not create_default_context(): it obeys SSLKEYLOGFILE, which would write down session keys.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _MINIMUM[options.tls_minimum]
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif options.ca_file:
        try:
            context.load_verify_locations(cafile=options.ca_file)
        except (OSError, ValueError) as error:
            msg = f"ca_file {options.ca_file!r} is not usable: {_reason(error)}"
            raise TlsError(msg) from error
    else:
        _trust_system(context)
    if options.client_certificate_file:
        _show_certificate(context, options)
    return context


def fingerprint(options: HttpTarget) -> Fingerprint:
    """Take down which files the options name now; ``build_context`` is needed when it changes."""
    names = (options.ca_file, options.client_certificate_file, options.client_key_file)
    return tuple(_identity(name) for name in (*names, options.client_key_password_file) if name)


def _identity(name: str) -> tuple[int, ...]:
    try:
        status = os.stat(name)  # noqa: PTH116  once a request; a Path would cost more than the call
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _trust_system(context: ssl.SSLContext) -> None:
    # By path, not by set_default_verify_paths(): that obeys SSL_CERT_FILE and SSL_CERT_DIR.
    known = ssl.get_default_verify_paths()
    file = next((f for f in (known.openssl_cafile, *_BUNDLES) if Path(f).is_file()), None)
    directory = known.openssl_capath if Path(known.openssl_capath).is_dir() else None
    if file is None and directory is None:
        raise TlsError("the system has no certificate authorities; install them or set ca_file")
    with contextlib.suppress(ssl.SSLError):  # an empty bundle: the directory may have them
        context.load_verify_locations(cafile=file, capath=directory)


def _show_certificate(context: ssl.SSLContext, options: HttpTarget) -> None:
    certificate = options.client_certificate_file
    secret = Secret.of_options(options, "client_key_password")
    password = b"" if secret is None else secret.lines()[0]
    try:
        # With a password given, if only an empty one, OpenSSL does not ask the terminal.
        context.load_cert_chain(certificate, options.client_key_file or None, lambda: password)
    except (OSError, ValueError) as error:
        key = options.client_key_file or certificate
        hint = "" if secret else "; set client_key_password_file if the key is encrypted"
        msg = (
            f"client certificate {certificate!r} with key {key!r} is not usable:"
            f" {_reason(error)}{hint}"
        )
        raise TlsError(msg) from error


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "not in PEM form"
        return reason.lower().replace("_", " ")
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error)
