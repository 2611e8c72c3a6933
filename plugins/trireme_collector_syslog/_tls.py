"""TLS as the options want it (RFC 5425)."""

from __future__ import annotations

import contextlib
import errno
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trireme_collector import ConfigError
from trireme_collector.client_tls import client_context, identify_files, tls_reason, trust_system

if TYPE_CHECKING:
    import socket

    from trireme_collector.client_tls import FileIdentities
    from trireme_collector_syslog._options import SyslogOptions

__all__ = ["TlsChannel", "TlsFiles", "explain_tls", "wrap"]

_RECORD_BYTES = 16_384  # RFC 8446 section 5.1: what one write may encrypt at once
_READ_BYTES = 65_536


class TlsFiles:
    """The context that the files of the options make, made anew when they change."""

    def __init__(self, options: SyslogOptions, name: str) -> None:
        """Take down the names; nothing is read."""
        self._options = options
        self._name = name
        self._seen: FileIdentities = ()
        self._context: ssl.SSLContext | None = None

    @property
    def changed(self) -> bool:
        """Whether a file is another one than when `context` looked last."""
        return self._fingerprint() != self._seen

    def context(self) -> ssl.SSLContext:
        """Give a context of the files as they are now.

        Raises:
            ConfigError: They do not make one. The context of before, if any, is still in use.
        """
        if self._context is None or self.changed:
            self._seen = self._fingerprint()
            self._context = _build(self._options, self._name)
        return self._context

    def last_context(self) -> ssl.SSLContext:
        """Give the context of the files as they last were good.

        Raises:
            ConfigError: They never were.
        """
        return self._context or self.context()

    def _fingerprint(self) -> FileIdentities:
        options = self._options
        return identify_files(
            options.ca_file, options.client_certificate_file, options.client_key_file
        )


class TlsChannel:
    """A TLS stream; see `Channel`."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        """Take over a connected socket with a timeout."""
        self._socket = connection
        self._record = b""

    @property
    def held(self) -> int:
        """How many bytes are encrypted and have not all left."""
        return len(self._record)

    def write(self, data: memoryview) -> int:
        """Encrypt one record and give it to the kernel, whole."""
        # A write that did not end in time has to be repeated with the very same bytes.
        record = self._record or bytes(data[:_RECORD_BYTES])
        self._record = record
        try:
            self._socket.sendall(record)
        except ssl.SSLEOFError as error:
            raise _gone() from error
        self._record = b""
        return len(record)

    def watch(self, seconds: float) -> None:
        """Notice a peer that has closed or refused us.

        A refusal comes after our side of the handshake is over (TLS 1.3), and only a read
        sees it.

        Raises:
            OSError: The connection is no longer there.
        """
        end = time.monotonic() + seconds
        timeout = self._socket.gettimeout()
        try:
            while True:
                self._socket.settimeout(max(0.0, end - time.monotonic()))
                if not self._socket.recv(_READ_BYTES):
                    break
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except ssl.SSLEOFError:
            pass
        except TimeoutError as error:
            if error.errno == errno.ETIMEDOUT:
                raise
            return
        finally:
            self._socket.settimeout(timeout)
        raise _gone()

    def finish(self, seconds: float) -> bool:
        """End the stream; see `Channel.finish`."""
        try:
            if self._record:
                return False
            self.watch(0)
            self._socket.settimeout(seconds)
            with contextlib.suppress(ssl.SSLEOFError):  # it closes without a word: in order too
                self._socket.unwrap()
        except (OSError, ValueError):
            return False
        finally:
            self._socket.close()
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def wrap(
    connection: socket.socket, context: ssl.SSLContext, options: SyslogOptions
) -> ssl.SSLSocket:
    """Shake hands within the socket's timeout, and check who the server is.

    Raises:
        OSError: It is not the right one, or does not speak TLS.
    """
    return context.wrap_socket(connection, server_hostname=options.server_name or options.host)


def explain_tls(error: OSError) -> str:
    """Say what is wrong and what to do, ``""`` for an error that is not about TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not accepted: {error.verify_message.lower()}; set"
            " ca_file to the authority that has signed it, or server_name to the name in it"
        )
    if not isinstance(error, ssl.SSLError):
        return ""
    reason = tls_reason(error)
    if "alert" in reason:
        return (
            f"the server refuses this client ({reason}); check client_certificate_file and what"
            " the server permits"
        )
    return f"no TLS connection ({reason}); check that port is one for TLS"


def _gone() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, "the server has closed the connection")


def _build(options: SyslogOptions, name: str) -> ssl.SSLContext:
    context = client_context(options.tls_minimum, verify=options.verify)
    if options.verify and options.ca_file:
        try:
            context.load_verify_locations(cafile=options.ca_file)
        except (OSError, ValueError) as error:
            msg = (
                f"collector {name!r}: ca_file {options.ca_file!r} cannot be used:"
                f" {tls_reason(error)}; it must be a readable file of certificates in PEM form"
            )
            raise ConfigError(msg) from error
    elif options.verify and not trust_system(context):
        msg = (
            f"collector {name!r}: this system has no certificate authorities; install them"
            " (Debian: ca-certificates) or set ca_file"
        )
        raise ConfigError(msg)
    if options.client_certificate_file:
        _show_certificate(context, options, name)
    return context


def _show_certificate(context: ssl.SSLContext, options: SyslogOptions, name: str) -> None:
    certificate, key = options.client_certificate_file, options.client_key_file
    for option, path in (("client_certificate_file", certificate), ("client_key_file", key)):
        try:
            if path:
                Path(path).read_bytes()
        except (OSError, ValueError) as error:
            msg = (
                f"collector {name!r}: {option} {path!r} cannot be read: {tls_reason(error)}; give"
                " the path of a file that the agent's user may read"
            )
            raise ConfigError(msg) from error
    try:
        # With a password given, if only an empty one, OpenSSL does not ask the terminal.
        context.load_cert_chain(certificate, key or None, lambda: b"")
    except (OSError, ValueError) as error:
        msg = (
            f"collector {name!r}: client_certificate_file {certificate!r} with the key in"
            f" {key or certificate!r} cannot be used: {tls_reason(error)}; both must be in PEM form"
            " and belong together, and the key must have no password"
        )
        raise ConfigError(msg) from error
