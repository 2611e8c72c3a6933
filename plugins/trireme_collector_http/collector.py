"""The collector that posts batches of records to an HTTP server."""

from __future__ import annotations

import functools
import importlib.util
import ipaddress
import secrets
import time
from typing import TYPE_CHECKING, NamedTuple, NoReturn
from urllib.parse import urlsplit

from trireme_collector import (
    ConfigError,
    PermanentDeliveryError,
    RefusedCredentialsError,
    RetryableDeliveryError,
)
from trireme_collector.delivery import FailureReporter
from trireme_collector_http._answers import Meaning, explain, judge, retry_after_seconds
from trireme_collector_http._bodies import BodyForm, digest, is_numbered, render
from trireme_collector_http._exchange import Exchange, ExchangeError
from trireme_collector_http._secrets import Credentials, SecretError
from trireme_collector_http._signature import sign
from trireme_collector_http._tls import TlsError, build_context, fingerprint

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from structlog.typing import FilteringBoundLogger

    from trireme_collector import Record
    from trireme_collector_http._answers import Answer
    from trireme_collector_http._options import HttpOptions
    from trireme_collector_http._tls import Fingerprint

__all__ = ["HttpCollector"]

_NANOSECONDS = 1_000_000_000
_SIZE_INTERVAL_NS = 60 * _NANOSECONDS  # how often it is said that bodies are too large
_TOO_LARGE = 413


class _Unsettled(NamedTuple):
    """A request of which nobody knows whether it was taken: it must go out again as it was."""

    length: int
    digest: str
    key: str


