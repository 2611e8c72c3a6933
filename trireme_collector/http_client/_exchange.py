"""One request and its answer, within limits of time and size."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import urllib.request
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import urlsplit

from trireme_collector.formats import escape_text
from trireme_collector.http_client._answers import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx2

    from trireme_collector.http_client._target import HttpTarget

__all__ = ["MAX_ANSWER_BYTES", "Exchange", "ExchangeError"]

MAX_ANSWER_BYTES = 65_536
"""As much of an answer is read. Nothing in it is needed but for messages."""

_SHOWN_CHARACTERS = 200


class ExchangeError(Exception):
    """There was no complete answer; the message says why."""


class _NetworkStream(Protocol):
    def get_extra_info(self, info: str) -> object: ...


class Exchange:
    """Sends requests over one connection, which it opens when there is none.

    Args:
        options: Through what, and how long it may take.
        context: TLS, for ``https``.
        url: Where to.
        method: The method of the requests.
    """

    def __init__(
        self, options: HttpTarget, context: ssl.SSLContext | None, *, url: str, method: str
    ) -> None:
        """Connect to nothing yet."""
        self._options = options
        self._url = url
        self._method = method
        self._context = context
        self._transport: httpx2.HTTPTransport | None = None
        self._offers_http2 = options.http2
        self._watchdog = _Watchdog()
        self._extensions: dict[str, object] = {
            "timeout": {
                "connect": options.connect_timeout_seconds,
                "read": options.timeout_seconds,
                "write": options.timeout_seconds,
                "pool": options.connect_timeout_seconds,
            },
            "trace": self._watchdog.trace,
        }
        if options.server_name:
            self._extensions["sni_hostname"] = options.server_name
        if options.http2:
            # Its debug messages hold every header, the secret ones too.
            logging.getLogger("hpack").setLevel(logging.WARNING)

    def send(self, body: bytes, headers: Mapping[str, str | bytes]) -> Answer:
        """Send a request and read its answer, or the first 64 KiB of it.

        Raises:
            ExchangeError: There was no answer, or its end did not come.
        """
        import httpx2  # noqa: PLC0415  belongs to the extra

        raw = [(name.encode(), _bytes(value)) for name, value in headers.items()]
        options = self._options
        if not options.keep_alive_seconds and not self._offers_http2:
            raw.append((b"Connection", b"close"))  # HTTP/2 has no such header
        request = httpx2.Request(
            self._method, self._url, headers=raw, content=body, extensions=self._extensions
        )
        with self._watchdog.limit(options.timeout_seconds):
            try:
                answer, is_whole = _read(self._opened().handle_request(request))
            except Exception as error:
                # Whatever a peer makes the library raise must not cost records: it is tried
                # again, on a new connection.
                reason = self._explain(error)
                if self._watchdog.is_sending_http2 and self._is_stuck(error):
                    # An answer before the end of the request, such as 413, leaves the library
                    # waiting for room to send the rest. Over HTTP/1.1 it sees such answers.
                    self._offers_http2 = False
                    reason += "; the request did not get through: HTTP/1.1 is spoken from now on"
                self.close()
                raise ExchangeError(reason) from error
        if not is_whole:
            self.close()
        return answer

    def reset(self) -> None:
        """Close the connection, and offer the next one all that is configured."""
        self.close()
        self._offers_http2 = self._options.http2

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        transport, self._transport = self._transport, None
        self._watchdog.forget()
        if transport is not None:
            with contextlib.suppress(OSError):
                transport.close()

    def _opened(self) -> httpx2.HTTPTransport:
        if self._transport is None:
            import httpx2  # noqa: PLC0415  belongs to the extra

            options = self._options
            keep = options.keep_alive_seconds
            self._transport = httpx2.HTTPTransport(
                verify=False if self._context is None else self._context,
                trust_env=False,
                http2=self._offers_http2,
                limits=httpx2.Limits(
                    max_connections=1,
                    max_keepalive_connections=1 if keep else 0,
                    keepalive_expiry=keep,
                ),
                proxy=_proxy(options),
            )
        return self._transport

    def _is_stuck(self, error: Exception) -> bool:
        """Whether the request went no further on a connection that was still there."""
        kinds = ("ReadTimeout", "LocalProtocolError")
        return self._watchdog.is_expired or type(error).__name__ in kinds

    def _explain(self, error: Exception) -> str:
        if self._watchdog.is_expired:
            return f"no complete answer within {self._options.timeout_seconds:g} s"
        kind = type(error).__name__
        if kind == "ConnectTimeout":
            return f"no connection within {self._options.connect_timeout_seconds:g} s"
        if kind in ("ReadTimeout", "WriteTimeout"):
            return f"no complete answer within {self._options.timeout_seconds:g} s"
        cause = _cause(error)
        if cause is not None:
            return _explain_cause(cause)
        if kind == "ProxyError":
            return f"the proxy refuses: {escape_text(str(error))[:_SHOWN_CHARACTERS]}"
        if kind == "RemoteProtocolError":
            return "it closed the connection, or did not answer in HTTP; check url and server"
        return f"the request failed: {kind}"


class _Watchdog:
    """Breaks a connection that takes too long as a whole.

    The library limits each read and each write. A peer that sends one byte now and then would
    keep it waiting for weeks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stream: _NetworkStream | None = None
        self._connecting: socket.socket | None = None
        self.is_expired = False
        self.is_sending_http2 = False

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        self.is_expired = self.is_sending_http2 = False
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._lock:
                if self._connecting is not None:
                    self._connecting.close()
                    self._connecting = None

    def trace(self, event: str, info: Mapping[str, object]) -> None:
        """Take down the connection and how far a request is, as the library tells of it."""
        if event.startswith("http2.send_request_body."):
            self.is_sending_http2 = not event.endswith(".complete")
            return
        if not event.endswith(("connect_tcp.complete", "start_tls.complete")):
            return
        stream = cast("_NetworkStream", info["return_value"])
        with self._lock:
            self._stream = stream
            connection = stream.get_extra_info("socket")
            if self._connecting is None and isinstance(connection, socket.socket):
                # During the handshake the descriptor belongs to an object that we never see.
                self._connecting = connection.dup()
            if self.is_expired:
                self._shut_down()

    def forget(self) -> None:
        with self._lock:
            self._stream = None

    def _expire(self) -> None:
        with self._lock:
            self.is_expired = True
            self._shut_down()

    def _shut_down(self) -> None:
        known = None if self._stream is None else self._stream.get_extra_info("socket")
        for connection in (known, self._connecting):
            if isinstance(connection, socket.socket):
                with contextlib.suppress(OSError):
                    # Not SSLSocket.shutdown(): it changes the object under the other thread.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _read(response: httpx2.Response) -> tuple[Answer, bool]:
    """Read an answer up to the limit; tell whether that was all."""
    chunks: list[bytes] = []
    size = 0
    is_whole = True
    try:
        # Raw: what a server compresses against our wish could become any size.
        for chunk in response.iter_raw():
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                is_whole = False
                break
    finally:
        response.close()
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, b"".join(chunks)[:MAX_ANSWER_BYTES]), is_whole


