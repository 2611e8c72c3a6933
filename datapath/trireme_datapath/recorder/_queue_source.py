"""Packets that an agent judged, as the source of a recording: with verdict and rule."""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Final

from trireme_datapath.recorder._errors import RecorderError, Refusal
from trireme_datapath.recorder._queue_wire import (
    END,
    MAX_MESSAGE_BYTES,
    Losses,
    decode_packets,
    encode_subscription,
)
from trireme_datapath.recorder._source import Batch
from trireme_datapath.recorder.capture_formats import CaptureInterface, LinkType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trireme_datapath.recorder.filters import CaptureFilter

__all__ = ["QueueSource"]

_READY_SECONDS: Final = 5.0  # an agent looks for clients at least once a second
_END_NS: Final = 3_000_000_000
_NANOSECONDS: Final = 1_000_000_000
_MAX_MESSAGES: Final = 64


class QueueSource:
    """Asks an agent for packets that it judges.

    Args:
        path: The agent's socket.
        filters: What is wanted.
        capture_bytes: Bytes that are kept of a packet; 0 for all that the agent has.

    Raises:
        RecorderError: There is no such agent, or it does not answer.
    """

    interfaces = (CaptureInterface("queue", LinkType.RAW),)

    def __init__(self, path: str, filters: Sequence[CaptureFilter], *, capture_bytes: int) -> None:
        """Connect, and wait until the agent has heard."""
        if not path:
            raise RecorderError(
                "this recorder knows no agent: set packets_socket in its section [recorder]",
                Refusal.UNFIT,
            )
        self._losses = Losses()
        self._over = False
        self._end_ns = 0
        self._poll = select.poll()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            self._socket.settimeout(_READY_SECONDS)
            self._socket.connect(path)
            self._socket.send(encode_subscription(filters, capture_bytes))
            heard = self._socket.recv(MAX_MESSAGE_BYTES)
            self._socket.settimeout(0)
        except OSError as error:
            self._socket.close()
            reason = (error.strerror or str(error)).lower()
            raise RecorderError(
                f"cannot record what is judged: no agent answers at {path} ({reason});"
                " run one whose configuration has the same packets_socket",
                Refusal.UNFIT,
            ) from error
        if not heard:
            self._socket.close()
            raise RecorderError(
                f"the agent at {path} hands packets over to others, and takes no more of them",
                Refusal.EXHAUSTED,
            )
        self._poll.register(self._socket, select.POLLIN)

    def register(self, descriptor: int) -> None:
        """Make `read` return early when this descriptor becomes readable."""
        self._poll.register(descriptor, select.POLLIN)

    def read(self, timeout_seconds: float) -> Iterator[Batch]:
        """Wait for packets, but not longer, and give what is there."""
        self._poll.poll(max(0, int(timeout_seconds * 1000)))
        for _ in range(_MAX_MESSAGES):
            try:
                data = self._socket.recv(MAX_MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._over = True
                return
            packets, self._losses = decode_packets(data)
            if packets:
                yield Batch(
                    [
                        (
                            *divmod(one.time_ns, _NANOSECONDS),
                            len(one.data),
                            max(one.original_length, len(one.data)),
                            one.data,
                        )
                        for one in packets
                    ],
                    0,
                    [one.comment for one in packets],
                )

    def losses(self) -> tuple[int, int]:
        """Give the packets and bytes that the agent could not hand over."""
        return self._losses

    def end(self) -> None:
        """Ask for nothing more."""
        self._end_ns = time.monotonic_ns() + _END_NS
        try:
            self._socket.send(END)
        except OSError:
            self._over = True

    def is_over(self) -> bool:
        """Whether the agent has sent everything, or is gone."""
        return self._over or bool(self._end_ns and time.monotonic_ns() >= self._end_ns)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
