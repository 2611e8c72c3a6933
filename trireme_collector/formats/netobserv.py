"""Flow records as lines of NetObserv JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from trireme_collector.formats.json_lines import printable_json
from trireme_collector.netobserv import encode_flow, flow_fields, flows_from_record
from trireme_collector.records import FlowRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from msgspec import UnsetType

    from trireme_collector.netobserv import Profile
    from trireme_collector.records import Record

__all__ = ["render_netobserv", "render_netobserv_lines"]


def render_netobserv(
    record: Record,
    *,
    agent_ip: str | UnsetType = UNSET,
    time_received: int | UnsetType = UNSET,
    profile: Profile = "default",
    enrich: Callable[[Mapping[str, object]], Mapping[str, object]] | None = None,
) -> list[bytes]:
    """Render a flow record as flow logs: one for each direction whose packets were counted.

    Args:
        record: The record.
        agent_ip: The address of this host.
        time_received: When the record was received, seconds since 1970.
        profile: ``strict`` for the text that the original writes, keys in alphabetical order.
        enrich: Adds what is known of the ends of a flow log, such as
            `trireme_collector.CollectorContext.enrich`.

    Returns:
        JSON objects without line ends, printable but in the strict profile; none for a record
        that is no flow, for which the format has no place.
    """
    if not isinstance(record, FlowRecord):
        return []
    flows = flows_from_record(record, agent_ip=agent_ip, time_received=time_received)
    lines = [
        encode_flow(flow if enrich is None else enrich(flow_fields(flow)), profile=profile)
        for flow in flows
    ]
    return lines if profile == "strict" else [printable_json(line) for line in lines]


def render_netobserv_lines(
    records: Iterable[Record],
    *,
    agent_ip: str | UnsetType = UNSET,
    time_received: int | UnsetType = UNSET,
    profile: Profile = "default",
    enrich: Callable[[Mapping[str, object]], Mapping[str, object]] | None = None,
) -> bytes:
    """Render the flow records among records, one flow log a line; see `render_netobserv`."""
    lines: list[bytes] = []
    for record in records:
        lines += render_netobserv(
            record,
            agent_ip=agent_ip,
            time_received=time_received,
            profile=profile,
            enrich=enrich,
        )
    return b"".join([line + b"\n" for line in lines])