class HttpCollector:
    """Posts records as JSON, one request a batch.

    A batch counts as delivered when the server has answered with a status from 200 to 299.

    Args:
        options: Where records go and how.
        name: What messages call the collector.
        time_ns: The time of day, nanoseconds since 1970 UTC.
    """

    def __init__(
        self, options: HttpOptions, *, name: str = "http", time_ns: Callable[[], int] = time.time_ns
    ) -> None:
        """Keep the options; read no secret and connect to nothing."""
        self._options = options
        self._name = name
        self._time_ns = time_ns
        parts = urlsplit(options.url)
        self._host = parts.hostname or ""
        self._is_tls = parts.scheme == "https"
        # Without the query: it need not be shown to everybody who reads a log.
        self._shown_url = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._form = BodyForm(options.format, options.compression)
        self._headers = {
            **options.headers,
            **self._form.headers,
            "Accept-Encoding": "identity",
        }
        if "user-agent" not in {name.lower() for name in options.headers}:
            self._headers["User-Agent"] = "trireme-collector"
        self._credentials = Credentials(options)
        self._reporter = FailureReporter(name, _SIZE_INTERVAL_NS)
        self._exchange: Exchange | None = None
        self._fingerprint: Fingerprint = ()
        self._unsettled: _Unsettled | None = None

    def open(self) -> None:
        """Read certificates and secrets; the first batch opens the connection.

        Raises:
            ConfigError: One of them cannot be used, or the extra is not installed.
        """
        if importlib.util.find_spec("httpx2") is None:
            msg = (
                f"collector {self._name!r} needs the package httpx2:"
                " pip install 'trireme-collector[http]'"
            )
            raise ConfigError(msg)
        try:
            self._credentials.headers()
            self._credentials.signing_keys()
            self._renew(fingerprint(self._options))
        except (SecretError, TlsError) as error:
            raise ConfigError(f"collector {self._name!r}: {error}") from error
        self._announce()

    def deliver(self, batch: Sequence[Record]) -> None:
        """Post the records.

        Raises:
            RefusedCredentialsError: The server does not accept who we are.
            RetryableDeliveryError: It is away or busy; ``delivered`` says how many records it
                has taken.
            PermanentDeliveryError: It refused records for good, one or some of them together.
        """
        texts = render(batch)
        numbered = is_numbered(batch)
        done = 0
        while done < len(texts):
            stop, key = self._next(texts, done)
            answer = self._post(texts, done, stop, key, numbered=numbered)
            meaning = judge(answer, self._options.retry_statuses)
            if meaning is not Meaning.DELIVERED:
                self._fail(answer, meaning, done, stop)
            self._unsettled = None
            done = stop

    def reopen(self) -> None:
        """Close the connection; the next batch opens another."""
        if self._exchange is not None:
            self._exchange.reset()

    def close(self) -> None:
        """Close the connection."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()

    def _next(self, texts: Sequence[bytes], start: int) -> tuple[int, str]:
        """Find the end of the next request, and its key if it goes out again."""
        unsettled, self._unsettled = self._unsettled, None
        if unsettled is not None and len(texts) >= start + unsettled.length:
            stop = start + unsettled.length
            if digest(texts[start:stop]) == unsettled.digest:
                return stop, unsettled.key
        return self._form.fitting(texts, start, self._options.max_body_bytes), ""

    def _post(
        self, texts: Sequence[bytes], start: int, stop: int, key: str, *, numbered: bool
    ) -> Answer:
        portion = texts[start:stop]
        summary = digest(portion)
        if not key:
            # Without identities, two batches may be alike and must not pass for one.
            key = f"msg_{summary}" if numbered else f"msg_{secrets.token_hex(16)}"
        body = self._form.build(portion)
        headers: dict[str, str | bytes] = {**self._headers, "Idempotency-Key": key}
        self._unsettled = _Unsettled(stop - start, summary, key)
        try:
            headers.update(self._credentials.headers())
            keys = self._credentials.signing_keys()
            if keys:
                seconds = self._time_ns() // _NANOSECONDS
                headers["webhook-id"] = key
                headers["webhook-timestamp"] = str(seconds)
                headers["webhook-signature"] = sign(keys, key, seconds, body)
            return self._connected().post(body, headers)
        except (ExchangeError, SecretError, TlsError) as error:
            raise RetryableDeliveryError(self._message(str(error)), delivered=start) from error

    def _fail(self, answer: Answer, meaning: Meaning, start: int, stop: int) -> NoReturn:
        message = self._message(explain(answer, self._options.url, self._credentials.spoken()))
        if meaning in (Meaning.RETRY, Meaning.CREDENTIAL_REFUSED):
            asked = retry_after_seconds(answer.headers, self._time_ns())
            if meaning is Meaning.RETRY:
                raise RetryableDeliveryError(message, delivered=start, retry_after=asked)
            message += "; it does not accept the token, the password or the certificate: mend it"
            raise RefusedCredentialsError(message, delivered=start, retry_after=asked)
        self._unsettled = None
        refused = PermanentDeliveryError(message, delivered=start, rejected=stop - start)
        if meaning is Meaning.DIVIDE and stop - start > 1:
            # Together, that is: nobody knows which.
            refused.rejected = None
            if answer.status == _TOO_LARGE:
                self._reporter.report(
                    "body_too_large",
                    refused,
                    time.monotonic_ns(),
                    remedy="set a smaller max_body_bytes, or a larger limit in the server",
                )
        raise refused

    def _connected(self) -> Exchange:
        """Give the connection, a new one if the certificates have changed."""
        now = fingerprint(self._options) if self._is_tls else ()
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

    def _renew(self, now: Fingerprint) -> Exchange:
        context: ssl.SSLContext | None = build_context(self._options) if self._is_tls else None
        self.close()
        self._exchange = Exchange(self._options, context)
        self._fingerprint = now
        return self._exchange

    def _announce(self) -> None:
        """Say at each start what is not as safe as it could be."""
        if self._is_tls and not self._options.verify:
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

    def _message(self, reason: str) -> str:
        return f"collector {self._name!r} cannot deliver to {self._shown_url}: {reason}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@functools.cache
def _logger() -> FilteringBoundLogger:
    # Imported with the first message: it would be the largest part of loading the plugin.
    import structlog  # noqa: PLC0415

    logger: FilteringBoundLogger = structlog.get_logger("trireme_collector.http")
    return logger
