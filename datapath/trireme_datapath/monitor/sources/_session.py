"""A session of the monitor protocol 1.2: one gob stream of payloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_datapath.monitor.gob import (
    GobError,
    GobLimits,
    GobStream,
    GobStreamError,
    bytes_field,
    number_field,
)
from trireme_datapath.monitor.sources._payload import (
    MAX_MESSAGE_BYTES,
    Payload,
    SourceError,
    SourceFault,
)

if TYPE_CHECKING:
    from trireme_datapath.monitor.gob import GobStruct, GobValue
    from trireme_datapath.monitor.sources._payload import Event

__all__ = ["SessionDecoder"]

# A payload is flat: what is nested or long is none.
_LIMITS: Final = GobLimits(
    max_message_bytes=MAX_MESSAGE_BYTES, max_depth=4, max_types=64, max_values=1024
)

_NOTHING: Final = Payload(type=0)


class SessionDecoder:
    """Reads a session that comes in pieces of any size.

    Args:
        keep_previous: Give a payload without a field that of the payload before it. Cilium's own
            client does so: zeros are not sent, and it decodes every event into the same variable.
            An event of processor 0 is shown with the last number that was not 0.
    """

    def __init__(self, *, keep_previous: bool = False) -> None:
        """Start before the first byte."""
        self._stream = GobStream(_LIMITS)
        self._keep_previous = keep_previous
        self._previous = _NOTHING

    @property
    def inside_message(self) -> bool:
        """Whether the last piece ended inside a message."""
        return self._stream.inside_message

    @property
    def lost(self) -> bool:
        """Whether the session cannot be followed any more."""
        return self._stream.lost

    def receive(self, data: bytes) -> list[Event]:
        """Take the next piece and give what it completed."""
        return [self._event(value) for value in self._stream.receive(data)]

    def end(self) -> list[Event]:
        """End the session: give the error of one that ends inside a message."""
        error = self._stream.end()
        return [] if error is None else [SourceError(fault=SourceFault.CUT, message=str(error))]

    def _event(self, value: GobValue | GobError) -> Event:
        if isinstance(value, GobStreamError):
            return SourceError(fault=SourceFault.UNREADABLE, message=str(value))
        if isinstance(value, GobError):
            return SourceError(fault=SourceFault.DAMAGED, message=str(value))
        if not isinstance(value, dict):
            message = f"found a value of type {type(value).__name__}, expected a payload"
            return SourceError(fault=SourceFault.DAMAGED, message=message)
        try:
            return self._payload(value)
        except GobError as error:
            return SourceError(fault=SourceFault.DAMAGED, message=str(error))

    def _payload(self, struct: GobStruct) -> Payload:
        before = self._previous
        payload = Payload(
            data=bytes_field(struct, "Data") or before.data,
            cpu=number_field(struct, "CPU") or before.cpu,
            lost=number_field(struct, "Lost") or before.lost,
            type=number_field(struct, "Type") or before.type,
        )
        if self._keep_previous:
            self._previous = payload
        return payload
