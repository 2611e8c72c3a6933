"""The fast door: what it remembers of decisions, and how much of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trireme_collector.records import FlowRecord
from trireme_datapath.backends.fake import Door, FakeBackend
from trireme_datapath.engine import Engine
from trireme_datapath.lanes import MAX_FRESH
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import START_NS, craft

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trireme_datapath.lanes import Lane

POLICY = """
version = 1

[[unit]]
id = "web"
select = { address = ["10.0.0.2", "fd00::2"] }

[[unit.ingress]]
id = "all"
action = "accept"
from = ["192.0.2.0/24", "198.51.0.0/16", "2001:db8::/32"]
protocol = "udp"
ports = ["1-65535"]
"""


class Watched(Engine):
    """Keeps its lanes in sight."""

    def __init__(self) -> None:
        super().__init__(compile_policy(parse_policy(POLICY)))
        self.lanes: list[Lane] = []

    def lane(self, *arguments: object, **named: object) -> Lane:
        made = super().lane(*arguments, **named)  # type: ignore[arg-type]  # passed on as they are
        self.lanes.append(made)
        return made


def flows(engine: Engine, lines: Iterable[str]) -> list[FlowRecord]:
    packets = [craft(f"{line} size=64").data for line in lines]
    backend = FakeBackend(engine, packets, door=Door.BATCH, batch_size=len(packets))
    records = backend.drain_all(START_NS)
    return [record for record in records if isinstance(record, FlowRecord)]


def strangers(count: int) -> list[str]:
    return [
        f"udp 198.51.{number >> 8}.{number & 255}:9 > 10.0.0.2:{1000 + number}"
        for number in range(count)
    ]


@pytest.mark.parametrize("between", [0, 10, MAX_FRESH - 2])
def test_flows_that_differ_in_the_client_port_are_one_record(between: int) -> None:
    found = flows(
        Watched(),
        [
            "udp 192.0.2.1:4000 > 10.0.0.2:53",
            *strangers(between),
            "udp 192.0.2.1:4001 > 10.0.0.2:53",
            *strangers(between),
            "udp 192.0.2.1:4002 > 10.0.0.2:53",
        ],
    )
    mine = [one for one in found if one.source.ip == "192.0.2.1"]
    assert [(one.count, one.packets, one.source.port) for one in mine] == [(3, 3, 4000)]
    assert len(found) == 1 + between


def test_a_flood_of_strangers_is_forgotten_and_counted_in_full() -> None:
    engine = Watched()
    known = [f"udp 192.0.2.1:{port} > 10.0.0.2:53" for port in (4000, 4001)]
    crowd = strangers(3 * MAX_FRESH)
    found = flows(engine, [*known, *crowd, "udp 192.0.2.1:4002 > 10.0.0.2:53"])
    assert sum(one.count for one in found) == len(crowd) + 3
    assert [one.count for one in found if one.source.ip == "192.0.2.1"] == [3]
    (lane,) = engine.lanes
    repeated, fresh = lane.memories[17]
    assert len(repeated) == 1
    assert 0 < len(fresh) <= MAX_FRESH


def test_records_of_both_ip_versions_name_their_ends() -> None:
    found = flows(
        Watched(), ["udp 192.0.2.255:65535 > 10.0.0.2:1", "udp [2001:db8::1]:7 > [fd00::2]:65535"]
    )
    assert [
        (one.source.ip, one.source.port, one.destination.ip, one.destination.port) for one in found
    ] == [("192.0.2.255", 65535, "10.0.0.2", 1), ("2001:db8::1", 7, "fd00::2", 65535)]


def test_accepted_flows_are_left_to_their_account_where_that_is_wanted() -> None:
    engine = Watched()
    engine.leave_counting(report_opened=False)
    lines = ["udp 192.0.2.1:4000 > 10.0.0.2:53", "udp 203.0.113.1:4000 > 10.0.0.2:53"]
    found = flows(engine, lines)
    assert [one.source.ip for one in found] == ["203.0.113.1"]
    assert (engine.counters["flows_accepted"], engine.counters["flows_rejected"]) == (1, 1)
    # Later flows of the same kind begin to count anew.
    engine.leave_counting()
    (again,) = flows(engine, ["udp 192.0.2.1:4001 > 10.0.0.2:53"])
    assert (again.count, again.source.port) == (1, 4001)
