"""Fuzz what clients of a recorder may send: ``python -m tests.fuzz.fuzz_recorder_requests``.

The first byte chooses: a request of the Hubble Recorder, options of our own, or what an agent and
a recorder say to each other about packets.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from trireme_datapath.recorder import RecorderError, build_filter
from trireme_datapath.recorder._queue_wire import (
    JudgedPacket,
    Losses,
    decode_packets,
    decode_subscription,
    encode_packets,
    encode_subscription,
)
from trireme_datapath.recorder.protocol import OWN, recorder_schema

if TYPE_CHECKING:
    from collections.abc import Hashable

    from trireme_datapath.grpc_server import Messages

__all__ = ["TARGET"]

_START = bytes.fromhex(
    "0a82010a060a046162633112210a0e3139322e3136382e312e302f32341a0b31302e302e302e302f313620502806"
    "12100a043a3a2f3010351a043a3a2f30281112160a09302e302e302e302f301a09302e302e302e302f30121d0a0930"
    "2e302e302e302f301a09302e302e302e302f3020bc9c022884011860220a08882710e8071a020802"
)
_DNS = build_filter("10.0.0.0/8", "0.0.0.0/0", 53, 0, 17)
_PACKET = JudgedPacket(1, 1500, b"\x45" * 20, "verdict=drop")

_SEEDS = (
    b"\0" + _START,
    b"\0\x12\x00",
    b"\0\x28\x01",
    b"\0\xff\xff",
    b"\1\x0a\x06pcapng\x10\x80\x08\x1a\x02\x08\x3c\x20\x03\x2a\x04eth0\x30\x01",
    b"\2" + encode_subscription((_DNS,), 96),
    b"\3" + encode_packets((_PACKET, _PACKET), Losses(3, 4)),
)


def _request(data: bytes, kind: int) -> Hashable:
    if importlib.util.find_spec("grpc") is None:
        return None  # the extra is not installed
    from trireme_datapath.grpc_server import Messages  # noqa: PLC0415  needs the extra
    from trireme_datapath.recorder._grpc_requests import (  # noqa: PLC0415
        invalid_request,
        parse_message,
        recording_request,
    )

    if not _TYPES:
        _TYPES.append(Messages(recorder_schema()))
    (types,) = _TYPES
    options = parse_message(types, f"{OWN}.RecordingOptions", data if kind else b"")
    message = parse_message(types, "recorder.RecordRequest", _START if kind else data)
    which: str | None = message.WhichOneof("request_type")
    text = str(invalid_request(message, "start"))
    if len(text) > 4096:
        raise AssertionError("an error quotes without end")
    if which != "start":
        return which
    request = recording_request(message.start, options)
    return which, len(request.include), request.from_queue, bool(request.ring_files)


_TYPES: list[Messages] = []


def run(data: bytes) -> Hashable:
    """Read an input; it is sound, or there is one error."""
    kind, content = data[:1], data[1:]
    try:
        if kind in {b"\0", b"\1"}:
            return _request(content, kind[0])
        if kind == b"\2":
            include, size = decode_subscription(content)
            again = encode_subscription(include, size)
            if decode_subscription(again) != (include, size):
                raise AssertionError("it is another after the way back")
            return "subscription", len(include)
        packets, losses = decode_packets(content)
        if decode_packets(encode_packets(packets, losses)) != (packets, losses):
            raise AssertionError("it is another after the way back")
        return "packets", len(packets)
    except RecorderError as error:
        return str(error)[:16]


TARGET = Target(name="recorder-requests", seeds=_SEEDS, run=run, max_bytes=1024, max_seconds=0.1)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
