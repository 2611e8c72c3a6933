"""What a policy answers about one flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trireme_collector.records import ActionType, FlowDropReason, ObserveActionType, TagStore

if TYPE_CHECKING:
    from trireme_datapath.policy._buckets import Entry

__all__ = ["FlowPolicy", "Match", "Peer", "drop_reason"]


class FlowPolicy(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a rule, or a default, does with a flow, and how records name it.

    Attributes:
        action: Accept or reject, no other bit.
        accepted: The same as a plain bool, for the packet path.
        log: Whether the rule asks for a log line.
    """

    action: ActionType
    policy_id: str
    service_id: str = ""
    observe_action: ObserveActionType = ObserveActionType.NONE
    accepted: bool = False
    log: bool = False


class Match(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The answer: what is reported, and what is done.

    Attributes:
        report: What the record calls the decision; an observing rule, if one matched.
        packet: What happens to the packets.
        report_rule: The entry behind `report`, None for the default.
        packet_rule: The entry behind `packet`, None for the default.
    """

    report: FlowPolicy
    packet: FlowPolicy
    report_rule: Entry | None = None
    packet_rule: Entry | None = None


class Peer(msgspec.Struct, frozen=True, kw_only=True, gc=False, eq=False):
    """Somebody whose identity is known: the other side of a flow.

    Two peers are the same only if they are one object: tables remember answers by it.
    """

    id: str
    namespace: str = ""
    tags: TagStore = msgspec.field(default_factory=TagStore)


def drop_reason(match: Match, *, external: bool) -> FlowDropReason:
    """Say why a record of this answer would call the flow dropped.

    Args:
        match: The answer.
        external: Whether the other side is an external address rather than a known unit or
            peer. Records about external addresses name the policy even when only an observed
            rule rejects; records between known sides name it when the packets are rejected.

    Returns:
        ``policy``, or nothing.
    """
    rejected = not match.packet.accepted or (external and not match.report.accepted)
    return FlowDropReason.POLICY_DROP if rejected else FlowDropReason.NONE
