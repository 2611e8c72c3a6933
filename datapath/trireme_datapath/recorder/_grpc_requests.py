"""Requests of clients: what the recorder understands, and the way errors quote them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from trireme_datapath.recorder._errors import RecorderError
from trireme_datapath.recorder._recording import (
    NEVER_NS,
    RecordingRequest,
    RecordingStatistics,
    StopCondition,
)
from trireme_datapath.recorder._store import check_prefix
from trireme_datapath.recorder.capture_formats import CaptureFormat
from trireme_datapath.recorder.filters import MAX_FILTERS, build_filter, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

    from trireme_datapath.grpc_server import Messages

__all__ = [
    "DynamicMessage",
    "duration_ns",
    "fill_statistics",
    "invalid_request",
    "new_message",
    "parse_message",
    "recording_request",
    "set_duration",
    "set_time",
]

DynamicMessage: TypeAlias = Any
"""A message whose class was made at run time: checkers know nothing of its fields."""

_NANOSECONDS: Final = 1_000_000_000
_MAX_QUOTED: Final = 512


def new_message(types: Messages, kind: str, /, **fields: object) -> DynamicMessage:
    """Make a message."""
    make: Callable[..., object] = types[kind]
    return make(**fields)


def parse_message(types: Messages, name: str, data: bytes) -> DynamicMessage:
    """Read a message.

    Raises:
        RecorderError: It is no such message.
    """
    message = new_message(types, name)
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise RecorderError(f"cannot read a message of {len(data)} bytes as {name}") from error
    return message


def recording_request(start: DynamicMessage, options: DynamicMessage) -> RecordingRequest:
    """Check what a client wants, in the order in which Cilium does.

    Args:
        start: A ``StartRecording``.
        options: A ``RecordingOptions``.

    Raises:
        RecorderError: It cannot be done; the text is that of Cilium.
    """
    prefix = check_prefix(start.filesink.file_prefix)
    if not start.include:
        raise RecorderError("need to specify at least one include filter")
    if len(start.include) > MAX_FILTERS:
        raise RecorderError(
            f"{len(start.include)} include filters are too many, {MAX_FILTERS} are possible"
        )
    include = tuple(
        build_filter(
            one.source_cidr,
            one.destination_cidr,
            one.source_port,
            one.destination_port,
            one.protocol,
        )
        for one in start.include
    )
    stop = start.stop_condition
    return RecordingRequest(
        include=include,
        file_prefix=prefix,
        max_capture_length=start.max_capture_length,
        stop_condition=StopCondition(
            bytes_captured_count=min(stop.bytes_captured_count, NEVER_NS),
            packets_captured_count=min(stop.packets_captured_count, NEVER_NS),
            time_elapsed_ns=duration_ns(stop.time_elapsed),
        ),
        capture_format=_format(options.capture_format),
        rotate_bytes=min(options.rotate_bytes, NEVER_NS),
        rotate_ns=max(0, duration_ns(options.rotate_every)),
        ring_files=options.ring_files,
        interfaces=tuple(dict.fromkeys(options.interfaces)),
        from_queue=options.from_queue,
    )


def _format(name: str) -> CaptureFormat | None:
    if not name:
        return None
    try:
        return CaptureFormat(name)
    except ValueError:
        known = ", ".join(CaptureFormat)
        raise RecorderError(f"unknown capture format {quoted(name)}; there are {known}") from None


def duration_ns(duration: DynamicMessage) -> int:
    """Give a duration in nanoseconds; what is beyond all bounds ends there, as in Go."""
    total: int = duration.seconds * _NANOSECONDS + duration.nanos
    return max(-NEVER_NS, min(NEVER_NS, total))


def set_time(stamp: DynamicMessage, time_ns: int) -> None:
    """Set a ``Timestamp``."""
    stamp.seconds, stamp.nanos = divmod(time_ns, _NANOSECONDS)


def set_duration(duration: DynamicMessage, time_ns: int) -> None:
    """Set a ``Duration``; it is there even when it is zero."""
    duration.seconds, duration.nanos = divmod(time_ns, _NANOSECONDS)
    duration.SetInParent()


def fill_statistics(message: DynamicMessage, statistics: RecordingStatistics) -> None:
    """Set a ``RecordingStatistics``."""
    message.bytes_captured = statistics.bytes_captured
    message.packets_captured = statistics.packets_captured
    message.packets_lost = statistics.packets_lost
    message.bytes_lost = statistics.bytes_lost
    message.SetInParent()


def invalid_request(message: Message, expected: str) -> RecorderError:
    """Make the error for a request that is not the one that was expected."""
    text = _text(message)
    if len(text) > _MAX_QUOTED:
        text = f"{text[:_MAX_QUOTED]}..."
    return RecorderError(f"received invalid request {quoted(text)}, expected {expected} request")


def _text(message: Message) -> str:
    return " ".join([*_known(message), *_unknown(message)])


def _known(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        for one in values:
            if field.message_type is not None:
                yield f"{field.name}:{{{_text(one)}}}"
            elif field.enum_type is not None:
                named = field.enum_type.values_by_number.get(one)
                yield f"{field.name}:{named.name if named is not None else one}"
            elif isinstance(one, str):
                yield f"{field.name}:{quoted(one)}"
            else:
                yield f"{field.name}:{one}"


def _unknown(message: Message) -> Iterator[str]:
    unknown: Any = UnknownFieldSet(message)  # its stub does not say that it is a sequence
    for field in unknown:
        if isinstance(field.data, (int, bytes)):
            data = field.data
            shown = str(data) if isinstance(data, int) else quoted(data.decode("latin-1"))
            yield f"{field.field_number}:{shown}"
