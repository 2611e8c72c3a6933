"""Numbers for our endpoints: notifications name them by number, records by text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_collector.records import EndPointType
from trireme_datapath.monitor.agent_messages import NotifiedEndpoint, endpoint_create_message
from trireme_datapath.monitor.gob import Basic, Field, GobSchema, StructType
from trireme_datapath.monitor.tables.message_types import MessageType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_collector.records import EndPoint
    from trireme_datapath.monitor.messages.agent import AgentNotify

__all__ = ["FIRST_IDENTITY", "WORLD_IDENTITY", "EndpointNumbers", "agent_message"]

WORLD_IDENTITY: Final = 2
"""The identity of everybody who is not a processing unit."""
FIRST_IDENTITY: Final = 256
"""Identities below are reserved: that of a processing unit is its number and this."""

_MAX_ENDPOINTS: Final = 4096
_AGENT_NOTIFY: Final = GobSchema(
    {64: StructType("AgentNotify", (Field("Type", Basic.UINT), Field("Text", Basic.STRING)))},
    root=64,
)


def agent_message(notify: AgentNotify) -> bytes:
    """Write a notification of the agent."""
    encoded = _AGENT_NOTIFY.encode({"Type": notify.type, "Text": notify.text})
    return bytes((MessageType.AGENT,)) + _AGENT_NOTIFY.definitions + encoded


class EndpointNumbers:
    """Gives each processing unit a number when it is first seen.

    The numbers begin at 1 with each start of an agent. Units beyond the first 4096 have number 0,
    which stands for nobody.
    """

    def __init__(self) -> None:
        """Start without units."""
        self._numbers: dict[str, int] = {}
        self._announcements: list[bytes] = []

    def number(
        self, end: EndPoint, *, namespace: str = "", tags: tuple[str, ...] = ()
    ) -> tuple[int, bytes | None]:
        """Give the number of an endpoint.

        Returns:
            The number, 0 for one that is no processing unit; and the message that announces it
            if it is new.
        """
        if end.type is not EndPointType.PU:
            return 0, None
        known = self._numbers.get(end.id)
        if known is not None:
            return known, None
        if len(self._numbers) >= _MAX_ENDPOINTS:
            return 0, None
        number = len(self._numbers) + 1
        self._numbers[end.id] = number
        labels = (f"trireme:unit={end.id}", *(f"trireme:{tag}" for tag in tags))
        endpoint = NotifiedEndpoint(id=number, labels=labels, namespace=namespace)
        message = agent_message(endpoint_create_message(endpoint))
        self._announcements.append(message)
        return number, message

    def identity(self, end: EndPoint, number: int) -> int:
        """Give the identity of an endpoint that has this number."""
        if end.type is not EndPointType.PU:
            return WORLD_IDENTITY
        return FIRST_IDENTITY + number if number else 0

    def announcements(self) -> Iterator[bytes]:
        """Give the messages that announce all units, for those who come later."""
        yield from self._announcements
