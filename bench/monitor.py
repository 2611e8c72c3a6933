"""What messages of a datapath cost: read, printed, made into records and of them, published."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.figures import interleave, show, show_ratio
from trireme_collector.records import ActionType, Direction, EndPoint, EndPointType, FlowRecord
from trireme_datapath.monitor import Formatter, MessageError, Mode, decode_message, find_profile
from trireme_datapath.monitor.publishing import MonitorServer, Notifier
from trireme_datapath.monitor.records import MonitorRecords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RUNS = 7
REPEATS = 20
MAX_INFO_US = 12.0  # a trace with a TCP packet, one line
MAX_DECODE_US = 3.0
MAX_WORST_US = 1000.0
WORST_BYTES = 2048
FLOWS = 200
BURST = 100  # what a drain of the queue publishes at once
_DATA = Path("tests") / "data" / "monitor" / "cilium_monitor.json.gz"
_PROFILE = find_profile("1.16")

_ETHERNET = bytes(12)


def _messages(*types: str) -> list[bytes]:
    """Take the messages of the comparison with Cilium that have some type."""
    content: dict[str, Any] = json.loads(gzip.decompress(_DATA.read_bytes()))
    cases = content["profiles"]["1.16.2"]["cases"]
    # Sessions have no message of their own, and packets none around them.
    wanted = [c for c in cases if "hex" in c and c["type"] != "packet"]
    return [bytes.fromhex(c["hex"]) for c in wanted if not types or c["type"] in types]


def _with_tcp(messages: Sequence[bytes]) -> list[bytes]:
    formatter = Formatter()
    return [m for m in messages if " tcp " in formatter.message(m)]


def _trace(packet: bytes) -> bytes:
    return struct.pack("<BBHIIHHIIHBBI", 4, 3, 9, 1, 2016, 2016, 0, 1, 2, 7, 1, 0, 5) + packet


def _worst() -> dict[str, bytes]:
    """Make messages of 2 KiB that ask for as much work as they can."""
    room = WORST_BYTES - 32
    ipv4 = bytes.fromhex("4500000000000000400400000102030405060708")
    hop_by_hop = _ETHERNET + b"\x86\xdd" + b"\x60\0\0\0\x07\xb0\x00\x40" + bytes(32)
    tcp = bytes.fromhex("45000064000000004006000001020304050607080050005000000000000000")
    return {
        "IPv4 in IPv4, a hundred times": _trace((_ETHERNET + b"\x08\x00" + ipv4 * 101)[:room]),
        "Ethernet in Ethernet": _trace((_ETHERNET + b"\x65\x58") * 126),
        "hop-by-hop options": _trace(hop_by_hop + (b"\x06\xff" + b"\x01\x00" * 979)[: room - 54]),
        "TCP options": _trace(_ETHERNET + b"\x08\x00" + tcp + b"\0\xf0" + bytes(10) + b"\1" * 1900),
        "payload": _trace(_ETHERNET + b"\x08\x00" + bytes(room - 14)),
        "unknown type": b"\xc8" * WORST_BYTES,
        "agent, text": b"\x82" + b"\x2a\x7f\x03\x01" + bytes(WORST_BYTES - 5),
        "gob, one-byte messages": b"\x82" + b"\x01\x02" * (WORST_BYTES // 2 - 1),
    }


def _timer(work: Callable[[bytes], object], messages: Sequence[bytes]) -> Callable[[], float]:
    """Measure the processor time of each message, in microseconds."""

    def once() -> float:
        begin = time.process_time()
        for _ in range(REPEATS):
            for message in messages:
                work(message)
        return (time.process_time() - begin) / REPEATS / len(messages) * 1e6

    return once


def _decode(message: bytes) -> object:
    try:
        return decode_message(message, _PROFILE)
    except MessageError as error:
        return error


def _sound(messages: Sequence[bytes]) -> list[bytes]:
    """Leave out what makes no records but an error."""
    records = MonitorRecords().records
    sound = []
    for message in messages:
        with contextlib.suppress(MessageError):
            records(message)
            sound.append(message)
    return sound


def run() -> bool:
    """Measure side by side what every figure of the monitor is about."""
    traces = _with_tcp(_messages("trace"))
    mixed = _messages()
    print(f"  {len(traces)} traces with TCP, {len(mixed)} messages of all types")
    contenders = {
        "decode": _timer(_decode, traces),
        "trace": _timer(Formatter(ifnames={2: "eth0"}).message, traces),
        "mixed decode": _timer(_decode, mixed),
        "mixed info": _timer(Formatter().message, mixed),
        "mixed verbose": _timer(Formatter(mode=Mode.VERBOSE).message, mixed),
        "mixed json": _timer(Formatter(mode=Mode.JSON).message, mixed),
    }
    figures = interleave(RUNS, contenders)
    decode = show("read a trace", figures["decode"], "us")
    trace = show("print a trace with a TCP packet, info", figures["trace"], "us")
    show("read a message, mixed", figures["mixed decode"], "us")
    info = show("print a message, mixed, info", figures["mixed info"], "us")
    show("print a message, mixed, verbose", figures["mixed verbose"], "us")
    as_json = show("print a message, mixed, JSON", figures["mixed json"], "us")
    print(f"  per second and core: {1e6 / info:,.0f} info, {1e6 / as_json:,.0f} JSON")
    met = show_ratio("read a trace against its limit", decode / MAX_DECODE_US, 1.0)
    met &= show_ratio("print a trace against its limit", trace / MAX_INFO_US, 1.0)
    _measure_records()
    return _measure_worst() and met


def _flows() -> list[FlowRecord]:
    """Make accepted and rejected flows of a processing unit."""
    unit = EndPoint(type=EndPointType.PU, id="web", ip="198.51.100.20", port=80)
    return [
        FlowRecord(
            context_id="web",
            namespace="/bench",
            source=EndPoint(type=EndPointType.EXTERNAL_IP, ip=f"192.0.2.{number}", port=44001),
            destination=unit,
            action=ActionType.REJECT if number % 4 == 0 else ActionType.ACCEPT,
            drop_reason="policy" if number % 4 == 0 else "",
            l4_protocol=6,
            count=1,
            packets=1,
            bytes=60,
            tcp_flags=2,
            direction=Direction.INGRESS,
        )
        for number in range(FLOWS)
    ]


@contextlib.contextmanager
def _publishing(clients: int, message: bytes) -> Iterator[Callable[[], float]]:
    """Measure the processor time of publishing a message to clients, in microseconds."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        path = Path(directory) / "monitor.sock"
        server = stack.enter_context(contextlib.closing(MonitorServer(path).open()))
        readers = []
        for _ in range(clients):
            reader = stack.enter_context(socket.socket(socket.AF_UNIX))
            reader.connect(str(path))
            reader.settimeout(0)
            readers.append(reader)
            server.turn()

        def once() -> float:
            spent = 0.0
            for _ in range(REPEATS):
                begin = time.process_time()
                for _ in range(BURST):
                    server.publish(message)
                server.turn()
                spent += time.process_time() - begin
                # Reading is somebody else's work.
                for reader in readers:
                    with contextlib.suppress(BlockingIOError):
                        while reader.recv(1 << 20):
                            pass
            if server.counters["lost"]:
                msg = f"{server.counters['lost']} messages were lost"
                raise RuntimeError(msg)
            return spent / REPEATS / BURST * 1e6

        yield once


