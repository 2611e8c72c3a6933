"""What the agent tells about itself."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AGENT_EVENTS", "AgentEvent", "agent_event_name"]


class AgentEvent(IntEnum):
    """What happened in the agent."""

    UNSPEC = 0
    GENERIC = 1
    START = 2
    ENDPOINT_REGENERATE_SUCCESS = 3
    ENDPOINT_REGENERATE_FAILURE = 4
    POLICY_UPDATED = 5
    POLICY_DELETED = 6
    ENDPOINT_CREATED = 7
    ENDPOINT_DELETED = 8
    IPCACHE_UPSERTED = 9
    IPCACHE_DELETED = 10
    SERVICE_UPSERTED = 11
    SERVICE_DELETED = 12


AGENT_EVENTS: Mapping[int, str] = {
    AgentEvent.UNSPEC: "unspecified",
    AgentEvent.GENERIC: "Message",
    AgentEvent.START: "Cilium agent started",
    AgentEvent.ENDPOINT_REGENERATE_SUCCESS: "Endpoint regenerated",
    AgentEvent.ENDPOINT_REGENERATE_FAILURE: "Failed endpoint regeneration",
    AgentEvent.POLICY_UPDATED: "Policy updated",
    AgentEvent.POLICY_DELETED: "Policy deleted",
    AgentEvent.ENDPOINT_CREATED: "Endpoint created",
    AgentEvent.ENDPOINT_DELETED: "Endpoint deleted",
    AgentEvent.IPCACHE_UPSERTED: "IPCache entry upserted",
    AgentEvent.IPCACHE_DELETED: "IPCache entry deleted",
    AgentEvent.SERVICE_UPSERTED: "Service upserted",
    AgentEvent.SERVICE_DELETED: "Service deleted",
}


def agent_event_name(number: int) -> str:
    """Name an event of the agent; an unknown one by its number."""
    return AGENT_EVENTS.get(number) or str(number)
