"""Packets add up to flow logs as the agent of the format counts them."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from trireme_collector.netobserv import FLOW_FIELDS, FlowReader
from trireme_datapath.backends.pcap import (
    CaptureDirection,
    CapturedPacket,
    CaptureError,
    LinkHeader,
)
from trireme_datapath.flow_logs import FlowAccount, read_capture

CAPTURES = Path(__file__).parents[1] / "data" / "captures"


def captured(packet: object, **fields: object) -> CapturedPacket:
    data = bytes(packet)  # type: ignore[call-overload]  # scapy's packets give their bytes
    values = {
        "number": 1,
        "time_ns": 0,
        "original_length": len(data),
        "interface": "",
        "link_type": 1,
        "link": LinkHeader(14, 0x0800),
        **fields,
    }
    return CapturedPacket(data=data, **values)  # type: ignore[arg-type]  # of those types


def tcp(flags: str, *, back: bool = False) -> object:
    if back:
        return IP(src="192.0.2.2", dst="192.0.2.1") / TCP(sport=443, dport=40000, flags=flags)
    return IP(src="192.0.2.1", dst="192.0.2.2") / TCP(sport=40000, dport=443, flags=flags)


def test_a_flow_log_is_of_one_direction_and_interval() -> None:
    account = FlowAccount(interval_ms=5_000)
    for now_ms, packet in enumerate((tcp("S"), tcp("SA", back=True), tcp("A"))):
        assert account.add(captured(packet), now_ms) == []
    there, back = account.add(captured(tcp("FA")), 5_000)
    assert there == {
        "SrcAddr": "192.0.2.1",
        "DstAddr": "192.0.2.2",
        "Proto": 6,
        "Packets": 2,
        "Bytes": 108,
        "TimeFlowStartMs": 0,
        "TimeFlowEndMs": 2,
        "Etype": 0x0800,
        "SrcPort": 40000,
        "DstPort": 443,
        "Flags": 0x12,
    }
    assert (back["Flags"], back["SrcPort"]) == (0x100, 443)
    (last,) = account.flush()
    assert (last["Flags"], last["Packets"]) == (0x200, 1)
    assert account.flush() == []


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        *(("S", 0x02), ("SA", 0x100), ("FA", 0x200), ("RA", 0x400), ("FPA", 0x200), ("R", 0x04)),
        *(
            ("A", 0x10),
            ("PA", 0x10),
            ("F", 0x01),
            ("P", 0x08),
            ("U", 0x20),
            ("", 0),
            ("SFA", 0x100),
        ),
    ],
)
def test_each_packet_has_one_flag(flags: str, expected: int) -> None:
    account = FlowAccount()
    account.add(captured(tcp(flags)), 0)
    assert account.flush()[0]["Flags"] == expected


def test_other_protocols() -> None:
    account = FlowAccount()
    account.add(captured(IP(src="192.0.2.1", dst="192.0.2.2") / ICMP(type=8)), 0)
    account.add(
        captured(IPv6(src="2001:db8::1", dst="::ffff:192.0.2.1") / UDP(sport=1, dport=2)), 0
    )
    ping, mapped = account.flush()
    assert (ping["IcmpType"], ping["IcmpCode"]) == (8, 0)
    assert "SrcPort" not in ping
    assert "Flags" not in ping
    assert (mapped["DstAddr"], mapped["SrcPort"], mapped["Etype"]) == ("192.0.2.1", 1, 0x86DD)


def test_where_a_packet_was_seen() -> None:
    account = FlowAccount()
    account.add(captured(tcp("S"), interface="eth0", direction=CaptureDirection.OUTBOUND), 0)
    (flow,) = account.flush()
    assert (flow["Interface"], flow["FlowDirection"]) == ("eth0", 1)


def test_what_cannot_be_read_is_counted() -> None:
    account = FlowAccount()
    account.add(captured(b"\x45\x00"), 0)
    assert account.flush() == []
    assert account.malformed == 1


def test_the_table_is_bounded() -> None:
    account = FlowAccount(max_flows=2)
    given = []
    for port in range(5):
        packet = IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=port, dport=53)
        given += account.add(captured(packet), 0)
    assert len(given + account.flush()) == 5


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.pcap*")), ids=lambda path: path.name)
def test_every_capture_gives_sound_flow_logs(path: Path) -> None:
    reader = FlowReader()
    flows: list[dict[str, object]] = []
    try:
        flows.extend(read_capture(str(path)))
    except CaptureError:
        assert path.name.startswith(("cut", "truncated"))
    for flow in flows:
        assert reader.tidy(flow) == flow
        assert flow.keys() <= set(FLOW_FIELDS)
    assert not reader.wrong
    assert flows


def test_no_capture() -> None:
    with pytest.raises(CaptureError):
        list(read_capture("/dev/null"))
