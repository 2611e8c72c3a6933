"""The collector that produces records to a topic of Kafka."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, NoReturn

from trireme_collector import (
    RECORD_TYPES,
    ConfigError,
    FlowRecord,
    PermanentDeliveryError,
    RefusedCredentialsError,
    RetryableDeliveryError,
)
from trireme_collector.option_secrets import SecretError
from trireme_collector_kafka._clients import require_library
from trireme_collector_kafka._configuration import (
    fingerprint,
    library_configuration,
    read_password,
)
from trireme_collector_kafka._errors import Meaning, explain, judge
from trireme_collector_kafka._messages import message_form
from trireme_collector_kafka._production import Production, ProductionError
from trireme_collector_kafka._window import State, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from trireme_collector import Record
    from trireme_collector_kafka._errors import KafkaFault
    from trireme_collector_kafka._options import KafkaOptions
    from trireme_collector_kafka._window import Entry, Shipment

__all__ = ["KafkaCollector"]

_LOOK_SECONDS = 0.1  # how often it is looked whether waiting makes sense
_GRACE_SECONDS = 1.0  # how long a trouble may take to pass before somebody is told


class KafkaCollector:
    """Produces one message for each record, and waits until all replicas in sync have it.

    A message whose acknowledgement is late stays on its way: when the worker gives its record
    again, it is waited for and not sent a second time.

    Args:
        options: Where records go and how.
        name: What messages call the collector.
        enrich: Adds to flow logs what is known of their ends.
        monotonic: The time, seconds from any moment.

    Attributes:
        kinds: The kinds of records that it takes.
    """

    def __init__(
        self,
        options: KafkaOptions,
        *,
        name: str = "kafka",
        enrich: Callable[[Mapping[str, object]], dict[str, object]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep the options; read no secret, start no thread."""
        self._options = options
        self._name = name
        self._monotonic = monotonic
        self._window = Window()
        self._production: Production | None = None
        self._fingerprint: tuple[tuple[int, ...], ...] = ()
        self._is_renewal_wanted = False
        is_native = options.format == "json"
        self.kinds = frozenset(RECORD_TYPES.values()) if is_native else frozenset({FlowRecord})
        self._render = message_form(
            options.format,
            keyed=options.key == "addresses",
            agent_ip=options.agent_ip,
            enrich=enrich,
        )

    def open(self) -> None:
        """Read certificates and secrets, and begin to connect.

        Raises:
            ConfigError: One of them cannot be used, or the extra is not installed.
        """
        require_library(f"collector {self._name!r}")
        try:
            self._renew()
        except SecretError as error:
            raise ConfigError(f"collector {self._name!r}: {error}") from error
        except ProductionError as error:
            reason = explain(error.fault, tls=self._options.tls)
            raise ConfigError(f"collector {self._name!r}: {reason}") from None
        self._announce()

    def deliver(self, batch: Sequence[Record]) -> None:
        """Produce the records and wait for the acknowledgements.

        Raises:
            RefusedCredentialsError: The brokers do not accept who we are, or do not let us write.
            RetryableDeliveryError: Not all was acknowledged in time; ``delivered`` says how many
                records were, without a gap.
            PermanentDeliveryError: The brokers refused a record for good.
        """
        production = self._ready(batch)
        entries = self._window.admit(batch, self._render)
        production.produce(s for entry in entries for s in entry.shipments)
        self._wait(production)
        self._conclude(production, entries)

    def reopen(self) -> None:
        """Connect anew before the next batch, with certificates and secrets as they are then."""
        self._is_renewal_wanted = True

    def close(self) -> None:
        """Stop the library's threads. What was not acknowledged is given up."""
        self._stop(0)

    def _ready(self, batch: Sequence[Record]) -> Production:
        """Give a producer that this batch can go through."""
        production, window = self._production, self._window
        common = window.common(batch)
        if production is not None and production.is_ours:
            is_other = common < min(len(window.entries), len(batch))
            if is_other or production.troubles.are_fatal:
                # What was begun and is not wanted any more must not arrive in spite of that.
                self._stop(common if is_other else len(window.entries))
        elif production is not None:
            self._stop(0)
        try:
            if self._production is None:
                return self._renew()
            if self._is_renewal_wanted or fingerprint(self._options) != self._fingerprint:
                self._try_renewal(self._production)
            if self._options.sasl_mechanism:
                self._production.use_password(self._options.user, read_password(self._options))
        except SecretError as error:
            raise RetryableDeliveryError(self._message(str(error))) from error
        except ProductionError as error:
            reason = explain(error.fault, tls=self._options.tls)
            raise RetryableDeliveryError(self._message(reason)) from None
        return self._production

    def _stop(self, kept: int) -> None:
        production, self._production = self._production, None
        if production is not None:
            production.end()
        self._window.start_anew(kept)

    def _try_renewal(self, production: Production) -> None:
        """Connect anew, unless messages are on their way: nobody would know what became of them."""
        if not production.withdraw():
            return
        _reset(self._window.shipments())
        try:
            self._renew()
        except (SecretError, ProductionError) as error:
            # Half written, perhaps: go on with what worked until the files change again.
            self._fingerprint = fingerprint(self._options)
            _logger().warning("certificates_kept", collector=self._name, error=str(error))
        self._is_renewal_wanted = False

    def _renew(self) -> Production:
        now = fingerprint(self._options)
        new = Production(library_configuration(self._options), self._options.topic)
        old, self._production = self._production, new
        self._fingerprint = now
        if old is not None:
            old.end()
        return new

    def _wait(self, production: Production) -> None:
        """Wait for the reports, but not for brokers that are gone or do not let us in."""
        begin = self._monotonic()
        limit = begin + self._options.timeout_seconds
        grace = begin + min(_GRACE_SECONDS, self._options.timeout_seconds)
        while not production.wait(_LOOK_SECONDS):
            now, troubles = self._monotonic(), production.troubles
            if now >= limit or troubles.are_fatal or (now >= grace and troubles.worst is not None):
                return

    def _conclude(self, production: Production, entries: Sequence[Entry]) -> None:
        done = 0
        for entry in entries:
            if not entry.is_taken:
                break
            done += 1
        if done:
            production.troubles.forget()
        if done == len(entries):
            self._window.forget(done)
            return
        rest = [s for entry in entries[done:] for s in entry.shipments]
        first = next(s for s in rest if s.state is not State.TAKEN)
        self._window.forget(done)
        fault = first.fault
        if fault is not None and judge(fault.code()) is Meaning.REFUSED:
            self._refuse(first, fault, rest, done, len(entries) - done)
        self._retry(production, fault, rest, done)

    def _refuse(
        self, first: Shipment, fault: KafkaFault, rest: Sequence[Shipment], done: int, left: int
    ) -> NoReturn:
        """Refuse a record; but brokers refuse batches, so it may be one of those beside it."""
        together = [s for s in rest if _is_refused(s) and not s.alone]
        alone = first.alone or len(together) == 1 or left == 1
        _reset(rest)
        if alone:
            self._window.forget(1)
        message = self._message(explain(fault, tls=self._options.tls))
        raise PermanentDeliveryError(message, delivered=done, rejected=1 if alone else None)

    def _retry(
        self,
        production: Production,
        fault: KafkaFault | None,
        rest: Sequence[Shipment],
        done: int,
    ) -> NoReturn:
        _reset(rest)
        why = fault or production.troubles.worst
        if why is None:
            reason = f"no acknowledgement within {self._options.timeout_seconds:g} s"
            raise RetryableDeliveryError(self._message(reason), delivered=done)
        message = self._message(explain(why, tls=self._options.tls))
        if judge(why.code()) is Meaning.NOT_ALLOWED:
            # The library remembers for minutes what it was not allowed; a new producer asks.
            self._is_renewal_wanted = True
            raise RefusedCredentialsError(message, delivered=done)
        raise RetryableDeliveryError(message, delivered=done)

    def _announce(self) -> None:
        """Say at each start what is not as safe as it could be."""
        options = self._options
        if options.tls and not options.verify:
            _logger().warning(
                "tls_verification_off",
                collector=self._name,
                brokers=options.brokers,
                risk="anybody on the way can read and change what is sent",
                remedy="remove verify = false, set ca_file",
            )
        if options.sasl_mechanism and not options.tls:
            _logger().warning(
                "credentials_unencrypted",
                collector=self._name,
                brokers=options.brokers,
                remedy="set tls = true",
            )

    def _message(self, reason: str) -> str:
        topic = self._options.topic
        return f"collector {self._name!r} cannot deliver to the topic {topic!r}: {reason}"


def _reset(shipments: Iterable[Shipment]) -> None:
    """Send again what has failed, but for what is known to fail again."""
    for shipment in shipments:
        if shipment.state is State.FAILED and not shipment.alone:
            shipment.reset()


def _is_refused(shipment: Shipment) -> bool:
    return shipment.fault is not None and judge(shipment.fault.code()) is Meaning.REFUSED


@functools.cache
def _logger() -> FilteringBoundLogger:
    # Imported with the first message: it would be the largest part of loading the plugin.
    import structlog  # noqa: PLC0415

    logger: FilteringBoundLogger = structlog.get_logger("trireme_collector.kafka")
    return logger
