"""Observing decides exactly as enforcing does, and drops nothing."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.records import ActionType
from trireme_datapath.backends.fake import Door, FakeBackend
from trireme_datapath.engine import Engine
from trireme_datapath.judgement import FlowTuple, Judge
from trireme_datapath.packets import QueuedPacket, Verdict
from trireme_datapath.policy import CompiledPolicy, compile_policy, parse_policy

ADDRESSES = [bytes([10, 0, 0, number]) for number in range(4)] + [bytes([192, 0, 2, 1])]


def rules(dice: random.Random, key: str) -> list[dict[str, object]]:
    made: list[dict[str, object]] = []
    for number in range(dice.randrange(4)):
        rule: dict[str, object] = {
            "id": f"{key}{number}",
            "action": dice.choice(["accept", "reject"]),
            key: dice.choice(["any", "10.0.0.0/24", "192.0.2.1", "10.0.0.2"]),
            "observe": dice.choice(["none", "none", "continue", "apply"]),
        }
        if dice.randrange(2):
            rule |= {"protocol": "tcp", "ports": dice.choice([80, "80-90"])}
        made.append(rule)
    return made


def policies(seed: int) -> tuple[CompiledPolicy, CompiledPolicy]:
    """Give a policy, enforced and observed."""
    dice = random.Random(seed)
    units = [
        {
            "id": name,
            "select": {"address": address},
            "ingress": rules(dice, "from"),
            "egress": rules(dice, "to"),
        }
        for name, address in (("a", "10.0.0.1"), ("b", "10.0.0.2"))
    ]
    default = dice.choice(["accept", "reject"])
    text = f'version = 1\ndefault = "{default}"\nunit = ' + toml(units)
    return compile_policy(parse_policy(text)), compile_policy(
        parse_policy("observe_only = true\n" + text)
    )


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


@given(st.integers(0, 2**32))
def test_each_flow_is_decided_alike(seed: int) -> None:
    enforced, observed = policies(seed)
    judge, observer = Judge(enforced), Judge(observed)
    for source in ADDRESSES:
        for destination in ADDRESSES:
            source_unit, destination_unit = (
                enforced.unit_for(source),
                enforced.unit_for(destination),
            )
            if source_unit is None and destination_unit is None:
                continue
            for port in (79, 80, 90):
                flow = FlowTuple(source=source, destination=destination, protocol=6, port=port)
                one = judge.rule(flow, source_unit, destination_unit, "")
                ends = observed.unit_for(source), observed.unit_for(destination)
                other = observer.rule(flow, *ends, "")
                assert not other.denied
                assert (one.record.context_id, one.direction, one.client, one.server) == (
                    other.record.context_id,
                    other.direction,
                    other.client,
                    other.server,
                )
                if one.denied:
                    assert other.record.observed_action is ActionType.REJECT
                    assert other.record.observed_policy_id == one.record.policy_id
                    assert other.record.policy_id == "observe-only"
                else:
                    assert (one.record.action, one.record.policy_id) == (
                        other.record.action,
                        other.record.policy_id,
                    )
                    assert one.record.observed_policy_id == other.record.observed_policy_id


@pytest.mark.parametrize("door", list(Door))
@given(st.lists(st.binary(max_size=80), max_size=8), st.integers(0, 2**16))
def test_nothing_at_all_is_dropped(door: Door, packets: list[bytes], seed: int) -> None:
    _, observed = policies(seed)
    dice = random.Random(seed)
    # Some of them look like packets, which arbitrary bytes hardly ever do.
    heads = ["4500002800004000400600000a0000010a000002", "45000028000020004006", "6000000000140640"]
    framed = [bytes.fromhex(dice.choice(heads)) + packet for packet in packets]
    queued = [
        QueuedPacket(data=data, packet_id=number)
        for number, data in enumerate([*packets, *framed], start=1)
    ]
    backend = FakeBackend(Engine(observed, refuse_mark=1), queued, door=door)
    backend.drain_all(1_000)
    assert {one.verdict for one in backend.verdicts.values()} <= {Verdict.ACCEPT}
    assert len(backend.verdicts) == len(queued)
