"""Says which rule decides about a flow, and why no other one does.

The decision comes from the compiled policy, as it does for packets; the reasons come from a
second, linear reading of the rules, which also names those that lose or do not match.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Literal

import msgspec

from trireme_collector.records import ObserveActionType
from trireme_datapath.judgement import FlowTuple, Judge
from trireme_datapath.policy._reading import Reach, reach, why_not
from trireme_datapath.policy.rule_table import rank_of
from trireme_datapath.policy.spellings import ICMP_PROTOCOLS, PORT_PROTOCOLS, protocol_name

if TYPE_CHECKING:
    from trireme_datapath.policy.compile import CompiledPolicy, CompiledUnit
    from trireme_datapath.policy.flow_policy import Match, Peer
    from trireme_datapath.policy.model import Policy, Rule

__all__ = ["Explanation", "Judgement", "RecordFields", "RuleNote", "explain"]

Side = Literal["ingress", "egress"]
_TCP = 6
_FOR_EVER = 1 << 63


class RuleNote(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What became of one rule.

    Attributes:
        id: The policy id.
        index: Its place in the file among the rules of its unit and direction, from 0.
        table: The table that it belongs to, in words.
        matches: Whether it takes the flow.
        decides: Whether it decides about the packets.
        reported: Whether the record names it as the rule that was reported.
        by: What matched the peer: ``tags``, or the prefix.
        reason: Why it decides, loses or does not match.
    """

    id: str
    index: int
    action: str
    observe: str
    table: str
    matches: bool
    decides: bool = False
    reported: bool = False
    by: str = ""
    reason: str = ""


