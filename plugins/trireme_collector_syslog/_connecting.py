"""Senders to the server of the options, connected."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from trireme_collector import ConfigError
from trireme_collector.formats import Framing, frame_lf, frame_octet_counting
from trireme_collector_syslog._channels import PlainChannel
from trireme_collector_syslog._resend import ResendWindow
from trireme_collector_syslog._senders import DatagramSender
from trireme_collector_syslog._sockets import connect, is_stream
from trireme_collector_syslog._streams import StreamSender

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from trireme_collector_syslog._options import SyslogOptions
    from trireme_collector_syslog._relp import RelpSender
    from trireme_collector_syslog._senders import Sender
    from trireme_collector_syslog._tls import TlsFiles

__all__ = ["Connector"]

_LOOK_SECONDS = 1.0
_FINISH_SECONDS = 1.0


class Connector:
    """Makes senders, and remembers between them what may have to be sent again."""

    def __init__(
        self,
        options: SyslogOptions,
        name: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take down what to connect to; nothing is opened."""
        self._options = options
        self._name = name
        self._monotonic = monotonic
        self._window = ResendWindow(options.resend_window_bytes, options.resend_window_seconds)
        self._tls: TlsFiles | None = None
        self._looked_at = 0.0
        self._broken = False

    @property
    def owed(self) -> int:
        """How many messages a broken connection may have lost, and no other has sent again."""
        return len(self._window) if self._broken else 0

    def broke(self) -> None:
        """Take down that the connection broke: it may have lost what it sent last."""
        self._broken = True

    def prepare(self) -> None:
        """Read the certificates, and say so if the server's will not be checked.

        Raises:
            ConfigError: They cannot be used.
        """
        if not self._options.has_tls:
            return
        self._files().context()
        if not self._options.verify:
            _logger().warning(
                "syslog_server_not_verified",
                collector=self._name,
                host=self._options.host,
                remedy="anyone on the way can read and change the records; set verify = true",
            )

    def connect(self) -> Sender:
        """Connect.

        Raises:
            OSError: The server cannot be reached, or is not the one it should be.
            ConfigError: The certificates cannot be used and never could.
        """
        options = self._options
        connection = connect(options)
        try:
            sender = self._sender(connection)
        except BaseException:
            connection.close()
            raise
        self._broken = False
        return sender

    def outdated(self) -> bool:
        """Whether the certificates have changed since the last connection, and are usable.

        The files are looked at once a second at most.
        """
        now = self._monotonic()
        if self._tls is None or now < self._looked_at + _LOOK_SECONDS:
            return False
        self._looked_at = now
        return self._tls.changed and self._reload()

    def _sender(self, connection: socket.socket) -> Sender:
        options = self._options
        if not is_stream(connection):
            connection.settimeout(options.send_timeout_seconds)
            return DatagramSender(connection)
        if options.transport in {"relp", "relp+tls"}:
            return self._relp_sender(connection)
        octets = options.framing is Framing.OCTET_COUNTING
        stream = functools.partial(
            StreamSender,
            frame=frame_octet_counting if octets else frame_lf,
            window=self._window,
            finish_seconds=min(_FINISH_SECONDS, options.send_timeout_seconds),
            monotonic=self._monotonic,
        )
        if options.transport == "tls":
            from trireme_collector_syslog import _tls  # noqa: PLC0415  ssl is slow to import

            secured = _tls.wrap(connection, self._context_files().last_context(), options)
            secured.settimeout(options.send_timeout_seconds)
            sender = stream(_tls.TlsChannel(secured), settle_seconds=options.settle_seconds)
        else:
            connection.settimeout(options.send_timeout_seconds)
            sender = stream(PlainChannel(connection))
        if sender.again:
            _logger().warning("syslog_sent_again", collector=self._name, messages=sender.again)
        return sender

    def _relp_sender(self, connection: socket.socket) -> RelpSender:
        from trireme_collector_syslog._relp import RelpSender  # noqa: PLC0415  for those who use it

        options = self._options
        would_block: tuple[type[OSError], ...] = (BlockingIOError,)
        if options.transport == "relp+tls":
            import ssl  # noqa: PLC0415  slow to import

            from trireme_collector_syslog import _tls  # noqa: PLC0415  as above

            connection = _tls.wrap(connection, self._context_files().last_context(), options)
            would_block = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        sender = RelpSender(
            connection,
            window=options.relp_window,
            timeout_seconds=options.send_timeout_seconds,
            would_block=would_block,
            monotonic=self._monotonic,
        )
        try:
            sender.open(options.connect_timeout_seconds)
        except BaseException:
            sender.close()
            raise
        return sender

    def _context_files(self) -> TlsFiles:
        """Give the certificates, read again if they have changed."""
        files = self._files()
        if files.changed:
            self._reload()
        return files

    def _reload(self) -> bool:
        try:
            self._files().context()
        except ConfigError as error:
            _logger().warning(
                "syslog_certificates_not_reloaded",
                collector=self._name,
                error=str(error),
                remedy="those of before are still in use",
            )
            return False
        return True

    def _files(self) -> TlsFiles:
        if self._tls is None:
            from trireme_collector_syslog._tls import TlsFiles  # noqa: PLC0415  ssl is slow to import

            self._tls = TlsFiles(self._options, self._name)
        return self._tls


@functools.cache
def _logger() -> FilteringBoundLogger:
    # Imported with the first event: it would be the largest part of importing the plugin.
    import structlog  # noqa: PLC0415

    logger: FilteringBoundLogger = structlog.get_logger("trireme_collector.syslog")
    return logger
