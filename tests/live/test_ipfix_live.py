"""What others read is what was exported: nfdump's collector, and tshark over both transports."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec import UNSET
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from trireme_collector import ActionType, Direction, EndPoint, FlowRecord
from trireme_collector_ipfix import IpfixCollector, IpfixOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.patient]

DEADLINE_SECONDS = 30.0
START_MS = 1_700_000_000_123
IPFIX_PORT = 4739


def flows(count: int) -> list[FlowRecord]:
    """Make flows of both families, accepted and rejected, TCP and ICMP."""
    found = []
    for n in range(1, count + 1):
        is_old, is_tcp = n % 3 > 0, n % 5 > 0
        source, destination = (
            ("192.0.2.1", "198.51.100.7") if is_old else ("2001:db8::1", "2001:db8::7")
        )
        found.append(
            FlowRecord(
                source=EndPoint(ip=source, port=10_000 + n),
                destination=EndPoint(ip=destination, port=443),
                l4_protocol=6 if is_tcp else 1 if is_old else 58,
                action=ActionType.ACCEPT if n % 2 else ActionType.REJECT,
                direction=Direction.INGRESS,
                interface="eth0",
                packets=n,
                bytes=100 * n,
                start_time_ns=(START_MS + n) * 1_000_000,
                end_time_ns=(START_MS + n + 5) * 1_000_000,
                tcp_flags=0x12 if is_tcp else 0,
                icmp_type=UNSET if is_tcp else 3 if is_old else 1,
                icmp_code=UNSET if is_tcp else n % 7,
                count=1,
                sequence=n,
            )
        )
    return found


def collector(port: int, transport: str) -> IpfixCollector:
    table = {"host": "127.0.0.1", "port": port, "transport": transport}
    return IpfixCollector(msgspec.convert(table, IpfixOptions), name="live")


def unused_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_nfdump_collects_what_was_exported(tmp_path: Path) -> None:
    port = unused_port()
    program = shutil.which("nfcapd")
    assert program is not None, "nfcapd is not installed"
    nfcapd = subprocess.Popen(
        [program, "-b", "127.0.0.1", "-p", str(port), "-w", str(tmp_path), "-t", "3600"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _wait_until_bound(port, nfcapd)
        sender = collector(port, "udp")
        batch = flows(300)
        for start in range(0, 300, 100):
            sender.deliver(batch[start : start + 100])
        sender.close()
        _wait_until_read(port)
    finally:
        nfcapd.send_signal(signal.SIGTERM)
        said = nfcapd.communicate(timeout=DEADLINE_SECONDS)[1].decode()
    assert "Flows: 300," in said
    assert "Sequence Errors: 0, Bad Packets: 0" in said
    (file,) = [path for path in tmp_path.iterdir() if path.name.startswith("nfcapd.")]
    shown = subprocess.run(
        ["nfdump", "-r", str(file), "-o", "json"], capture_output=True, text=True, check=True
    ).stdout
    found = json.loads(shown[shown.index("[") : shown.rindex("]") + 1])
    assert len(found) == 300
    seen = {_nfdump_fields(flow) for flow in found}
    assert seen == {_fields(flow) for flow in batch}


def _nfdump_fields(flow: dict[str, object]) -> tuple[object, ...]:
    return (
        flow.get("src4_addr") or flow.get("src6_addr"),
        flow.get("dst4_addr") or flow.get("dst6_addr"),
        flow["proto"],
        flow["in_packets"],
        flow["in_bytes"],
        flow["direction"],
        str(flow.get("tcp_flags", "")).replace(".", ""),
        (flow.get("icmp_type"), flow.get("icmp_code")),
        str(flow["first"])[-3:],
    )


def _fields(flow: FlowRecord) -> tuple[object, ...]:
    assert flow.start_time_ns
    return (
        flow.source.ip,
        flow.destination.ip,
        flow.l4_protocol,
        flow.packets,
        flow.bytes,
        0,
        "AS" if flow.l4_protocol == 6 else "",
        (None, None) if flow.l4_protocol == 6 else (flow.icmp_type, flow.icmp_code),
        f"{flow.start_time_ns // 1_000_000 % 1000:03}",
    )


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_tshark_reads_what_was_exported(tmp_path: Path, transport: str) -> None:
    batch = flows(200)
    messages = _export(batch, transport)
    if transport == "udp":
        head = Ether() / IP(src="127.0.0.1", dst="127.0.0.1")
        packets = [head / UDP(sport=40_000, dport=IPFIX_PORT) / data for data in messages]
    else:
        packets, sent = [], 1
        for data in messages:  # one segment for each chunk: messages lie across them
            segment = TCP(sport=40_000, dport=IPFIX_PORT, seq=sent, ack=1, flags="PA")
            packets.append(Ether() / IP(src="127.0.0.1", dst="127.0.0.1") / segment / data)
            sent += len(data)
    wrpcap(str(tmp_path / "ipfix.pcap"), packets)
    names = (
        *("srcport", "packets", "octets", "protocol", "forwarding_status", "flow_id"),
        *("icmp_type_code_ipv4", "icmp_ipv6_type"),
    )
    read = subprocess.run(
        ["tshark", "-r", str(tmp_path / "ipfix.pcap"), "-T", "fields", "-E", "occurrence=a"]
        + ["-e", "_ws.expert.message", "-e", "_ws.malformed"]
        + [word for name in names for word in ("-e", f"cflow.{name}")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    columns: list[list[str]] = [[] for _ in names]
    for line in read.splitlines():
        message, malformed, *values = line.split("\t")
        assert not malformed, message
        for column, value in zip(columns, values, strict=True):
            column += [part for part in value.split(",") if part]
    found = dict(zip(names, columns, strict=True))
    assert found["packets"] == [str(flow.packets) for flow in batch]
    assert found["octets"] == [str(flow.bytes) for flow in batch]
    assert found["protocol"] == [str(flow.l4_protocol) for flow in batch]
    assert found["flow_id"] == [str(flow.sequence) for flow in batch]
    statuses = [1 if flow.action.accepted else 2 for flow in batch]  # the upper two bits
    assert [int(text, 0) for text in found["forwarding_status"]] == statuses
    ported = [str(flow.source.port) for flow in batch if flow.l4_protocol == 6]
    assert found["srcport"] == ported
    of_icmp = [_icmp(flow) for flow in batch if flow.l4_protocol == 1]
    assert [int(text, 0) for text in found["icmp_type_code_ipv4"]] == of_icmp
    # Of element 139 tshark shows the upper octet alone.
    types = [_icmp(flow) >> 8 for flow in batch if flow.l4_protocol == 58]
    assert [int(text, 0) for text in found["icmp_ipv6_type"]] == types
    assert of_icmp
    assert types


def _icmp(flow: FlowRecord) -> int:
    assert isinstance(flow.icmp_type, int)
    assert isinstance(flow.icmp_code, int)
    return flow.icmp_type * 256 + flow.icmp_code


def _export(batch: Sequence[FlowRecord], transport: str) -> list[bytes]:
    """Export to a socket of ours; give the datagrams, or the chunks of the stream."""
    if transport == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(0.5)
            with contextlib.closing(collector(receiver.getsockname()[1], "udp")) as sender:
                sender.deliver(batch)
            messages = []
            with contextlib.suppress(TimeoutError):
                while True:
                    messages.append(receiver.recv(65_536))
            return messages
    chunks: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def read() -> None:
            connection, _ = listener.accept()
            with connection:
                while data := connection.recv(1000):
                    chunks.append(data)

        thread = threading.Thread(target=read)
        thread.start()
        sender = collector(listener.getsockname()[1], "tcp")
        sender.deliver(batch)
        sender.close()
        thread.join(DEADLINE_SECONDS)
    return chunks


def _wait_until_bound(port: int, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + DEADLINE_SECONDS
    while _queue(port) is None:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.01)


def _wait_until_read(port: int) -> None:
    limit = time.monotonic() + DEADLINE_SECONDS
    while _queue(port):
        assert time.monotonic() < limit
        time.sleep(0.01)
    time.sleep(0.2)  # it has read the last message, and has to take it


def _queue(port: int) -> int | None:
    """Give how many bytes wait for the reader of a UDP port; None if there is no reader."""
    with open("/proc/net/udp", encoding="ascii") as table:  # noqa: PTH123  a file of the kernel
        for line in table.readlines()[1:]:
            columns = line.split()
            if int(columns[1].rpartition(":")[2], 16) == port:
                return int(columns[4].rpartition(":")[2], 16)
    return None