class Judgement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one unit says about the flow in one direction.

    Attributes:
        unit: The id of the unit.
        direction: ``ingress`` or ``egress``.
        peer_address: The address of the other side.
        peer: The id of the other side, empty when it is not known.
        peer_tags: Its tags.
        action: What happens to the packets.
        policy_id: The rule that decides, or ``default``.
        service_id: The service or network of that rule.
        observed_action: What an observing rule would do, ``none`` without one.
        observed_policy_id: That rule.
        log: Whether the deciding rule asks for a log line.
        rules: Every rule of this unit and direction; those that match come first, in the
            order in which they are tried.
    """

    unit: str
    direction: str
    peer_address: str
    peer: str = ""
    peer_tags: tuple[str, ...] = ()
    action: str
    policy_id: str
    service_id: str
    observed_action: str
    observed_policy_id: str
    log: bool = False
    rules: tuple[RuleNote, ...] = ()


class RecordFields(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The fields of the flow record that depend on the policy, spelt as in the record."""

    context_id: str
    namespace: str
    source_id: str
    source_type: str
    destination_id: str
    destination_type: str
    action: str
    policy_id: str
    observed_action: str
    observed_policy_id: str
    drop_reason: str
    direction: str
    policy_revision: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The whole answer.

    Attributes:
        policy: The name of the policy, which may be empty.
        revision: The revision of the policy.
        port: The destination port, None for protocols without.
        icmp_type: The ICMP type, None for other protocols.
        icmp_code: The ICMP code, None for other protocols.
        action: ``accept`` or ``reject``: what happens to the flow.
        reason: Why, in one sentence.
        judgements: What each unit concerned says; empty when there is none.
        record: What the record says, None when there is no unit and so no record.
    """

    policy: str
    revision: str
    source: str
    destination: str
    protocol: str
    port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    action: str
    reason: str
    judgements: tuple[Judgement, ...] = ()
    record: RecordFields | None = None


def explain(
    compiled: CompiledPolicy,
    flow: FlowTuple,
    *,
    unit: str | None = None,
    direction: Side | None = None,
    destination_name: str = "",
) -> Explanation:
    """Explain what a policy does with a flow.

    Args:
        compiled: The policy.
        flow: Addresses, protocol and ports, from client to server.
        unit: The id or context of the unit at one end, instead of finding it by the address;
            for units that are selected by interface, mark or control group.
        direction: Whether that unit receives the flow (ingress) or begins it (egress).
        destination_name: A DNS name that the client looked up, and that gave the destination; the
            policy remembers that.

    Returns:
        The explanation.

    Raises:
        ValueError: The unit does not exist, or it is not clear at which end it is.
    """
    source_unit = compiled.unit_for(flow.source)
    destination_unit = compiled.unit_for(flow.destination)
    if unit is not None:
        named = _named_unit(compiled, unit)
        side = direction or _side(named, source_unit, destination_unit)
        source_unit = named if side == "egress" else source_unit
        destination_unit = named if side == "ingress" else destination_unit
    name = destination_name.lower().removesuffix(".")
    if name and source_unit is not None and source_unit.names is not None:
        source_unit.names.learn(name, flow.destination, _FOR_EVER)
    judgements = _judgements(compiled, flow, source_unit, destination_unit, name)
    record, action, reason = _outcome(compiled, flow, source_unit, destination_unit, judgements)
    has_icmp = flow.protocol in ICMP_PROTOCOLS
    return Explanation(
        policy=compiled.policy.name,
        revision=compiled.revision,
        source=_text(flow.source),
        destination=_text(flow.destination),
        protocol=protocol_name(flow.protocol),
        port=flow.port if flow.protocol in PORT_PROTOCOLS else None,
        icmp_type=flow.icmp_type if has_icmp else None,
        icmp_code=flow.icmp_code if has_icmp else None,
        action=action,
        reason=reason,
        judgements=judgements,
        record=record,
    )


def _named_unit(compiled: CompiledPolicy, name: str) -> CompiledUnit:
    unit = compiled.unit(name)
    if unit is None:
        known = ", ".join(repr(known.id) for known in compiled.units) or "none"
        raise ValueError(f"the policy has no unit {name!r}; its units are: {known}")
    return unit


def _side(
    unit: CompiledUnit, source: CompiledUnit | None, destination: CompiledUnit | None
) -> Side:
    if (unit is source) == (unit is destination):
        raise ValueError(
            f"the addresses do not say at which end unit {unit.id!r} is; "
            "give the direction: ingress when it receives the flow, egress when it begins it"
        )
    return "egress" if unit is source else "ingress"


def _outcome(
    compiled: CompiledPolicy,
    flow: FlowTuple,
    source_unit: CompiledUnit | None,
    destination_unit: CompiledUnit | None,
    judgements: tuple[Judgement, ...],
) -> tuple[RecordFields | None, str, str]:
    """Give record, action and reason, from what judges packets too."""
    if source_unit is None and destination_unit is None:
        accepted = compiled.unmatched_accepted or compiled.observe_only
        action = "accept" if accepted else "reject"
        why = "observe_only" if compiled.observe_only else f'unmatched = "{action}"'
        return None, action, f"neither address belongs to a unit, and the policy says {why}"
    outcome = Judge(compiled).rule(flow, source_unit, destination_unit, "")
    said = outcome.record
    record = RecordFields(
        context_id=said.context_id,
        namespace=said.namespace,
        source_id=outcome.client[0],
        source_type=str(outcome.client[1]),
        destination_id=outcome.server[0],
        destination_type=str(outcome.server[1]),
        action=said.action.describe(),
        policy_id=said.policy_id,
        observed_action=said.observed_action.describe(),
        observed_policy_id=said.observed_policy_id,
        drop_reason=str(said.drop_reason),
        direction=str(outcome.direction),
        policy_revision=compiled.revision,
    )
    action = "reject" if outcome.denied else "accept"
    if not judgements:
        unit = source_unit.id if source_unit is not None else ""
        return record, action, f"unit {unit} talks TCP to itself, which no rule is asked about"
    if outcome.denied:
        judgement = next(j for j in judgements if j.action == "reject")
        return record, action, f"{_said(judgement)} rejects it"
    return record, action, " and ".join(f"{_said(j)} accepts it" for j in judgements)


def _said(judgement: Judgement) -> str:
    if judgement.policy_id == "default":
        return f"the default, as no {judgement.direction} rule of {judgement.unit} decides,"
    if judgement.policy_id == "observe-only":
        return f"observe_only, in {judgement.direction} of {judgement.unit},"
    return f"{judgement.direction} rule {judgement.policy_id} of {judgement.unit}"


def _judgements(
    compiled: CompiledPolicy,
    flow: FlowTuple,
    source_unit: CompiledUnit | None,
    destination_unit: CompiledUnit | None,
    name: str,
) -> tuple[Judgement, ...]:
    if source_unit is not None and source_unit is destination_unit and flow.protocol == _TCP:
        return ()
    found = []
    if source_unit is not None:
        peer = destination_unit.peer if destination_unit else compiled.peer_for(flow.destination)
        found.append(_judge(compiled, source_unit, "egress", flow, flow.destination, peer, name))
    if destination_unit is not None:
        peer = source_unit.peer if source_unit else compiled.peer_for(flow.source)
        found.append(_judge(compiled, destination_unit, "ingress", flow, flow.source, peer))
    return tuple(found)


def _judge(
    compiled: CompiledPolicy,
    unit: CompiledUnit,
    direction: Side,
    flow: FlowTuple,
    address: bytes,
    peer: Peer | None,
    name: str = "",
) -> Judgement:
    table = unit.table(direction)
    match = table.candidates(address, peer).decide(
        flow.protocol, flow.port, flow.icmp_type, flow.icmp_code
    )
    observed = match.report.observe_action is not ObserveActionType.NONE
    return Judgement(
        unit=unit.id,
        direction=direction,
        peer_address=_text(address),
        peer=peer.id if peer is not None else "",
        peer_tags=peer.tags.slice if peer is not None else (),
        action=match.packet.action.describe(),
        policy_id=match.packet.policy_id,
        service_id=match.packet.service_id,
        observed_action=match.report.action.describe() if observed else "none",
        observed_policy_id=match.report.policy_id if observed else "",
        log=match.packet.log,
        rules=_notes(compiled.policy, table.rules, flow, address, peer, match, name),
    )


def _notes(
    policy: Policy,
    rules: tuple[Rule, ...],
    flow: FlowTuple,
    address: bytes,
    peer: Peer | None,
    match: Match,
    name: str,
) -> tuple[RuleNote, ...]:
    tags = peer.tags.slice if peer is not None else None
    value = flow.icmp_type << 8 | flow.icmp_code if flow.protocol in ICMP_PROTOCOLS else flow.port
    hits: list[tuple[Reach, int, Rule]] = []
    misses: list[RuleNote] = []
    for index, rule in enumerate(rules):
        reason = why_not(policy, rule, address, tags, flow.protocol, value, name)
        if reason:
            misses.append(_note(rule, index, matches=False, reason=reason))
        else:
            hits.append((reach(policy, rule, address, name), index, rule))
    hits.sort(key=lambda hit: (rank_of(hit[2]), not hit[2].peer_tags, -hit[0].length, hit[1]))
    # In observe_only the packet's entry is none, and the report names what would have decided.
    packet = match.packet_rule
    if packet is None and match.packet.policy_id == "observe-only":
        packet = match.report_rule
    winner = next((hit for hit in hits if packet is not None and hit[1] == packet.index), None)
    reported = match.report_rule.index if match.report_rule is not None else -1
    notes = [
        _note(
            rule,
            index,
            matches=True,
            decides=winner is not None and index == winner[1],
            reported=index == reported,
            by="tags" if rule.peer_tags else found.by,
            reason=_reason((found, index, rule), winner, reported),
        )
        for found, index, rule in hits
    ]
    return (*notes, *misses)


def _note(
    rule: Rule,
    index: int,
    *,
    matches: bool,
    decides: bool = False,
    reported: bool = False,
    by: str = "",
    reason: str = "",
) -> RuleNote:
    return RuleNote(
        id=rule.id,
        index=index,
        action=rule.action.value,
        observe=rule.observe.value,
        table=rank_of(rule).label,
        matches=matches,
        decides=decides,
        reported=reported,
        by=by,
        reason=reason,
    )


def _reason(
    hit: tuple[Reach, int, Rule], winner: tuple[Reach, int, Rule] | None, reported: int
) -> str:
    found, index, rule = hit
    rank = rank_of(rule)
    if winner is not None and index == winner[1]:
        return f"the first match of the {rank.label} table"
    if index == reported:
        return "only reported: it observes, and the search goes on"
    if winner is None:
        return "another observing rule was found first and is reported"
    won_by, won_index, won = winner
    if rank > rank_of(won):
        return f"the {rank_of(won).label} table is searched before, and {won.id} decides there"
    if rank < rank_of(won):
        return "another observing rule was found first and is reported"
    if won.peer_tags and not rule.peer_tags:
        return f"{won.id} asks for tags, which counts more than an address"
    if not rule.peer_tags and won_by.length > found.length:
        return f"{won.id} matches a longer prefix, {won_by.by}"
    return f"{won.id} stands before it in the file (rule {won_index} before rule {index}, from 0)"


def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