def _measure_records() -> None:
    """Measure the way from messages to records, and back to whoever watches an agent."""
    about_packets = _sound(_messages("trace", "drop", "policy-verdict"))
    notifier = Notifier()
    flows = _flows()
    message = notifier.messages(flows[1])[-1]

    def make_messages() -> float:
        begin = time.process_time()
        for _ in range(REPEATS):
            for flow in flows:
                notifier.messages(flow)
        return (time.process_time() - begin) / REPEATS / len(flows) * 1e6

    with _publishing(1, message) as to_one, _publishing(8, message) as to_eight:
        figures = interleave(
            RUNS,
            {
                "trace": _timer(MonitorRecords().records, _with_tcp(_messages("trace"))),
                "packets": _timer(MonitorRecords().records, about_packets),
                "mixed": _timer(MonitorRecords().records, _sound(_messages())),
                "messages": make_messages,
                "one": to_one,
                "eight": to_eight,
            },
        )
    show("a record of a trace with a TCP packet", figures["trace"], "us")
    made = show("records of a trace, drop or verdict", figures["packets"], "us")
    show("records of a message, mixed", figures["mixed"], "us")
    show("both messages about a flow", figures["messages"], "us")
    show("publish a message to one client", figures["one"], "us")
    show("publish a message to eight clients", figures["eight"], "us")
    print(f"  per second and core: {1e6 / made:,.0f} messages into records")


def _measure_worst() -> bool:
    """Measure messages made to be slow, each in its slowest form."""
    met = True
    modes = (Mode.INFO, Mode.DEBUG, Mode.VERBOSE, Mode.VERBOSE_HEX, Mode.JSON)
    for name, message in _worst().items():
        slowest = max(
            min(_timer(Formatter(mode=mode, fixed=fixed).message, [message])() for _ in range(3))
            for mode in modes
            for fixed in (False, True)
        )
        met &= show_ratio(f"{len(message)} bytes, {name}", slowest / MAX_WORST_US, 1.0)
    return met