def _proxy(options: HttpTarget) -> str | None:
    if not options.proxy_from_environment:
        return options.proxy or None
    parts = urlsplit(options.url)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    known = urllib.request.getproxies()
    return known.get(parts.scheme) or known.get("all")


def _cause(error: BaseException) -> OSError | None:
    """Find the error of the system below those of the library."""
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None or isinstance(seen, OSError):
            return seen
        # The library wraps errors in one another and does not always chain them.
        wrapped = next((a for a in seen.args if isinstance(a, BaseException)), None)
        seen = seen.__cause__ or seen.__context__ or wrapped
    return None


def _explain_cause(cause: OSError) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"its certificate is refused: {cause.verify_message or cause.reason}; check"
            " ca_file, server_name and the clocks"
        )
    if isinstance(cause, ssl.SSLError):
        reason = (cause.reason or str(cause)).lower().replace("_", " ")
        return f"TLS failed: {reason}; check the certificates of both sides"
    if isinstance(cause, socket.gaierror):
        return f"its name cannot be resolved ({cause.strerror}); check url"
    if isinstance(cause, ConnectionRefusedError):
        return "nothing listens there; start the server or check url"
    return f"the connection broke: {(cause.strerror or str(cause)).lower()}"


def _bytes(value: str | bytes) -> bytes:
    return value.encode("ascii") if isinstance(value, str) else value
