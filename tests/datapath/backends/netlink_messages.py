"""Messages as the kernel writes them, and a kernel that keeps account of verdicts."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from trireme_datapath.backends._netlink_socket import QueueSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

QUEUE = 5
COPY_RANGE = 128


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, body: bytes, *, family: int = 2) -> bytes:
    header = struct.pack("=IHHII", 20 + len(body), 0x300 | kind, 0, 0, 0)
    return header + struct.pack("!BBH", family, 0, QUEUE) + body


def packet_message(
    packet_id: int,
    payload: bytes,
    *,
    hook: int = 1,
    indev: int = 2,
    outdev: int = 0,
    mark: int = 0,
    hardware: bytes = b"",
    timestamp: tuple[int, int] | None = None,
    owner: tuple[int, int] | None = None,
    info: int = 0,
) -> bytes:
    """Write a packet message with the attributes in the kernel's order."""
    six = payload[:1] and payload[0] >> 4 == 6
    parts = [attribute(1, struct.pack("!IHB", packet_id, 0x86DD if six else 0x0800, hook))]
    parts += [attribute(kind, struct.pack("!I", value)) for kind, value in
              ((5, indev), (6, outdev), (3, mark)) if value]  # fmt: skip
    if hardware:
        parts.append(attribute(9, struct.pack("!HH8s", len(hardware), 0, hardware)))
    if timestamp:
        parts.append(attribute(4, struct.pack("!QQ", *timestamp)))
    if owner:
        parts += [attribute(16, struct.pack("!I", owner[0])),
                  attribute(17, struct.pack("!I", owner[1]))]  # fmt: skip
    if len(payload) > COPY_RANGE:
        parts.append(attribute(13, struct.pack("!I", len(payload))))
    if info:
        parts.append(attribute(14, struct.pack("!I", info)))
    parts.append(attribute(10, payload[:COPY_RANGE]))
    return message(0, b"".join(parts), family=10 if six else 2)


def error_message(errno: int, sequence: int = 0xFFFFFFFF) -> bytes:
    """Write the kernel's complaint about a verdict."""
    original = struct.pack("=IHHII", 32, 0x301, 1, sequence, 0)
    return struct.pack("=IHHII", 36, 2, 0, sequence, 99) + struct.pack("=i", -errno) + original


class FakeKernel:
    """The kernel's side of a queue: packets wait until a verdict names them, exactly once."""

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self.verdicts: dict[int, tuple[int, int | None]] = {}
        self.unknown: list[int] = []
        self.sends = 0
        self.queue_number = QUEUE
        self.settings = QueueSettings(copy_range=COPY_RANGE)
        self.early: list[bytes] = []
        self.failures: list[OSError] = []
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ours.setblocking(False)

    def queue(self, messages: Sequence[bytes]) -> None:
        """Let packets wait, and send them to the socket."""
        for one in messages:
            if one[4:6] == struct.pack("=H", 0x300):
                self.waiting.append(int.from_bytes(one[24:28], "big"))
            self._ours.send(one)

    def fileno(self) -> int:
        return self._theirs.fileno()

    def send(self, messages: bytes) -> None:
        """Carry out verdicts in order, as the kernel does."""
        if self.failures:
            raise self.failures.pop(0)
        self.sends += 1
        offset = 0
        while offset < len(messages):
            length, kind, flags, _, _ = struct.unpack_from("=IHHII", messages, offset)
            assert flags == 1
            assert struct.unpack_from("!BBH", messages, offset + 16) == (0, 0, QUEUE)
            assert struct.unpack_from("=HH", messages, offset + 20) == (12, 2)
            verdict, packet_id = struct.unpack_from("!II", messages, offset + 24)
            mark = None
            if length > 32:
                assert length == 40
                assert struct.unpack_from("=HH", messages, offset + 32) == (8, 3)
                (mark,) = struct.unpack_from("!I", messages, offset + 36)
            if kind == 0x303:
                judged = [one for one in self.waiting if (packet_id - one) % 2**32 < 2**31]
            else:
                assert kind == 0x301
                judged = [one for one in self.waiting if one == packet_id]
            if not judged:
                self.unknown.append(packet_id)
            for one in judged:
                self.waiting.remove(one)
                self.verdicts[one] = (verdict, mark)
            offset += length
        assert offset == len(messages)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()
