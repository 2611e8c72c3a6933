"""What messages of a Cilium datapath cost: read, printed in each form, and the worst of them."""

from __future__ import annotations

import gzip
import json
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.figures import interleave, show, show_ratio
from trireme_datapath.monitor import Formatter, MessageError, Mode, decode_message, find_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RUNS = 7
REPEATS = 20
MAX_INFO_US = 12.0  # a trace with a TCP packet, one line
MAX_DECODE_US = 3.0
MAX_WORST_US = 1000.0
WORST_BYTES = 2048
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
    return _measure_worst() and met


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
