"""Sends a number of UDP datagrams of one size by the interface ``out``, at a steady pace.

``recorder_flood ADDRESS FRAME_BYTES PACKETS PACKETS_PER_SECOND``: the hardware address of the
receiver first.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

BURST = 50


def _checksum(header: bytes) -> int:
    total = int(sum(struct.unpack(f"!{len(header) // 2}H", header)))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def frame(target: bytes, size: int) -> bytes:
    """Make one frame of that many bytes."""
    ip_bytes = size - 14
    source, destination = bytes((10, 78, 0, 1)), bytes((10, 78, 0, 2))
    head = struct.pack("!BBHHHBB", 0x45, 0, ip_bytes, 1, 0x4000, 64, 17)
    total = _checksum(head + b"\0\0" + source + destination)
    ip = head + struct.pack("!H", total) + source + destination
    udp = struct.pack("!HHHH", 40000, 5000, ip_bytes - 20, 0)
    return target + bytes.fromhex("02000000aa01") + b"\x08\0" + ip + udp + bytes(ip_bytes - 28)


def main(address: str, size: int, packets: int, rate: int) -> None:
    """Send."""
    data = frame(bytes.fromhex(address.replace(":", "")), size)
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind(("out", 0))
    send = raw.send
    begin = time.monotonic()
    for sent in range(0, packets, BURST):
        ahead = sent / rate - (time.monotonic() - begin)
        if ahead > 0:
            time.sleep(ahead)
        for _ in range(BURST):
            send(data)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
