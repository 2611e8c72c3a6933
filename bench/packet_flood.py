"""Floods the interface ``out`` with 64-byte UDP datagrams, until it is ended or a minute is over.

``packet_flood known|ports|random ADDRESS``: the hardware address of the receiver.
"""

from __future__ import annotations

import ctypes
import random
import socket
import struct
import sys
import time

BATCH = 64
SECONDS = 60
IP_BYTES = 64
FLOWS = 64
PAIRS = 4_096  # rounds of prepared random addresses, so that the sender outruns the consumer


class _Part(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("parts", ctypes.POINTER(_Part)),
        ("parts_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    _fields_ = (("header", _Header), ("sent", ctypes.c_uint32))


def _checksum(header: bytes) -> int:
    total = int(sum(struct.unpack(f"!{len(header) // 2}H", header)))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def _frame(target: bytes, source: bytes, sport: int, dport: int) -> bytes:
    destination = bytes((10, 77, 0, 2))
    head = struct.pack("!BBHHHBB", 0x45, 0, IP_BYTES, 1, 0x4000, 64, 17)
    total = _checksum(head + b"\0\0" + source + destination)
    ip = head + struct.pack("!H", total) + source + destination
    udp = struct.pack("!HHHH", sport, dport, IP_BYTES - 20, 0)
    return target + bytes.fromhex("02000000aa01") + b"\x08\0" + ip + udp + bytes(IP_BYTES - 28)


def main(traffic: str, address: str) -> None:
    """Send."""
    target = bytes.fromhex(address.replace(":", ""))
    client = bytes((10, 77, 0, 1))
    size = 14 + IP_BYTES
    flows = [(client, 2000 + n, 5000) for n in range(FLOWS)]
    if traffic == "random":
        chooser = random.Random()  # other flows in each run
        flows = [
            (
                bytes((10, *chooser.randbytes(3))),
                chooser.randrange(65_536),
                chooser.randrange(1024, 65_536),
            )
            for _ in range(PAIRS * BATCH)
        ]
    frames = b"".join(_frame(target, *flow) for flow in flows)
    buffer = ctypes.create_string_buffer(frames, len(frames))
    begin = ctypes.addressof(buffer)
    count = len(flows)
    parts = (_Part * count)(*(_Part(begin + n * size, size) for n in range(count)))
    messages = (_Message * count)()
    for number in range(count):
        messages[number].header.parts = ctypes.pointer(parts[number])
        messages[number].header.parts_length = 1
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind(("out", 0))
    send = ctypes.CDLL(None, use_errno=True).sendmmsg
    number, ends = raw.fileno(), time.monotonic() + SECONDS
    ports = struct.Struct("!HH")
    at = 0
    step = ctypes.sizeof(_Message)
    first = ctypes.addressof(messages)
    flow = 0
    while time.monotonic() < ends:
        if traffic == "ports":  # another source port in each packet, another server port per round
            for place in range(BATCH):
                flow += 1
                port = flow & 0xFFFF
                ports.pack_into(buffer, place * size + 34, port, 5000 + (flow >> 16 & 0x3FF))
        send(number, ctypes.c_void_p(first + at * step), BATCH, 0)
        at = (at + BATCH) % count


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
