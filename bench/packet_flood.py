"""Floods the interface ``out`` with 64-byte UDP datagrams, until it is ended or a minute is over.

``packet_flood known|ports|random ADDRESS``: the hardware address of the receiver.
"""

from __future__ import annotations

import random
import struct
import sys
import time

from bench.packet_sender import PacketSender, ipv4_header

BATCH = 64
SECONDS = 60
IP_BYTES = 64
FLOWS = 64
PAIRS = 4_096  # rounds of prepared random addresses, so that the sender outruns the consumer


def _frame(target: bytes, source: bytes, sport: int, dport: int) -> bytes:
    ip = ipv4_header(source, bytes((10, 77, 0, 2)), 17, IP_BYTES)
    udp = struct.pack("!HHHH", sport, dport, IP_BYTES - 20, 0)
    return target + bytes.fromhex("02000000aa01") + b"\x08\0" + ip + udp + bytes(IP_BYTES - 28)


def main(traffic: str, address: str) -> None:
    """Send."""
    target = bytes.fromhex(address.replace(":", ""))
    client = bytes((10, 77, 0, 1))
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
    sender = PacketSender("out", [_frame(target, *flow) for flow in flows])
    ends = time.monotonic() + SECONDS
    ports = struct.Struct("!HH")
    at = flow = 0
    while time.monotonic() < ends:
        if traffic == "ports":  # another source port in each packet, another server port per round
            for place in range(BATCH):
                flow += 1
                port = flow & 0xFFFF
                ports.pack_into(
                    sender.buffer, place * sender.size + 34, port, 5000 + (flow >> 16 & 0x3FF)
                )
        sender.send(at, BATCH)
        at = (at + BATCH) % len(flows)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
