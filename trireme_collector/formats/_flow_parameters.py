"""The parameters of flow records, written out: nearly all records are flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trireme_collector.records import EndPoint, FlowRecord

__all__ = ["render_flow_parameters"]


def render_flow_parameters(
    record: FlowRecord, values: Mapping[str, str], others: Callable[[str, object], str]
) -> str:
    """Write the fields of a flow record as parameters, in the order of the fields.

    Args:
        record: The flow.
        values: Gives a text in its escaped form.
        others: Writes a list or a member of an enumeration, given what stands before it.
    """
    return "".join(
        (
            f' instance="{values[text]}"' if (text := record.instance) else "",
            f' epoch="{number}"' if (number := record.epoch) is not UNSET else "",
            f' sequence="{number}"' if (number := record.sequence) is not UNSET else "",
            f' context_id="{values[text]}"' if (text := record.context_id) else "",
            f' namespace="{values[text]}"' if (text := record.namespace) else "",
            _end(record.source, "source", values, others),
            _end(record.destination, "destination", values, others),
            others(' tags="', tags) if (tags := record.tags) else "",
            f' drop_reason="{values[text]}"' if (text := record.drop_reason) else "",
            f' policy_id="{values[text]}"' if (text := record.policy_id) else "",
            f' observed_policy_id="{values[text]}"' if (text := record.observed_policy_id) else "",
            others(' service_type="', record.service_type),
            f' service_id="{values[text]}"' if (text := record.service_id) else "",
            f' count="{record.count}"',
            others(' action="', record.action),
            others(' observed_action="', record.observed_action),
            f' l4_protocol="{record.l4_protocol}"',
            f' packets="{number}"' if (number := record.packets) is not UNSET else "",
            f' bytes="{number}"' if (number := record.bytes) is not UNSET else "",
            f' start_time_ns="{number}"' if (number := record.start_time_ns) is not UNSET else "",
            f' end_time_ns="{number}"' if (number := record.end_time_ns) is not UNSET else "",
            others(' direction="', way) if (way := record.direction) is not UNSET else "",
            f' interface="{values[text]}"' if (text := record.interface) else "",
            f' tcp_flags="{number}"' if (number := record.tcp_flags) is not UNSET else "",
            f' policy_revision="{values[text]}"' if (text := record.policy_revision) else "",
            others(' phase="', phase) if (phase := record.phase) is not UNSET else "",
            f' source_packets="{number}"' if (number := record.source_packets) is not UNSET else "",
            f' source_bytes="{number}"' if (number := record.source_bytes) is not UNSET else "",
            f' destination_packets="{number}"'
            if (number := record.destination_packets) is not UNSET
            else "",
            f' destination_bytes="{number}"'
            if (number := record.destination_bytes) is not UNSET
            else "",
            f' icmp_type="{number}"' if (number := record.icmp_type) is not UNSET else "",
            f' icmp_code="{number}"' if (number := record.icmp_code) is not UNSET else "",
        )
    )


def _end(
    end: EndPoint, side: str, values: Mapping[str, str], others: Callable[[str, object], str]
) -> str:
    return "".join(
        (
            f' {side}_id="{values[text]}"' if (text := end.id) else "",
            f' {side}_ip="{values[text]}"' if (text := end.ip) else "",
            f' {side}_uri="{values[text]}"' if (text := end.uri) else "",
            f' {side}_http_method="{values[text]}"' if (text := end.http_method) else "",
            f' {side}_user_id="{values[text]}"' if (text := end.user_id) else "",
            others(f' {side}_type="', end.type),
            f' {side}_port="{end.port}"',
        )
    )
