"""The collector that pushes records to Grafana Loki."""

from __future__ import annotations

import functools
import gzip
import importlib.util
import time
from typing import TYPE_CHECKING, NoReturn

from msgspec import UnsetType

from trireme_collector import RECORD_TYPES, FlowRecord, MissingExtraError
from trireme_collector.enrichment import SteadyForms
from trireme_collector.http_client import HttpSender, Meaning
from trireme_collector_loki._entries import entry_form
from trireme_collector_loki._options import PUSH_PATH
from trireme_collector_loki._push import arrange, json_push, protobuf_push
from trireme_collector_loki._refusals import (
    BLOCKED,
    lacks_tenant,
    oldest_accepted_ns,
    refuses_metadata,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from structlog.typing import FilteringBoundLogger

    from trireme_collector import Record
    from trireme_collector.http_client import Answer
    from trireme_collector_loki._entries import Enrich, Entry
    from trireme_collector_loki._options import LokiOptions

__all__ = ["LokiCollector"]

_BUSY = 429
_SMALLEST_ROOM = 1024
_GZIP_LEVEL = 6
_ENTRY_BYTES = 24  # what a body has around each line, about


class LokiCollector:
    """Pushes records as lines, one request a batch.

    A batch counts as delivered when Loki has answered with a status from 200 to 299.

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
        options: LokiOptions,
        *,
        name: str = "loki",
        enrich: Enrich | None = None,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Keep the options; read no secret and connect to nothing."""
        self._options = options
        self._name = name
        self._time_ns = time_ns
        is_native = options.format == "json"
        self.kinds = frozenset(RECORD_TYPES.values()) if is_native else frozenset({FlowRecord})
        self._render = entry_form(
            options.format,
            labels=None if isinstance(options.labels, UnsetType) else options.labels,
            static_labels=options.static_labels or None,
            agent_ip=options.agent_ip,
            enrich=enrich,
        )
        self._forms: SteadyForms[list[Entry]] = SteadyForms()
        self._sender = HttpSender(
            options,
            name=name,
            extra="loki",
            url=options.url.rstrip("/") + PUSH_PATH,
            headers=_headers(options),
            time_ns=time_ns,
        )
        self._has_metadata = options.structured_metadata
        self._room_bytes = options.max_body_bytes
        self._oldest_ns: int | None = None
        self._now_ns: int | None = None

    def open(self) -> None:
        """Read certificates and secrets; the first batch opens the connection.

        Raises:
            ConfigError: One of them cannot be used, or the extra is not installed.
        """
        self._sender.open()
        if self._options.encoding == "protobuf" and importlib.util.find_spec("cramjam") is None:
            msg = (
                f"collector {self._name!r} needs the package cramjam:"
                " pip install 'trireme-collector[loki]'"
            )
            raise MissingExtraError(msg)

    def deliver(self, batch: Sequence[Record]) -> None:
        """Push the records.

        Raises:
            RefusedCredentialsError: Loki does not accept who we are.
            RetryableDeliveryError: It is away or busy; ``delivered`` says how many records it
                has taken.
            PermanentDeliveryError: It refused records for good, one or some of them together.
        """
        if self._now_ns is None:
            # Kept until the batch is through: sent again, a line must have the same time, or Loki
            # would take it for another one.
            self._now_ns = self._time_ns()
        now_ns = self._now_ns
        entries = self._forms.of(batch, lambda record: self._render(record, now_ns))
        done = 0
        while done < len(entries):
            stop = self._fitting(entries, done)
            answer = self._push(entries[done:stop], done)
            meaning = self._sender.judge(answer)
            if meaning is Meaning.DELIVERED and answer.status != BLOCKED:
                self._forms.forget(stop - done)
                grown = self._room_bytes + self._room_bytes // 8
                self._room_bytes = min(grown, self._options.max_body_bytes)
                done = stop
            elif self._has_metadata and refuses_metadata(answer):
                self._go_without_metadata()
            elif not self._is_cut_again(answer, entries[done:stop]):
                self._fail(answer, meaning, entries, done, stop)
        self._now_ns = None

    def reopen(self) -> None:
        """Close the connection; the next batch opens another."""
        self._has_metadata = self._options.structured_metadata
        self._sender.reopen()

    def close(self) -> None:
        """Close the connection."""
        self._sender.close()

    def _fitting(self, entries: Sequence[Sequence[Entry]], start: int) -> int:
        """Find where a request ends that begins with the record at ``start``.

        It holds one record at least, and lines that are too old for Loki are not together with
        others: it would take those, and refuse the request.
        """
        size, limit = 0, self._room_bytes
        is_old = self._is_too_old(entries[start])
        for index in range(start, len(entries)):
            size += sum(entry.size + _ENTRY_BYTES for entry in entries[index])
            if index > start and (size > limit or self._is_too_old(entries[index]) != is_old):
                return index
        return len(entries)

    def _is_too_old(self, entries: Sequence[Entry]) -> bool:
        oldest_ns = self._oldest_ns
        return oldest_ns is not None and any(entry.time_ns < oldest_ns for entry in entries)

    def _push(self, entries: Sequence[Sequence[Entry]], delivered: int) -> Answer:
        streams = arrange(entry for few in entries for entry in few)
        if self._options.encoding == "protobuf":
            import cramjam  # noqa: PLC0415  belongs to the extra

            plain = protobuf_push(streams, metadata=self._has_metadata)
            body = bytes(cramjam.snappy.compress_raw(plain))
        else:
            body = json_push(streams, metadata=self._has_metadata)
            if self._options.compression == "gzip":
                body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        return self._sender.send(body, {}, delivered=delivered)

    def _is_cut_again(self, answer: Answer, entries: Sequence[Sequence[Entry]]) -> bool:
        """Learn what is too old; give whether the request was of both kinds."""
        oldest_ns = oldest_accepted_ns(answer)
        if oldest_ns is None:
            return False
        self._oldest_ns = oldest_ns
        return len({self._is_too_old(few) for few in entries}) > 1

    def _fail(
        self,
        answer: Answer,
        meaning: Meaning,
        entries: Sequence[Sequence[Entry]],
        done: int,
        stop: int,
    ) -> NoReturn:
        fail = functools.partial(self._sender.fail, answer, delivered=done)
        if lacks_tenant(answer):
            remedy = (
                "set tenant: this Loki serves several, and takes nothing without the name of one"
            )
            fail(meaning, remedy=remedy)
        if answer.status == BLOCKED:
            fail(Meaning.REFUSED, rejected=stop - done)
        if answer.status == _BUSY and stop - done > 1:
            # More than its burst, Loki never takes at once, however long one waits.
            size = sum(entry.size + _ENTRY_BYTES for few in entries[done:stop] for entry in few)
            self._room_bytes = max(_SMALLEST_ROOM, min(size, self._room_bytes) // 2)
        if meaning is Meaning.REFUSED:
            # Another status is not about lines: no Loki answers there, or not now.
            fail(Meaning.RETRY)
        all_too_old = oldest_accepted_ns(answer) is not None and self._is_too_old(entries[done])
        together = meaning is Meaning.DIVIDE and stop - done > 1 and not all_too_old
        if meaning is Meaning.DIVIDE and not together:
            self._now_ns = None  # what is refused does not come again
        # Together means that nobody knows which.
        fail(meaning, rejected=None if together else stop - done)

    def _go_without_metadata(self) -> None:
        self._has_metadata = False
        _logger().warning(
            "structured_metadata_refused",
            collector=self._name,
            consequence="lines go without the identity of their records until the next reopen",
            remedy="set structured_metadata = false, or allow it in limits_config of Loki",
        )


def _headers(options: LokiOptions) -> dict[str, str]:
    is_json = options.encoding == "json"
    headers = {"Content-Type": "application/json" if is_json else "application/x-protobuf"}
    if options.compression == "gzip":
        headers["Content-Encoding"] = "gzip"
    if options.tenant:
        headers["X-Scope-OrgID"] = options.tenant
    return headers


@functools.cache
def _logger() -> FilteringBoundLogger:
    # Imported with the first message: it would be the largest part of loading the plugin.
    import structlog  # noqa: PLC0415

    logger: FilteringBoundLogger = structlog.get_logger("trireme_collector.loki")
    return logger
