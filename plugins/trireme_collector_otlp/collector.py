"""The collector that exports records as OpenTelemetry logs."""

from __future__ import annotations

import gzip
import time
from typing import TYPE_CHECKING, NoReturn

from trireme_collector import RECORD_TYPES, FlowRecord, PermanentDeliveryError
from trireme_collector.delivery import FailureReporter
from trireme_collector.formats import escape_text
from trireme_collector.http_client import HttpSender, Meaning
from trireme_collector_otlp._logs import log_form
from trireme_collector_otlp._options import LOGS_PATH
from trireme_collector_otlp._requests import json_request, protobuf_request
from trireme_collector_otlp._responses import read_response

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trireme_collector import Record
    from trireme_collector.http_client import Answer
    from trireme_collector_otlp._logs import Enrich, Log, Value
    from trireme_collector_otlp._options import OtlpOptions

__all__ = ["OtlpCollector"]

_NANOSECONDS = 1_000_000_000
_INTERVAL_NS = 60 * _NANOSECONDS  # how often it is said that the receiver warns
_GZIP_LEVEL = 6
_SHOWN_CHARACTERS = 200
_ATTRIBUTE_BYTES = 24  # what a body has around each attribute, about


class OtlpCollector:
    """Exports records as log records, one request a batch.

    A batch counts as delivered when the receiver has answered with a status from 200 to 299, and
    has rejected none of it.

    Args:
        options: Where records go and how.
        name: What messages call the collector.
        instance: The name of the agent.
        enrich: Adds to flow logs what is known of their ends.
        time_ns: The time of day, nanoseconds since 1970 UTC.

    Attributes:
        kinds: The kinds of records that it takes.
    """

    def __init__(
        self,
        options: OtlpOptions,
        *,
        name: str = "otlp",
        instance: str = "",
        enrich: Enrich | None = None,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Keep the options; read no secret and connect to nothing."""
        self._options = options
        self._time_ns = time_ns
        is_native = options.format == "json"
        self.kinds = frozenset(RECORD_TYPES.values()) if is_native else frozenset({FlowRecord})
        self._render = log_form(options.format, agent_ip=options.agent_ip, enrich=enrich)
        self._resource: dict[str, Value] = {"service.name": "trireme-collector"}
        if instance:
            self._resource["service.instance.id"] = instance
        self._resource.update(options.resource)
        self._sender = HttpSender(
            options,
            name=name,
            extra="otlp",
            url=options.url.rstrip("/") + LOGS_PATH,
            headers=_headers(options),
            time_ns=time_ns,
        )
        self._reporter = FailureReporter(name, _INTERVAL_NS)

    def open(self) -> None:
        """Read certificates and secrets; the first batch opens the connection.

        Raises:
            ConfigError: One of them cannot be used, or the extra is not installed.
        """
        self._sender.open()

    def deliver(self, batch: Sequence[Record]) -> None:
        """Export the records.

        Raises:
            RefusedCredentialsError: The receiver does not accept who we are.
            RetryableDeliveryError: It is away or busy; ``delivered`` says how many records it
                has taken.
            PermanentDeliveryError: It refused records for good, one or some of them together.
        """
        logs = [self._render(record) for record in batch]
        done = 0
        while done < len(logs):
            stop = self._fitting(logs, done)
            answer = self._sender.send(self._body(logs[done:stop]), {}, delivered=done)
            meaning = self._sender.judge(answer)
            if meaning is not Meaning.DELIVERED:
                self._fail(answer, meaning, done, stop)
            self._check_partial(answer, done, stop)
            done = stop

    def reopen(self) -> None:
        """Close the connection; the next batch opens another."""
        self._sender.reopen()

    def close(self) -> None:
        """Close the connection."""
        self._sender.close()

    def _fitting(self, logs: Sequence[Sequence[Log]], start: int) -> int:
        """Find where a request ends that begins with a record; it holds one at least."""
        size = 0
        for index in range(start, len(logs)):
            size += sum(_size(log) for log in logs[index])
            if size > self._options.max_body_bytes and index > start:
                return index
        return len(logs)

    def _body(self, logs: Sequence[Sequence[Log]]) -> bytes:
        write = protobuf_request if self._options.encoding == "protobuf" else json_request
        body = write((log for few in logs for log in few), self._resource, self._time_ns())
        if self._options.compression == "gzip":
            return gzip.compress(body, _GZIP_LEVEL, mtime=0)
        return body

    def _check_partial(self, answer: Answer, done: int, stop: int) -> None:
        partial = read_response(answer)
        said = escape_text(" ".join(partial.message.split()))[:_SHOWN_CHARACTERS]
        if not partial.rejected:
            if said:
                warning = self._sender.message(f"it took all of it, and warns: {said}")
                self._reporter.report(
                    "receiver_warns", PermanentDeliveryError(warning), time.monotonic_ns()
                )
            return
        reason = f"it rejected {partial.rejected} log records of a request: {said or 'no reason'}"
        # Nobody knows which, and the protocol forbids to ask again: all of them are kept.
        raise PermanentDeliveryError(
            self._sender.message(reason), delivered=done, rejected=stop - done
        )

    def _fail(self, answer: Answer, meaning: Meaning, done: int, stop: int) -> NoReturn:
        if meaning is Meaning.REFUSED:
            # Another status is not about log records: no receiver answers there, or not now.
            meaning = Meaning.RETRY
        # Together means that nobody knows which.
        rejected = None if stop - done > 1 else 1
        self._sender.fail(answer, meaning, delivered=done, rejected=rejected)


def _size(log: Log) -> int:
    # Attributes say once more what the body says.
    return 2 * len(log.body) + _ATTRIBUTE_BYTES * len(log.attributes)


def _headers(options: OtlpOptions) -> dict[str, str]:
    kind = "application/json" if options.encoding == "json" else "application/x-protobuf"
    headers = {"Content-Type": kind}
    if options.compression == "gzip":
        headers["Content-Encoding"] = "gzip"
    return headers
