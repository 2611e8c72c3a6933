"""What the fixed output does otherwise: one test for each line of the list in the reference."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from tests.monitor.cilium_vectors import cases
from trireme_datapath.monitor import AgentNotify, Display, DropNotify, LogRecordNotify, render
from trireme_datapath.monitor.display import Level
from trireme_datapath.monitor.messages.access_log import (
    LogRecordDNS,
    LogRecordHTTP,
    LogRecordKafka,
)

FIXED = Display(fixed=True)
IPV4 = bytes.fromhex("450000280001000040066abc0102030405060708")  # checksum is sound
TCP = bytes.fromhex("005001bb00000000000000005000200000000000")
ETHERNET = bytes.fromhex("0233456789ab0123456789ab0800")
IPV6 = bytes.fromhex("6000000000140640") + bytes(15) + b"\x01" + bytes(15) + b"\x02"
PACKET = ETHERNET + IPV4 + TCP
NO_FLAGS = "1.2.3.4:80 -> 5.6.7.8:443 tcp"


def drop(packet: bytes = PACKET, code: int = 133, ext_error: int = 0, file: int = 2) -> bytes:
    return (
        struct.pack("<BBHIIIIIIHBbI", 1, code, 9, 0xAB, 54, 65590, 1, 2, 7, 100, file, ext_error, 5)
        + packet
    )


def trace(packet: bytes = PACKET, point: int = 3, reason: int = 1) -> bytes:
    return (
        struct.pack("<BBHIIHHIIHBBI", 4, point, 9, 0xAB, 54, 54, 0, 1, 2, 7, reason, 0, 5) + packet
    )


def verdict(direction: int = 1) -> bytes:
    return struct.pack(
        "<BBHIIHHIiHBBBBH", 5, 0, 9, 0xAB, 54, 54, 1, 2, 0, 443, 6, direction, 0, 0, 0
    ) + (PACKET)


def recorder() -> bytes:
    return struct.pack("<BBHIqII", 6, 1, 4, 0, 99, 54, 54) + PACKET


def sock(flags: int = 0) -> bytes:
    return struct.pack("<BB16sHQQBB", 7, 1, bytes(range(1, 17)), 53, 8, 9, 2, flags)


def fixed(message: bytes, mode: str = "info") -> str:
    return render(message, mode=mode, fixed=True)


def fixed_json(message: bytes) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(fixed(message, "json"))
    return loaded


def test_the_line_of_a_message_stands_in_front_of_its_packet() -> None:
    for message in (drop(), trace()):
        lines = fixed(message, "verbose").splitlines()
        assert lines[1].startswith("CPU 00: MARK 0xab FROM 9")
        assert lines[2].startswith("Ethernet\t{")
        assert render(message, mode="verbose").splitlines()[1] == lines[2]


def test_one_comma_in_front_of_identities() -> None:
    assert fixed(drop()) == (
        "xx drop (Policy denied) flow 0xab to endpoint 7, ifindex 5, file bpf_lxc.c:100, "
        f"identity host->world: {NO_FLAGS}\n"
    )
    assert fixed(trace()) == (
        "-> stack flow 0xab identity host->world state established ifindex 5 "
        f"orig-ip 0.0.0.0: {NO_FLAGS}\n"
    )
    assert ", identity host->world, orig-ip" in fixed(trace(), "verbose").splitlines()[1]


def test_one_space_behind_encrypted() -> None:
    assert fixed(trace(reason=0x81)).startswith("-> stack encrypted flow 0xab ")


def test_no_space_at_the_end_of_a_line() -> None:
    for message in (drop(), trace(), verdict(), sock()):
        assert not fixed(message).endswith(" \n")
    assert render(trace()).endswith(" \n")


def test_to_host_does_not_end_in_from() -> None:
    assert fixed(trace(point=2)).startswith("-> host flow")


def test_an_unknown_drop_reason_without_a_second_error_is_a_number() -> None:
    assert fixed(drop(code=205)).startswith("xx drop (205) ")
    assert fixed(drop(code=205, ext_error=-3)).startswith("xx drop (205, -3) ")


def test_json_is_json_for_every_type() -> None:
    assert fixed_json(verdict()) | {"summary": 0} == {
        "cpu": "CPU 00:",
        "type": "policy-verdict",
        "mark": "0xab",
        "source": 9,
        "bytes": 54,
        "remoteLabel": 2,
        "verdict": 0,
        "action": "allow",
        "direction": "ingress",
        "match": "none",
        "auth": "disabled",
        "proto": 6,
        "dstPort": 443,
        "ipv6": False,
        "summary": 0,
    }
    assert fixed_json(recorder()) | {"summary": 0} == {
        "cpu": "CPU 00:",
        "type": "recorder",
        "direction": "ingress",
        "ruleID": 4,
        "timeBoot": 99,
        "capLen": 54,
        "bytes": 54,
        "summary": 0,
    }
    assert fixed_json(sock()) == {
        "cpu": "CPU 00:",
        "type": "trace-sock",
        "xlatePoint": "pre-xlate-fwd",
        "cgroupID": 9,
        "sockCookie": 8,
        "dstIP": "1.2.3.4",
        "dstPort": 53,
        "proto": "udp",
    }
    assert fixed_json(b"\xc8\x01") == {"cpu": "CPU 00:", "type": "unknown", "data": "c801"}
    assert fixed_json(b"\x02") == {
        "cpu": "CPU 00:",
        "type": "error",
        "message": "Error while parsing debug message: "
        "unexpected DebugMsg data length, expected 20 but got 1",
    }


def test_the_texts_of_an_agent_are_json_in_json() -> None:
    def message(text: str) -> object:
        shown = AgentNotify(type=1, text=text).show(Level.JSON, b"", "", FIXED)
        return json.loads(shown)["message"]

    assert message('{"id": 5}') == {"id": 5}
    assert message("no JSON\n") == "no JSON\n"
    assert message("") == ""
    assert message("NaN") == "NaN"
    assert message("[" * 100_000) == "[" * 100_000


def test_socket_traces_are_shown_in_every_mode() -> None:
    line = "CPU 00: [pre-xlate-fwd] cgroup_id: 9 sock_cookie: 8, dst {}:53 udp\n"
    for mode in ("info", "debug", "verbose"):
        assert fixed(sock(), mode) == line.format("1.2.3.4")
    assert fixed(sock(flags=1)) == line.format("[102:304:506:708:90a:b0c:d0e:f10]")


def test_an_access_log_record_always_ends_its_line() -> None:
    record = LogRecordNotify(type="Request", verdict="Denied")
    assert record.dump_info(FIXED).endswith("verdict Denied\n")
    assert not record.dump_info().endswith("\n")


@pytest.mark.parametrize("ips", [("10.0.0.1", "?0a0000"), ("?00",)])
def test_an_address_of_another_length_leaves_no_json(ips: tuple[str, ...]) -> None:
    record = LogRecordNotify(dns=LogRecordDNS(query="a.", ips=ips))
    assert record.dump_json() == ""
    assert f'"IPs":["{ips[0]}"' in record.dump_json(FIXED)
    sound = LogRecordNotify(dns=LogRecordDNS(query="a.", ips=("<nil>", "::1")))
    assert '"IPs":["","::1"]' in sound.dump_json()


def test_what_others_chose_cannot_speak_to_the_terminal() -> None:
    record = LogRecordNotify(
        type="Request",
        http=LogRecordHTTP(method="GET\x1b[2J"),
        kafka=LogRecordKafka(topic="a\nb"),
        dns=LogRecordDNS(query="\u202egpj.exe"),
    )
    lines = record.dump_info(FIXED).splitlines()
    assert len(lines) == 3
    assert "GET\\x1b[2J" in lines[0]
    assert lines[1] == "  topic a\\nb => 0"
    assert "\\u202egpj.exe" in lines[2]
    assert AgentNotify(text="\x07").dump_info(FIXED) == ">> unspecified: \\x07\n"


def test_packets_of_devices_without_link_header_are_dissected() -> None:
    assert fixed(trace(IPV4 + TCP)).endswith(f": {NO_FLAGS}\n")
    assert fixed(trace(IPV6 + TCP)).endswith(": [::1]:80 -> [::2]:443 tcp\n")
    lines = fixed(drop(IPV4 + TCP), "verbose").splitlines()
    assert [line.partition("\t")[0] for line in lines[2:]] == ["IPv4", "TCP"]
    summary = fixed_json(drop(IPV4 + TCP))["summary"]
    assert summary.keys() == {"ipv4", "tcp", "l3", "l4"}


def test_packets_with_a_link_header_keep_it() -> None:
    for packet in (PACKET, ETHERNET[:12] + b"\x86\xdd" + IPV6 + TCP, ETHERNET[:12] + b"\x08\x06"):
        summary = fixed_json(drop(packet))["summary"]
        assert "ethernet" in summary
    # Looks like IPv4, but the checksum says that it is none.
    assert (
        "ethernet" in fixed_json(drop(b"\x45" + IPV4[1:10] + b"\0\0" + IPV4[12:] + TCP))["summary"]
    )


def test_a_layer_that_nobody_decodes_is_no_error() -> None:
    message = drop(ETHERNET + IPV4[:3] + b"\x2f" + IPV4[4:] + TCP + b"payload")
    assert "No decoder for layer type" in render(message, mode="verbose")
    assert "No decoder for layer type" not in fixed(message, "verbose")


def test_a_direction_that_is_none_is_unknown() -> None:
    directions = [fixed(verdict(direction=bits)).split(", ")[3] for bits in range(4)]
    assert directions == ["unknown", "ingress", "egress", "unknown"]


def test_a_message_that_cannot_be_read_is_an_error_and_no_more() -> None:
    assert fixed(drop()[:20], "verbose") == (
        "Error while parsing drop notification message: "
        "unexpected DropNotify data length, expected 36 but got 20\n"
    )


def test_what_was_captured_is_known_without_the_version() -> None:
    assert DropNotify(cap_len=65590).captured_bytes == 54


@pytest.mark.parametrize("mode", ["info", "verbose", "json"])
def test_nothing_else_is_shown(mode: str) -> None:
    """The fixed output of messages that meet no line of the list is that of Cilium."""
    for profile, case in cases("debug", "unknown"):
        data = bytes.fromhex(case["hex"])
        shown = render(data, profile=profile, mode=mode)
        if (mode == "json" and case["type"] == "unknown") or "Error" in shown:
            continue
        if mode != "json" and profile.startswith("1.16") and data[1:2] == b"\x0f":
            continue  # a connection state that is a drop reason without a second error
        assert render(data, profile=profile, mode=mode, fixed=True) == shown
