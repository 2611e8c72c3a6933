"""Requests to one server, with fresh secrets and certificates, and what its answers mean."""

from __future__ import annotations

import functools
import importlib.util
import ipaddress
import time
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from trireme_collector.delivery import FailureReporter
from trireme_collector.errors import (
    ConfigError,
    MissingExtraError,
    PermanentDeliveryError,
    RefusedCredentialsError,
    RetryableDeliveryError,
)
from trireme_collector.http_client._answers import Meaning, explain, judge, retry_after_seconds
from trireme_collector.http_client._credentials import Credentials
from trireme_collector.http_client._exchange import Exchange, ExchangeError
from trireme_collector.http_client._tls import TlsError, build_context, fingerprint
from trireme_collector.option_secrets import SecretError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.client_tls import FileIdentities
    from trireme_collector.http_client._answers import Answer
    from trireme_collector.http_client._target import HttpTarget

__all__ = ["HttpSender"]

_SIZE_INTERVAL_NS = 60 * 1_000_000_000  # how often it is said that bodies are too large
_TOO_LARGE = 413


class HttpSender:
    """Sends requests for one collector.

    Args:
        target: Where to, as whom, and how long that may take.
        name: What messages call the collector.
        extra: The extra that brings the library, for messages.
        headers: Headers of each request, beside those of the target.
        url: Where to, if that is not the URL of the target.
        method: The method of the requests.
        time_ns: The time of day, nanoseconds since 1970 UTC.
    """

    def __init__(
        self,
        target: HttpTarget,
        *,
        name: str,
        extra: str,
        headers: Mapping[str, str],
        url: str = "",
        method: str = "POST",
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Keep the options; read no secret and connect to nothing."""
        self._target = target
        self._name = name
        self._extra = extra
        self._url = url or target.url
        self._method = method
        self._time_ns = time_ns
        parts = urlsplit(self._url)
        self._host = parts.hostname or ""
        self._is_tls = parts.scheme == "https"
        # Without the query: it need not be shown to everybody who reads a log.
        self._shown_url = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._headers = {**target.headers, **headers, "Accept-Encoding": "identity"}
        if "user-agent" not in {name.lower() for name in target.headers}:
            self._headers["User-Agent"] = "trireme-collector"
        self._credentials = Credentials(target)
        self._reporter = FailureReporter(name, _SIZE_INTERVAL_NS)
        self._exchange: Exchange | None = None
        self._fingerprint: FileIdentities = ()

    def open(self) -> None:
        """Read certificates and secrets; the first request opens the connection.

        Raises:
            ConfigError: One of them cannot be used.
            MissingExtraError: The extra is not installed.
        """
        if importlib.util.find_spec("httpx2") is None:
            msg = (
                f"collector {self._name!r} needs the package httpx2:"
                f" pip install 'trireme-collector[{self._extra}]'"
            )
            raise MissingExtraError(msg)
        try:
            self._credentials.headers()
            self._renew(fingerprint(self._target))
        except (SecretError, TlsError) as error:
            raise ConfigError(f"collector {self._name!r}: {error}") from error
        self._announce()

    def reopen(self) -> None:
        """Close the connection; the next request opens another."""
        if self._exchange is not None:
            self._exchange.reset()

    def close(self) -> None:
        """Close the connection."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()

    def send(self, body: bytes, headers: Mapping[str, str], *, delivered: int = 0) -> Answer:
        """Send one request and read the answer.

        Args:
            body: The body, as it goes out.
            headers: Headers of this request alone.
            delivered: How many records of the batch were taken before; for the error.

        Raises:
            RetryableDeliveryError: There was no answer.
        """
        try:
            every: dict[str, str | bytes] = {**self._headers, **headers}
            every.update(self._credentials.headers())
            return self._connected().send(body, every)
        except (ExchangeError, SecretError, TlsError) as error:
            raise RetryableDeliveryError(self.message(str(error)), delivered=delivered) from error

    def judge(self, answer: Answer) -> Meaning:
        """Tell what an answer means for the records of its request."""
        return judge(answer, self._target.retry_statuses)

    def fail(
        self,
        answer: Answer,
        meaning: Meaning,
        *,
        delivered: int = 0,
        rejected: int | None = None,
        remedy: str = "it does not accept the token, the password or the certificate: mend it",
    ) -> NoReturn:
        """Raise what an answer means that is not "delivered".

        That the records of a batch are too large together is logged as well: it is divided then,
        each time anew, and a smaller body would spare that.

        Args:
            answer: The answer.
            meaning: What it means.
            delivered: How many records of the batch were taken before.
            rejected: How many after them it refuses, if it does; None for "some of them".
            remedy: What to do if it does not accept who we are.

        Raises:
            RefusedCredentialsError: The server does not accept who we are.
            RetryableDeliveryError: It is busy.
            PermanentDeliveryError: It refuses records for good.
        """
        message = self.message(explain(answer, self._url, self._credentials.spoken()))
        if meaning in (Meaning.RETRY, Meaning.CREDENTIAL_REFUSED):
            asked = retry_after_seconds(answer.headers, self._time_ns())
            if meaning is Meaning.RETRY:
                raise RetryableDeliveryError(message, delivered=delivered, retry_after=asked)
            raise RefusedCredentialsError(
                f"{message}; {remedy}", delivered=delivered, retry_after=asked
            )
        refused = PermanentDeliveryError(message, delivered=delivered, rejected=rejected)
        if answer.status == _TOO_LARGE and rejected is None:
            self._reporter.report(
                "body_too_large",
                refused,
                time.monotonic_ns(),
                remedy="set a smaller max_body_bytes, or a larger limit in the server",
            )
        raise refused

    def message(self, reason: str) -> str:
        """Say who cannot deliver where, and why."""
        return f"collector {self._name!r} cannot deliver to {self._shown_url}: {reason}"

    def _connected(self) -> Exchange:
        """Give the connection, a new one if the certificates have changed."""
        now = fingerprint(self._target) if self._is_tls else ()
        if self._exchange is None:
            return self._renew(now)
        if now != self._fingerprint:
            try:
                return self._renew(now)
            except (SecretError, TlsError) as error:
                # Half written, perhaps: go on with what worked until the files change again.
                self._fingerprint = now
                _logger().warning("certificates_kept", collector=self._name, error=str(error))
        return self._exchange

    def _renew(self, now: FileIdentities) -> Exchange:
        context: ssl.SSLContext | None = build_context(self._target) if self._is_tls else None
        self.close()
        self._exchange = Exchange(self._target, context, url=self._url, method=self._method)
        self._fingerprint = now
        return self._exchange

    def _announce(self) -> None:
        """Say at each start what is not as safe as it could be."""
        if self._is_tls and not self._target.verify:
            _logger().warning(
                "tls_verification_off",
                collector=self._name,
                url=self._shown_url,
                risk="anybody on the way can read and change what is sent",
                remedy="remove verify = false, set ca_file",
            )
        in_the_open = not self._is_tls and not _is_loopback(self._host)
        if in_the_open and not self._credentials.is_empty:
            _logger().warning(
                "credentials_unencrypted",
                collector=self._name,
                url=self._shown_url,
                remedy="use an https:// URL",
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@functools.cache
def _logger() -> FilteringBoundLogger:
    # Imported with the first message: it would be the largest part of loading a plugin.
    import structlog  # noqa: PLC0415

    logger: FilteringBoundLogger = structlog.get_logger("trireme_collector.http_client")
    return logger
