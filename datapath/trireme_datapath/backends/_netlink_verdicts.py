"""What messages of the queue say, read as quickly as those who only watch need it."""

from __future__ import annotations

from struct import Struct
from typing import Final

from trireme_datapath.backends._netlink_codec import VERDICT_ID, Attribute
from trireme_datapath.packets import Verdict

__all__ = ["payload_start", "read_verdicts"]

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
