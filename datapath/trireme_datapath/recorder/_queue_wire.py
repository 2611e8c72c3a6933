"""What an agent and a recorder say to each other about packets that the agent judged.

They talk over a unix socket of sequenced packets, which keeps messages apart. The recorder says
which packets it wants. The agent answers that it heard, and then sends packets, several in a
message, each message with how much it could not send so far.
"""

from __future__ import annotations

import ipaddress
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from trireme_datapath.recorder._errors import RecorderError
from trireme_datapath.recorder.filters import MAX_FILTERS, CaptureFilter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "END",
    "MAX_MESSAGE_BYTES",
    "MAX_SUBSCRIPTION_BYTES",
    "JudgedPacket",
    "Losses",
    "decode_packets",
    "decode_subscription",
    "encode_packets",
    "encode_subscription",
]

MAX_MESSAGE_BYTES: Final = 65_536
MAX_SUBSCRIPTION_BYTES: Final = 131_072
END: Final = b"end"
"""What the recorder says when it wants no more; the agent sends its losses and hangs up."""

_VERSION: Final = 1
_losses = Struct("=QQ")
_packet = Struct("=QIIH")  # time, original length, captured length, length of the comment


class Losses(NamedTuple):
    """Packets and bytes that fitted and could not be sent."""

    packets: int = 0
    size: int = 0


class JudgedPacket(NamedTuple):
    """A packet with what is said about it."""

    time_ns: int
    original_length: int
    data: bytes
    comment: str


class _Filter(msgspec.Struct, frozen=True, array_like=True):
    source: str
    destination: str
    source_port: int
    destination_port: int
    protocol: int


class _Subscription(msgspec.Struct, frozen=True, tag=_VERSION, tag_field="version"):
    capture_bytes: int
    include: list[_Filter]


_encode_subscription = msgspec.msgpack.Encoder().encode
_decode_subscription = msgspec.msgpack.Decoder(_Subscription).decode


def encode_subscription(include: Sequence[CaptureFilter], capture_bytes: int) -> bytes:
    """Say which packets are wanted, and how much of each; 0 is all."""
    filters = [
        _Filter(
            str(one.source),
            str(one.destination),
            one.source_port,
            one.destination_port,
            one.protocol,
        )
        for one in include
    ]
    return _encode_subscription(_Subscription(capture_bytes, filters))


def decode_subscription(data: bytes) -> tuple[tuple[CaptureFilter, ...], int]:
    """Read what is wanted.

    Raises:
        RecorderError: It is no such message.
    """
    try:
        found = _decode_subscription(data)
        include = tuple(
            CaptureFilter(
                source=ipaddress.ip_network(one.source),
                destination=ipaddress.ip_network(one.destination),
                source_port=one.source_port,
                destination_port=one.destination_port,
                protocol=one.protocol,
            )
            for one in found.include[: MAX_FILTERS + 1]
        )
    except (msgspec.MsgspecError, ValueError) as error:
        raise RecorderError(f"this is no request for packets: {error}") from error
    if not 1 <= len(include) <= MAX_FILTERS or found.capture_bytes < 0:
        raise RecorderError("this is no request for packets: nothing, or too much, is wanted")
    return include, found.capture_bytes


def encode_packets(packets: Sequence[JudgedPacket], losses: Losses) -> bytes:
    """Make a message."""
    parts = [_losses.pack(*losses)]
    for one in packets:
        comment = one.comment.encode("utf-8", "replace")[:0xFFFF]
        head = _packet.pack(one.time_ns, one.original_length, len(one.data), len(comment))
        parts += (head, comment, one.data)
    return b"".join(parts)


def decode_packets(data: bytes) -> tuple[list[JudgedPacket], Losses]:
    """Read a message.

    Raises:
        RecorderError: It is none.
    """
    if len(data) < _losses.size:
        raise RecorderError("a message of packets ends early")
    return list(_packets(data)), Losses(*_losses.unpack_from(data))


def _packets(data: bytes) -> Iterator[JudgedPacket]:
    at, end = _losses.size, len(data)
    while at < end:
        if end - at < _packet.size:
            raise RecorderError("a message of packets ends early")
        time_ns, original, captured, text = _packet.unpack_from(data, at)
        at += _packet.size
        if end - at < text + captured:
            raise RecorderError("a message of packets ends early")
        comment = data[at : at + text].decode("utf-8", "replace")
        at += text
        yield JudgedPacket(time_ns, original, data[at : at + captured], comment)
        at += captured
