"""What messages of the queue say, read as quickly as those who only watch need it."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from trireme_datapath.backends._netlink_codec import (
    VERDICT_ID,
    Attribute,
    MessageError,
    PacketMessage,
    parse_message,
)
from trireme_datapath.packets import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_datapath.backends._receive_ring import ReceiveRing
    from trireme_datapath.packets import JudgedPackets

__all__ = ["payload_start", "read_verdicts", "wanted_packets"]

_BATCH: Final = 0x0303  # NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT_BATCH
_HEAD_BYTES: Final = VERDICT_ID + 4
_head = Struct("=IH").unpack_from
_verdict_and_id = Struct(">II").unpack_from
_VERDICT_BITS: Final = 0xFF
_HEADERS: Final = 20
_ATTRIBUTE_BYTES: Final = 4
_PAYLOAD: Final = int(Attribute.PAYLOAD)
_attribute = Struct("=HH").unpack_from


def payload_start(message: bytes | memoryview) -> int:
    """Tell where the datagram of a packet message begins; -1 when there is none."""
    at, end = _HEADERS, len(message) - _ATTRIBUTE_BYTES
    while at <= end:
        size, kind = _attribute(message, at)
        if kind == _PAYLOAD:
            return at + _ATTRIBUTE_BYTES
        if size < _ATTRIBUTE_BYTES:
            break
        at += size + 3 & ~3
    return -1


def read_verdicts(messages: bytes) -> tuple[dict[int, Verdict], Verdict | None]:
    """Read verdicts that were made for one batch.

    Returns:
        The verdicts of single packets by their ids, and that of all others of the batch; None if
        there is none.
    """
    singles: dict[int, Verdict] = {}
    others: Verdict | None = None
    at = 0
    while len(messages) - at >= _HEAD_BYTES:
        size, kind = _head(messages, at)
        number, packet_id = _verdict_and_id(messages, at + VERDICT_ID - 4)
        verdict = Verdict(number & _VERDICT_BITS)
        if kind == _BATCH:
            others = verdict
        else:
            singles[packet_id] = verdict
        at += max(size, _HEAD_BYTES)
    return singles, others


def wanted_packets(
    judged: JudgedPackets, ring: ReceiveRing, count: int, messages: bytes
) -> Iterator[tuple[PacketMessage, Verdict]]:
    """Read the packets of a batch that somebody who watches is interested in.

    Args:
        judged: Who watches.
        ring: Where the messages with the packets are.
        count: How many slots of it are filled.
        messages: The verdicts of the batch.
    """
    singles, others = read_verdicts(messages)
    for index in range(count):
        message = ring.message(index)
        # Most are of no interest, and reading a whole message costs more than all of this.
        start = payload_start(message)
        if start < 0 or not judged.wants(message, start):
            continue
        try:
            packet = parse_message(message)
        except MessageError:
            continue
        if isinstance(packet, PacketMessage):
            found = singles.get(packet.packet_id, others)
            if found is not None:
                yield packet, found
