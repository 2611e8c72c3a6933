"""The collector that tells a chat room about rejected flows."""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING, Annotated

import httpx2
import msgspec
from trireme_collector import (
    ConfigError,
    FlowRecord,
    PermanentDeliveryError,
    RefusedCredentialsError,
    RetryableDeliveryError,
    option_files,
    option_secrets,
)
from trireme_collector.http_client import Answer, Meaning, judge, retry_after_seconds
from trireme_collector.option_secrets import Secret, SecretError

from trireme_collector_webhook.message import compose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trireme_collector import Record

__all__ = ["Options", "WebhookCollector"]

_WINDOW_SECONDS = 60.0


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in the configuration file.

    Attributes:
        url_file: The file with the URL of the webhook, which is a secret; read for each message.
        url_env: The environment variable with it, instead.
        url_credential: The systemd credential with it, instead.
        messages_per_minute: How many messages are sent in a minute at most; what comes
            meanwhile waits, and is in the next one.
        max_lines: How many flows are named in a message; the others are counted.
        every_flow: Tell about accepted flows, too.
        timeout_seconds: How long to wait for the server.
    """

    url_file: option_files.ReadableFile = ""
    url_env: option_secrets.VariableName = ""
    url_credential: option_secrets.CredentialName = ""
    messages_per_minute: Annotated[int, msgspec.Meta(ge=1, le=600)] = 6
    max_lines: Annotated[int, msgspec.Meta(ge=1, le=200)] = 10
    every_flow: bool = False
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300)] = 10.0

    def __post_init__(self) -> None:
        """Refuse no place for the URL, and several.

        Raises:
            ValueError: There is not exactly one.
        """
        option_secrets.check_sources(self, "url")
        if not option_secrets.is_given(self, "url"):
            raise ValueError("one of url_file, url_env and url_credential")


class WebhookCollector:
    """Sends one message a batch, and no more than so many a minute.

    Args:
        options: Where to, and how often.
        name: What messages call the collector.
        monotonic: A clock that does not jump, in seconds.
    """

    kinds = frozenset({FlowRecord})

    def __init__(
        self,
        options: Options,
        *,
        name: str = "webhook",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep the options; read no secret and connect to nothing."""
        self._options = options
        self._name = name
        self._monotonic = monotonic
        self._url = Secret.of_options(options, "url")
        self._sent: collections.deque[float] = collections.deque(maxlen=options.messages_per_minute)
        self._transport: httpx2.HTTPTransport | None = None

    def open(self) -> None:
        """Read the URL; the first message opens the connection.

        Raises:
            ConfigError: There is none.
        """
        try:
            self._read_url()
        except SecretError as error:
            raise ConfigError(f"collector {self._name!r}: {error}") from error

    def deliver(self, batch: Sequence[Record]) -> None:
        """Tell about the flows of a batch.

        Raises:
            RetryableDeliveryError: It is too early for another message, or the server is away.
            RefusedCredentialsError: The URL is not, or no longer, that of a webhook.
            PermanentDeliveryError: The server refuses the message.
        """
        flows = [
            record
            for record in batch
            if isinstance(record, FlowRecord)
            and (record.action.rejected or self._options.every_flow)
        ]
        if not flows:
            return
        self._wait_for_turn()
        answer = self._post(compose(flows, self._options.max_lines))
        # Servers answer 404 or 410 when the webhook was taken away: somebody must make another.
        gone = answer.status in {404, 410}
        meaning = Meaning.CREDENTIAL_REFUSED if gone else judge(answer)
        if meaning is Meaning.DELIVERED:
            return
        message = self._message(f"the server answers {answer.status}")
        if meaning is Meaning.RETRY:
            seconds = retry_after_seconds(answer.headers, time.time_ns())
            raise RetryableDeliveryError(message, retry_after=seconds)
        if meaning is Meaning.CREDENTIAL_REFUSED:
            raise RefusedCredentialsError(f"{message}; make a new webhook and change the URL")
        raise PermanentDeliveryError(message)

    def reopen(self) -> None:
        """Close the connection; the next message opens another."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def _wait_for_turn(self) -> None:
        now = self._monotonic()
        if len(self._sent) == self._sent.maxlen:
            wait = self._sent[0] + _WINDOW_SECONDS - now
            if wait > 0:
                limit = self._options.messages_per_minute
                message = self._message(f"{limit} messages a minute are sent, and this is one more")
                raise RetryableDeliveryError(message, retry_after=wait)
        self._sent.append(now)

    def _post(self, text: str) -> Answer:
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), self._options.timeout_seconds)
        try:
            url = self._read_url()
            # Not with a client: that would log the URL.
            self._transport = transport = self._transport or httpx2.HTTPTransport(trust_env=False)
            request = httpx2.Request(
                "POST", url, json={"text": text}, extensions={"timeout": timeout}
            )
            response = transport.handle_request(request)
        except SecretError as error:
            raise RetryableDeliveryError(self._message(str(error))) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            self.close()
            # Without the text of the error, which may hold the URL.
            message = self._message(f"no answer ({type(error).__name__}); check URL and server")
            raise RetryableDeliveryError(message) from None
        status, headers = response.status_code, dict(response.headers)
        response.close()
        return Answer(status, {name.lower(): value for name, value in headers.items()})

    def _read_url(self) -> str:
        if self._url is None:  # refused by the options
            raise SecretError("there is no URL")
        url = self._url.value().decode()
        if not url.startswith(("http://", "https://")):
            raise self._url.error("it is no URL with http(s)")
        return url

    def _message(self, reason: str) -> str:
        return f"collector {self._name!r} cannot tell the webhook: {reason}"
