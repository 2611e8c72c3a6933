"""Counter reports: Trireme's table, ours behind it, and nothing lost between reports."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from scapy.layers import inet as scapy

from tests.datapath.test_engine import POLICY
from trireme_collector.records import CounterReport
from trireme_datapath.backends.fake import Door, FakeBackend
from trireme_datapath.backends.netlink import QueueStatistics
from trireme_datapath.counters import AGENT_COUNTERS, TRIREME_COUNTERS, queue_totals
from trireme_datapath.engine import Engine
from trireme_datapath.packets import QueuedPacket
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import SECOND_NS, START_NS, craft

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trireme_collector.records import Record


def engine_of(text: str = POLICY, **queue: int) -> Engine:
    engine = Engine(compile_policy(parse_policy(text)))
    engine.report_counters(lambda: queue)
    engine.take_records(START_NS)
    return engine


def receive(engine: Engine, *lines: str) -> None:
    for line in lines:
        engine.receive(craft(line), START_NS)


def reports(records: Iterable[Record]) -> dict[str, dict[str, int]]:
    """Give what was counted, by context; zeros left out."""
    return {
        one.context_id: {counter.name: counter.value for counter in one.counters if counter.value}
        for one in records
        if isinstance(one, CounterReport)
    }


def test_the_table_of_trireme_comes_first_and_whole() -> None:
    assert len(TRIREME_COUNTERS) == len(set(TRIREME_COUNTERS)) == 59
    assert [TRIREME_COUNTERS.index(name) for name in ("REJECTEDPACKET", "SYNDROPPEDPOLICY")] == [
        5,
        19,
    ]
    assert [
        TRIREME_COUNTERS.index(name)
        for name in ("CONNECTIONSPROCESSED", "UDPCONNECTIONSPROCESSED", "DUPLICATEHANDSHAKEACKDROP")
    ] == [36, 53, 58]
    engine = engine_of()
    receive(engine, "tcp 192.0.2.1:4000 > 10.0.0.2:80")
    for report in engine.take_last_records(START_NS):
        if isinstance(report, CounterReport):
            names = tuple(counter.name for counter in report.counters)
            assert names[:59] == TRIREME_COUNTERS
            if not report.context_id:
                assert names[59 : 59 + len(AGENT_COUNTERS)] == AGENT_COUNTERS


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("tcp 192.0.2.1:4000 > 10.0.0.2:80", "CONNECTIONSPROCESSED"),
        ("udp 192.0.2.1:4000 > 10.0.0.2:53", "UDPCONNECTIONSPROCESSED"),
        ("tcp 192.0.2.1:4000 > 10.0.0.2:81", "SYNDROPPEDPOLICY"),
        ("udp 192.0.2.1:4000 > 10.0.0.2:54", "UDPSYNDROPPEDPOLICY"),
        ("tcp 10.0.0.2:4000 > 192.0.2.1:80", "ACLSYNDROPPED"),
        ("tcp 10.0.0.3:4000 > 10.0.0.2:80", "SYNDROPPEDPOLICY"),
        ("tcp 192.0.2.1:4000 > 10.0.0.2:80 A", "INVALIDCONNECTIONSTATE"),
    ],
)
def test_judgements_have_the_names_of_trireme(line: str, name: str) -> None:
    engine = engine_of()
    receive(engine, line)
    counted = reports(engine.take_last_records(START_NS))
    unit = next(value for key, value in counted.items() if key)
    ours = "flows_accepted" if "PROCESSED" in name else "flows_rejected"
    rejected = {} if ours == "flows_accepted" else {"REJECTEDPACKET": 1}
    assert unit == {name: 1, ours: 1, **rejected}


def test_reports_come_every_half_minute_and_say_what_is_new() -> None:
    engine = engine_of()
    receive(engine, "tcp 192.0.2.1:4000 > 10.0.0.2:80")
    assert reports(engine.take_records(START_NS + 29 * SECOND_NS)) == {}
    first = reports(engine.take_records(START_NS + 30 * SECOND_NS))
    assert first["ctx-web"] == {"CONNECTIONSPROCESSED": 1, "flows_accepted": 1}
    assert first[""] == {"packets": 1, "flows_accepted": 1}
    second = reports(engine.take_records(START_NS + 60 * SECOND_NS))
    assert second == {"": {}}


def test_a_clock_that_was_set_back_delays_no_report_for_long() -> None:
    engine = engine_of()
    assert reports(engine.take_records(START_NS - 3_600 * SECOND_NS)) == {}
    assert reports(engine.take_records(START_NS - 3_570 * SECOND_NS)) == {"": {}}


def test_a_policy_that_is_replaced_loses_no_count() -> None:
    engine = engine_of()
    receive(engine, "tcp 192.0.2.1:4000 > 10.0.0.2:80")
    engine.replace_policy(compile_policy(parse_policy("version = 1")))
    counted = reports(engine.take_last_records(START_NS))
    assert counted["ctx-web"] == {"CONNECTIONSPROCESSED": 1, "flows_accepted": 1}


def test_reports_add_up_to_the_totals() -> None:
    engine = engine_of()
    total: Counter[str] = Counter()
    for step in range(8):
        for port in range(step):
            line = f"tcp 192.0.2.1:{4000 + port} > 10.0.0.2:{80 + step % 2}"
            engine.receive(craft(line), START_NS + step * 20 * SECOND_NS)
        engine.receive(craft("tcp 172.16.0.1:1 > 172.16.0.2:2"), START_NS + step * 20 * SECOND_NS)
        found = reports(engine.take_records(START_NS + step * 20 * SECOND_NS))
        total.update(found.get("", {}))
    total.update(reports(engine.take_last_records(START_NS + 200 * SECOND_NS))[""])
    assert engine.counters.items() <= total.items()
    assert total["REJECTEDPACKET"] == engine.counters["packets_denied"] > 0
    assert total["CONTEXTNOTFOUND"] == 8


@pytest.mark.parametrize("door", list(Door))
def test_a_unit_has_its_own_denied_packets(door: Door) -> None:
    engine = engine_of()
    lines = [
        *["tcp 192.0.2.1:4000 > 10.0.0.2:81"] * 4,
        *["udp 192.0.2.1:4000 > 10.0.0.2:54"] * 3,
        *["tcp 192.0.2.1:4000 > 10.0.0.3:5432"] * 2,
        "tcp 192.0.2.1:4001 > 10.0.0.2:80",
        "tcp 172.16.0.1:1 > 172.16.0.2:2",
    ]
    FakeBackend(engine, [craft(line).data for line in lines], door=door).drain_all(START_NS)
    counted = reports(engine.take_last_records(START_NS))
    assert counted["ctx-web"]["REJECTEDPACKET"] == 7
    assert counted["ctx-db"]["REJECTEDPACKET"] == 2
    assert counted[""]["REJECTEDPACKET"] == engine.counters["packets_denied"] == 9


def test_later_fragments_count_for_the_unit_of_the_first() -> None:
    engine = engine_of()
    for fragment in scapy.fragment(
        scapy.IP(src="192.0.2.1", dst="10.0.0.2", id=7) / scapy.UDP(dport=54) / bytes(64), 32
    ):
        engine.receive(QueuedPacket(data=bytes(fragment)), START_NS)
    assert reports(engine.take_last_records(START_NS))["ctx-web"] == {
        "REJECTEDPACKET": 3,
        "UDPSYNDROPPEDPOLICY": 1,
        "flows_rejected": 1,
    }


def test_the_numbers_of_the_kernel_are_in_the_report_on_nobody() -> None:
    engine = engine_of(queue_received=7, queue_dropped_full=2)
    counted = reports(engine.take_last_records(START_NS))[""]
    assert counted == {"queue_received": 7, "queue_dropped_full": 2}


def test_totals_of_a_queue() -> None:
    statistics = QueueStatistics(
        queue_number=0,
        port_id=1,
        waiting=3,
        copy_mode=2,
        copy_range=128,
        dropped=5,
        user_dropped=2,
        last_packet_id=100,
    )
    assert queue_totals(statistics, judged=94) == {
        "queue_received": 105,
        "queue_dropped_full": 5,
        "queue_dropped_socket": 2,
        "queue_unjudged": 1,
    }
    assert queue_totals(None, judged=1) == {}
