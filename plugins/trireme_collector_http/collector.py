"""The collector that posts batches of records to an HTTP server."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from trireme_collector import RECORD_TYPES, ConfigError, FlowRecord, RetryableDeliveryError
from trireme_collector.enrichment import SteadyForms
from trireme_collector.http_client import HttpSender, Meaning
from trireme_collector.option_secrets import Secret, SecretError
from trireme_collector_http._bodies import BodyForm, digest, is_numbered, text_form
from trireme_collector_http._signature import read_keys, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trireme_collector import Record
    from trireme_collector.http_client import Answer
    from trireme_collector_http._options import HttpOptions

__all__ = ["HttpCollector"]

_NANOSECONDS = 1_000_000_000


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
        enrich: Adds to flow logs what is known of their ends.
        time_ns: The time of day, nanoseconds since 1970 UTC.

    Attributes:
        kinds: The kinds of records that it takes.
    """

    def __init__(
        self,
        options: HttpOptions,
        *,
        name: str = "http",
        enrich: Callable[[Mapping[str, object]], dict[str, object]] | None = None,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Keep the options; read no secret and connect to nothing."""
        self._options = options
        self._name = name
        self._time_ns = time_ns
        self._form = BodyForm(options.format, options.compression)
        self._sender = HttpSender(
            options,
            name=name,
            extra="http",
            headers=self._form.headers,
            method=options.method,
            time_ns=time_ns,
        )
        is_native = options.format != "netobserv"
        self.kinds = frozenset(RECORD_TYPES.values()) if is_native else frozenset({FlowRecord})
        self._render = text_form(options.format, agent_ip=options.agent_ip, enrich=enrich)
        self._forms: SteadyForms[bytes] = SteadyForms()
        self._signing = Secret.of_options(options, "signing_secret")
        self._unsettled: _Unsettled | None = None

    def open(self) -> None:
        """Read certificates and secrets; the first batch opens the connection.

        Raises:
            ConfigError: One of them cannot be used, or the extra is not installed.
        """
        self._sender.open()
        try:
            read_keys(self._signing)
        except SecretError as error:
            raise ConfigError(f"collector {self._name!r}: {error}") from error

    def deliver(self, batch: Sequence[Record]) -> None:
        """Post the records.

        Raises:
            RefusedCredentialsError: The server does not accept who we are.
            RetryableDeliveryError: It is away or busy; ``delivered`` says how many records it
                has taken.
            PermanentDeliveryError: It refused records for good, one or some of them together.
        """
        texts = self._forms.of(batch, self._render)
        numbered = is_numbered(batch)
        done = 0
        while done < len(texts):
            stop, key = self._next(texts, done)
            answer = self._post(texts, done, stop, key, numbered=numbered)
            meaning = self._sender.judge(answer)
            if meaning is not Meaning.DELIVERED:
                self._fail(answer, meaning, done, stop)
            self._unsettled = None
            self._forms.forget(stop - done)
            done = stop

    def reopen(self) -> None:
        """Close the connection; the next batch opens another."""
        self._sender.reopen()

    def close(self) -> None:
        """Close the connection."""
        self._sender.close()

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
        headers = {"Idempotency-Key": key}
        self._unsettled = _Unsettled(stop - start, summary, key)
        try:
            keys = read_keys(self._signing)
        except SecretError as error:
            message = self._sender.message(str(error))
            raise RetryableDeliveryError(message, delivered=start) from error
        if keys:
            seconds = self._time_ns() // _NANOSECONDS
            headers["webhook-id"] = key
            headers["webhook-timestamp"] = str(seconds)
            headers["webhook-signature"] = sign(keys, key, seconds, body)
        return self._sender.send(body, headers, delivered=start)

    def _fail(self, answer: Answer, meaning: Meaning, start: int, stop: int) -> NoReturn:
        if meaning in (Meaning.DIVIDE, Meaning.REFUSED):
            self._unsettled = None
        together = meaning is Meaning.DIVIDE and stop - start > 1
        # Together means that nobody knows which.
        rejected = None if together else stop - start
        self._sender.fail(answer, meaning, delivered=start, rejected=rejected)
