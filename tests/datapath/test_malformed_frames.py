"""Malformed datagrams of every kind are dropped one by one, each with its reason."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.datapath.test_datapath import HTTP, POLICY
from trireme_collector.records import FlowRecord, PacketReport
from trireme_datapath.backends.fake import Door, FakeBackend
from trireme_datapath.engine import Engine, EngineLimits
from trireme_datapath.packets import QueuedPacket, Verdict
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import craft

Entry: TypeAlias = dict[str, Any]  # a table of a TOML file
GOLDEN: list[Entry] = tomllib.loads(
    (Path(__file__).parents[1] / "data" / "packets.toml").read_text(encoding="utf-8")
)["malformed"]
LIMITS = EngineLimits(max_packet_reports_per_second=100_000)


def engine() -> Engine:
    return Engine(compile_policy(parse_policy(POLICY)), LIMITS)


def queued(entry: Entry, packet_id: int) -> QueuedPacket:
    data = bytes.fromhex(entry["hex"])
    return QueuedPacket(
        data=data, original_length=entry.get("original_length"), packet_id=packet_id
    )


@pytest.mark.parametrize("door", list(Door))
@pytest.mark.parametrize("entry", [pytest.param(one, id=one["name"]) for one in GOLDEN])
def test_one_bad_packet_harms_one_packet(entry: Entry, door: Door) -> None:
    judge = engine()
    good = craft("tcp 192.0.2.10:40001 > 198.51.100.20:80 S").data
    packets = [
        QueuedPacket(data=HTTP, packet_id=1),
        queued(entry, 2),
        QueuedPacket(data=good, packet_id=3),
    ]
    backend = FakeBackend(judge, packets, door=door)
    records = backend.drain_all(1_000)
    assert [backend.verdicts[number].verdict for number in (1, 2, 3)] == [
        Verdict.ACCEPT,
        Verdict.DROP,
        Verdict.ACCEPT,
    ]
    assert judge.counters[f"dropped_malformed:{entry['reason']}"] == 1
    assert judge.counters["packets_dropped"] == 1
    assert judge.counters["packets"] == 3
    (report,) = [one for one in records if isinstance(one, PacketReport)]
    assert report.drop_reason == f"malformed:{entry['reason']}"
    assert sum(one.count for one in records if isinstance(one, FlowRecord)) == 2


@pytest.mark.parametrize("door", list(Door))
def test_all_of_them_together_get_one_verdict_each(door: Door) -> None:
    judge = engine()
    packets = [queued(entry, number) for number, entry in enumerate(GOLDEN * 20)]
    backend = FakeBackend(judge, packets, door=door)
    records = backend.drain_all(1_000)
    assert len(backend.verdicts) == len(packets)
    assert {one.verdict for one in backend.verdicts.values()} == {Verdict.DROP}
    assert judge.counters["packets_dropped"] == len(packets) == len(records)
    assert len(judge.flows) == 0
