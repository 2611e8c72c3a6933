"""Messages are read by a decoder of their own; nothing stands for what is not known."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from tests.plugins.ipfix.decoding import Collecting
from trireme_collector import ActionType, Direction, EndPoint, FlowRecord
from trireme_collector.testing.strategies import structs
from trireme_collector_ipfix._messages import Exporter
from trireme_collector_ipfix._rows import Row, rows_of

EXPORTED = 1_700_000_000
RECORD = FlowRecord(
    source=EndPoint(ip="192.0.2.1", port=40_000),
    destination=EndPoint(ip="198.51.100.2", port=443),
    l4_protocol=6,
    action=ActionType.ACCEPT,
    direction=Direction.EGRESS,
    interface="eth0",
    source_packets=3,
    source_bytes=180,
    destination_packets=2,
    destination_bytes=1200,
    start_time_ns=1_700_000_000_123_000_000,
    end_time_ns=1_700_000_001_456_999_999,
    tcp_flags=0x1B,
    sequence=9,
)


def export(
    batch: list[list[Row]], exporter: Exporter | None = None, max_bytes: int = 1400
) -> tuple[Collecting, list[bytes]]:
    exporter = exporter or Exporter(1, max_bytes)
    collecting = Collecting()
    messages = [message.data for message in exporter.messages(batch, EXPORTED)]
    for message in messages:
        collecting.message(message)
    return collecting, messages


def numbers(record: dict[int, bytes]) -> dict[int, int]:
    return {
        element: int.from_bytes(value, "big")
        for element, value in record.items()
        if element not in {8, 12, 27, 28, 82}
    }


def test_a_flow_has_its_elements() -> None:
    collecting, _ = export([rows_of(RECORD)])
    there, back = collecting.records
    assert (there[8], there[12]) == (bytes([192, 0, 2, 1]), bytes([198, 51, 100, 2]))
    assert (back[8], back[12]) == (there[12], there[8])
    assert there[82] == b"eth0"
    assert numbers(there) == {
        148: 9,
        256: 0x0800,
        61: 1,
        4: 6,
        7: 40_000,
        11: 443,
        1: 180,
        2: 3,
        152: 1_700_000_000_123,
        153: 1_700_000_001_456,
        6: 0x1B,
        89: 64,
    }
    assert (numbers(back)[61], numbers(back)[1], numbers(back)[7]) == (0, 1200, 443)
    assert collecting.templates == 1


def test_what_is_not_known_is_not_there() -> None:
    flow = FlowRecord(
        source=EndPoint(ip="2001:db8::1"),
        destination=EndPoint(ip="2001:db8::2"),
        l4_protocol=58,
        action=ActionType.REJECT,
    )
    collecting, _ = export([rows_of(RECORD), rows_of(flow), rows_of(FlowRecord())])
    icmp, empty = collecting.records[2:]
    assert icmp[27] == ipaddress.ip_address("2001:db8::1").packed
    assert numbers(icmp) == {256: 0x86DD, 4: 58, 89: 129}
    assert not icmp.keys() & {1, 2, 7, 8, 11, 12, 82, 148, 152, 153}
    assert numbers(empty) == {4: 0}
    assert collecting.templates == 3


@pytest.mark.parametrize(
    ("protocol", "kind", "code", "element", "value"),
    [
        (1, 8, 0, 32, 0x0800),
        (1, 3, 13, 32, 0x030D),
        (1, 0, 0, 32, 0),
        (58, 128, 0, 139, 0x8000),
        (58, 255, 255, 139, 0xFFFF),
    ],
)
def test_what_icmp_said(protocol: int, kind: int, code: int, element: int, value: int) -> None:
    flow = FlowRecord(
        l4_protocol=protocol,
        icmp_type=kind,
        icmp_code=code,
        source_packets=1,
        destination_packets=1,
    )
    collecting, _ = export([rows_of(flow)])
    there, back = map(numbers, collecting.records)
    assert there[element] == value
    assert not back.keys() & {32, 139}
    assert not there.keys() & ({32, 139} - {element})


@pytest.mark.parametrize(
    ("protocol", "kind", "code"),
    [(1, 8, UNSET), (1, UNSET, 0), (1, 256, 0), (58, 1, -1), (6, 8, 0)],
)
def test_what_no_icmp_can_say_is_not_there(
    protocol: int, kind: int | UnsetType, code: int | UnsetType
) -> None:
    flow = FlowRecord(l4_protocol=protocol, icmp_type=kind, icmp_code=code)
    collecting, _ = export([rows_of(flow)])
    assert not collecting.records[0].keys() & {32, 139}


def test_a_message_to_the_byte() -> None:
    flow = FlowRecord(
        source=EndPoint(ip="10.0.0.1", port=1),
        destination=EndPoint(ip="10.0.0.2", port=2),
        l4_protocol=17,
        interface="lo",
    )
    _, (message,) = export([rows_of(flow)])
    elements = [(8, 4), (12, 4), (256, 2), (4, 1), (7, 2), (11, 2), (82, 65_535)]
    template = struct.pack(">HH", 256, len(elements)) + b"".join(
        struct.pack(">HH", *pair) for pair in elements
    )
    data = bytes.fromhex("0a000001 0a000002 0800 11 0001 0002 02") + b"lo"
    sets = (
        struct.pack(">HH", 2, 4 + len(template))
        + template
        + struct.pack(">HH", 256, 4 + len(data))
        + data
    )
    assert message == struct.pack(">HHIII", 10, 16 + len(sets), EXPORTED, 0, 1) + sets


@given(st.lists(structs(FlowRecord), max_size=12), st.sampled_from([512, 1400, 65_535]))
def test_any_flows_can_be_read(flows: list[FlowRecord], max_bytes: int) -> None:
    batch = [rows_of(flow) for flow in flows]
    collecting, messages = export(batch, max_bytes=max_bytes)
    assert all(len(message) <= max_bytes for message in messages)
    assert collecting.gaps == 0
    rows = [row for few in batch for row in few]
    assert len(collecting.records) == len(rows)
    for record, row in zip(collecting.records, rows, strict=True):
        assert list(record) == [element for element, _ in row.elements]
        lengths = dict(row.elements)
        again = b"".join(
            (bytes([len(value)]) if lengths[element] == 65_535 else b"") + value
            for element, value in record.items()
        )
        assert again == row.data
        assert record.get(82, b"").decode().isprintable()


def test_templates_are_told_once_a_session() -> None:
    exporter = Exporter(7, 1400)
    batch = [rows_of(RECORD)]
    first, _ = export(batch, exporter)
    assert (first.templates, first.domains) == (1, {7})
    messages = list(exporter.messages(batch, EXPORTED))
    assert b"\x00\x02" not in messages[0].data[16:18]
    assert messages[0].sequence == 2
    exporter.announce_again()
    assert next(exporter.messages(batch, EXPORTED)).data[16:18] == b"\x00\x02"
    exporter.start_session()
    assert next(exporter.messages(batch, EXPORTED)).sequence == 0


def test_records_are_done_when_all_of_them_went() -> None:
    batch = [rows_of(RECORD)] * 40
    exporter = Exporter(1, 512)
    done = [message.done for message in exporter.messages(batch, EXPORTED)]
    assert done == sorted(done)
    assert len(done) > 3
    assert done[-1] == 40
    assert exporter.sequence == 80


def test_counters_that_no_element_holds_are_the_largest_it_does() -> None:
    flow = FlowRecord(packets=2**70, bytes=-1, tcp_flags=2**20, l4_protocol=700)
    collecting, _ = export([rows_of(flow)])
    assert numbers(collecting.records[0]) == {2: 2**64 - 1, 1: 0, 6: 65_535, 4: 255}
