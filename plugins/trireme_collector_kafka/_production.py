"""One producer of the library: messages in, reports and troubles out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from trireme_collector_kafka._clients import Silence
from trireme_collector_kafka._errors import Meaning, Troubles, judge
from trireme_collector_kafka._window import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import confluent_kafka

    from trireme_collector_kafka._errors import KafkaFault
    from trireme_collector_kafka._window import Shipment

__all__ = ["Production", "ProductionError"]

_FAREWELL_SECONDS = 1.0
_SETTLING_SECONDS = 0.2
# Producers of a process that forked: their threads are not here, and ending them would wait for
# those for ever.
_LEFT_BEHIND: list[confluent_kafka.Producer] = []


class ProductionError(Exception):
    """The library refuses its configuration.

    Attributes:
        fault: What it says; parts of it may be secret.
    """

    def __init__(self, fault: KafkaFault) -> None:
        """Keep the error apart: it has no place in a message."""
        super().__init__("the library refuses the configuration")
        self.fault = fault


class Production:
    """A producer with its threads; they begin when it is made.

    Args:
        configuration: The configuration of the library.
        topic: Where messages go.

    Attributes:
        troubles: What the library has reported since the last acknowledgement.
    """

    def __init__(self, configuration: Mapping[str, object], topic: str) -> None:
        """Begin to connect.

        Raises:
            ProductionError: The library refuses the configuration.
        """
        import confluent_kafka  # noqa: PLC0415  belongs to the extra

        self.troubles = Troubles()
        self._password = configuration.get("sasl.password")
        self._topic = topic
        self._process = os.getpid()
        self._refused = confluent_kafka.KafkaException
        try:
            self._producer = confluent_kafka.Producer(
                {**configuration, "error_cb": self.troubles.note}, logger=Silence()
            )
        except confluent_kafka.KafkaException as error:
            raise ProductionError(error.args[0]) from None

    def produce(self, shipments: Iterable[Shipment]) -> None:
        """Send what was not sent yet."""
        produce, topic = self._producer.produce, self._topic
        try:
            for shipment in shipments:
                if shipment.state is not State.NEW:
                    continue
                value, key, headers = shipment.message
                try:
                    if headers is None:
                        produce(topic, value, key, on_delivery=shipment.settle)
                    else:
                        produce(topic, value, key, on_delivery=shipment.settle, headers=headers)
                except self._refused as error:
                    fault: KafkaFault = error.args[0]
                    if judge(fault.code()) is Meaning.REFUSED:
                        shipment.refuse(fault)
                        continue
                    self.troubles.note(fault)
                    break
                shipment.state = State.WAITING
        except BufferError:
            # Its memory is full; what is in it goes first.
            self._producer.poll(0)

    def wait(self, seconds: float) -> bool:
        """Serve reports until all messages are settled or the time is over; give which."""
        try:
            return self._producer.flush(seconds) == 0
        except self._refused as error:
            self.troubles.note(error.args[0])
            return False

    def use_password(self, user: str, password: str) -> None:
        """Log in with this password from the next connection on."""
        if password != self._password:
            self._producer.set_sasl_credentials(user, password)
            self._password = password

    def withdraw(self) -> bool:
        """Take back what did not leave yet; give whether nothing is on its way any more."""
        self._producer.purge(in_queue=True, in_flight=False)
        return self.wait(_SETTLING_SECONDS)

    def end(self) -> None:
        """Stop its threads; what is on its way is given up."""
        if os.getpid() != self._process:
            _LEFT_BEHIND.append(self._producer)
            return
        self._producer.purge()
        self.wait(_FAREWELL_SECONDS)

    @property
    def is_ours(self) -> bool:
        """Whether its threads run in this process."""
        return os.getpid() == self._process
