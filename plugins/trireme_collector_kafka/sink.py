"""The sink ``kafka``: conversation records into a topic."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trireme_collector import ConfigError
from trireme_collector.errors import TriremeError
from trireme_collector.exit_codes import ExitCode
from trireme_collector.netobserv.sharing import RecordSinkSpec
from trireme_collector.option_secrets import SecretError
from trireme_collector_kafka._clients import Silence, own_text, require_library
from trireme_collector_kafka._configuration import (
    PARTITIONERS,
    connection_configuration,
    producer_configuration,
)
from trireme_collector_kafka._connection import check_topic
from trireme_collector_kafka._errors import Meaning, explain, judge
from trireme_collector_kafka._source_options import KafkaSinkOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import confluent_kafka

__all__ = ["SINK", "KafkaSink", "KafkaSinkOptions", "SinkError"]

_ID = re.compile(rb'"_HashId":"([0-9a-f]{1,16})"')
_PLACE_HEADER = "trireme-place"


class SinkError(TriremeError):
    """A sink will never take what it was given."""

    exit_code = ExitCode.OUTPUT


class KafkaSink:
    """Produces one message for each record, keyed by the id of its conversation.

    Args:
        options: How brokers are reached.
        topic: Where records go.

    Attributes:
        refused: How many records the brokers refused for good.
    """

    def __init__(self, options: KafkaSinkOptions, topic: str) -> None:
        """Begin to connect.

        Raises:
            ConfigError: The extra is missing, or the options cannot be used.
        """
        require_library("the sink 'kafka'")
        import confluent_kafka  # noqa: PLC0415  belongs to the extra

        try:
            check_topic(topic)
        except ValueError as error:
            msg = f"{topic!r} cannot be the name of a topic: {error}; name one with --output"
            raise ConfigError(msg) from error
        self.refused = 0
        self._library = confluent_kafka
        self._topic = topic
        self._tls = options.tls
        self._failure: str | None = None
        self._waiting = 0
        try:
            self._producer = confluent_kafka.Producer(
                {
                    **connection_configuration(options),
                    **producer_configuration(),
                    "message.max.bytes": options.max_message_bytes,
                    "compression.type": options.compression,
                    "partitioner": PARTITIONERS[options.partitioner],
                    "linger.ms": 20,
                },
                logger=Silence(),
            )
        except SecretError as error:
            raise ConfigError(f"sink 'kafka': {error}") from error
        except confluent_kafka.KafkaException as error:
            raise ConfigError(f"sink 'kafka': {own_text(error, tls=self._tls)}") from None

    @property
    def backlog(self) -> int:
        """How many records were not acknowledged yet."""
        return self._waiting

    def write(self, lines: Sequence[bytes], places: Sequence[str]) -> None:
        """Take records; see `RecordSink`."""
        produce, topic, settled = self._producer.produce, self._topic, self._settled
        for line, place in zip(lines, places, strict=True):
            found = _ID.search(line, max(0, line.rfind(b'"_HashId"')))
            self._waiting += 1
            try:
                produce(
                    topic,
                    line,
                    found[1] if found else None,
                    on_delivery=settled,
                    headers=[(_PLACE_HEADER, place.encode())],
                )
            except self._library.KafkaException as error:
                self._settled(error.args[0], None)
        self._producer.poll(0)
        self._raise_failure()

    def settle(self, seconds: float) -> bool:
        """Wait for the acknowledgements; see `RecordSink`."""
        self._producer.flush(seconds)
        self._raise_failure()
        return not self._waiting

    def close(self) -> None:
        """Stop the threads of the library."""
        self._producer.purge()
        self._producer.flush(1.0)

    def _settled(
        self, fault: confluent_kafka.KafkaError | None, message: confluent_kafka.Message | None
    ) -> None:
        del message
        self._waiting -= 1
        if fault is None:
            return
        if judge(fault.code()) is Meaning.REFUSED:
            self.refused += 1
        elif self._failure is None:
            self._failure = explain(fault, tls=self._tls)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            msg = f"sink 'kafka' cannot write to the topic {self._topic!r}: {self._failure}"
            raise SinkError(msg)


SINK: RecordSinkSpec[KafkaSinkOptions] = RecordSinkSpec(
    config_type=KafkaSinkOptions, factory=KafkaSink
)
"""What the entry point names."""
