"""What Cilium prints of packets is printed, letter for letter."""

from __future__ import annotations

import msgspec
import pytest

from tests.monitor.dissection.vectors import PACKET_CASES, PacketCase
from trireme_datapath.monitor.dissection import (
    connection_summary,
    crashes_upstream,
    dissect,
    get_connection_info,
    get_dissect_summary,
)
from trireme_datapath.monitor.dissection._connection import general_summary


@pytest.fixture(params=PACKET_CASES, ids=lambda case: case.id)
def case(request: pytest.FixtureRequest) -> PacketCase:
    recorded: PacketCase = request.param
    return recorded


def test_there_are_cases_of_both_profiles() -> None:
    assert {case.profile for case in PACKET_CASES} == {"1.16", "1.9"}
    assert len(PACKET_CASES) == 392


def test_a_packet_is_shown_as_recorded(case: PacketCase) -> None:
    packet, profile = case.packet, case.profile
    assert dissect(packet, verbose=True, profile=profile) == case.dissected
    assert dissect(packet, verbose=False, profile=profile) == case.dumped
    # Both ways to a summary, the quick one and the general one.
    assert connection_summary(packet, profile=profile) == case.summary
    assert general_summary(packet, is_1_9=profile == "1.9") == case.summary


def test_a_connection_is_found_as_recorded(case: PacketCase) -> None:
    info = get_connection_info(case.packet, profile=case.profile)
    assert {
        "src_ip": info.src_ip or "<nil>",
        "dst_ip": info.dst_ip or "<nil>",
        "src_port": info.src_port,
        "dst_port": info.dst_port,
        "proto": info.proto,
        "icmp_code": info.icmp_code,
    } == case.connection


def test_the_json_form_is_as_recorded(case: PacketCase) -> None:
    assert crashes_upstream(case.packet, profile=case.profile) == (case.json is None)
    if case.json is not None:
        summary = get_dissect_summary(case.packet, profile=case.profile)
        assert msgspec.json.encode(summary).decode() == case.json
