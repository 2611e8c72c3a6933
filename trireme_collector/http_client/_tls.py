"""TLS as the options want it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.client_tls import client_context, identify_files, tls_reason, trust_system
from trireme_collector.option_secrets import Secret

if TYPE_CHECKING:
    import ssl

    from trireme_collector.client_tls import FileIdentities
    from trireme_collector.http_client._target import HttpTarget

__all__ = ["TlsError", "build_context", "fingerprint"]


class TlsError(Exception):
    """The files do not make a usable configuration; the message says which and why."""


def build_context(options: HttpTarget) -> ssl.SSLContext:
    """Make a context that trusts and shows what the options say.

    Raises:
        TlsError: A file cannot be used.
        SecretError: The password of the key cannot be read.
    """
    context = client_context(options.tls_minimum, verify=options.verify)
    if options.verify and options.ca_file:
        try:
            context.load_verify_locations(cafile=options.ca_file)
        except (OSError, ValueError) as error:
            msg = f"ca_file {options.ca_file!r} is not usable: {tls_reason(error)}"
            raise TlsError(msg) from error
    elif options.verify and not trust_system(context):
        raise TlsError("the system has no certificate authorities; install them or set ca_file")
    if options.client_certificate_file:
        _show_certificate(context, options)
    return context


def fingerprint(options: HttpTarget) -> FileIdentities:
    """Take down which files the options name now; ``build_context`` is needed when it changes."""
    return identify_files(
        options.ca_file,
        options.client_certificate_file,
        options.client_key_file,
        options.client_key_password_file,
    )


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
            f" {tls_reason(error)}{hint}"
        )
        raise TlsError(msg) from error
