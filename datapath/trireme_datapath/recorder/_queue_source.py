"""Packets that an agent judged, as the source of a recording: with verdict and rule."""

from __future__ import annotations

import select
import socket
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trireme_datapath.recorder._errors import RecorderError, Refusal
from trireme_datapath.recorder._queue_wire import (
    END,
    MAX_MESSAGE_BYTES,
    JudgedPacket,
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
_RETRY_NS: Final = 1_000_000_000
_END_NS: Final = 3_000_000_000
_NANOSECONDS: Final = 1_000_000_000
_MAX_MESSAGES: Final = 64
_MAX_WORKERS: Final = 64


class _Link:
    """The connection to one process that judges; made anew when it breaks."""

    def __init__(self, path: str, hello: bytes) -> None:
        self.path = path
        self.socket: socket.socket | None = None
        self._hello = hello
        self._before = self._now = Losses()
        self.next_try_ns = 0

    @property
    def losses(self) -> Losses:
        return Losses(*(a + b for a, b in zip(self._before, self._now, strict=True)))

    def is_open(self) -> bool:
        return self.socket is not None

    def connect(self) -> socket.socket:
        """Connect and say what is wanted.

        Raises:
            OSError: Nobody is there, or has no room.
        """
        made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            made.settimeout(0)
            made.connect(self.path)
            made.send(self._hello)
        except OSError:
            made.close()
            raise
        self.socket = made
        return made

    def receive(self) -> list[JudgedPacket] | None:
        """Give the packets of one message; None when nothing waits, or the other side is gone."""
        if self.socket is None:
            return None
        try:
            data = self.socket.recv(MAX_MESSAGE_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self.close()
            return None
        packets, self._now = decode_packets(data)
        return packets

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        self._before, self._now = self.losses, Losses()
        self.next_try_ns = time.monotonic_ns() + _RETRY_NS


class QueueSource:
    """Asks an agent for packets that it judges.

    An agent with several workers listens for each of them: at ``path``, ``path.1`` and so on. A
    worker that goes away is asked again when it, or another one in its place, is there.

    Args:
        path: The agent's socket.
        filters: What is wanted.
        capture_bytes: Bytes that are kept of a packet; 0 for all that the agent has.

    Raises:
        RecorderError: There is no such agent, or it does not answer.
    """

    interfaces = (CaptureInterface("queue", LinkType.RAW),)
    loss_cause = "agent"

    def __init__(self, path: str, filters: Sequence[CaptureFilter], *, capture_bytes: int) -> None:
        """Connect, and wait until the agent has heard."""
        if not path:
            raise RecorderError(
                "this recorder knows no agent: set packets_socket in its section [recorder]",
                Refusal.UNFIT,
            )
        hello = encode_subscription(filters, capture_bytes)
        paths = (path, *(f"{path}.{number}" for number in range(1, _MAX_WORKERS)))
        self._links = [_Link(one, hello) for one in list(filter(_is_socket, paths)) or [path]]
        self._end_ns = 0
        self._poll = select.poll()
        try:
            self._connect()
            heard = self._wait_for_answers()
        except OSError as error:
            self.close()
            reason = (error.strerror or str(error)).lower()
            raise RecorderError(
                f"cannot record what is judged: no agent answers at {path} ({reason});"
                " run one whose configuration has the same packets_socket",
                Refusal.UNFIT,
            ) from error
        if not heard:
            self.close()
            raise RecorderError(
                f"the agent at {path} hands packets over to others, and takes no more of them",
                Refusal.EXHAUSTED,
            )

    def _connect(self) -> None:
        """Connect to every worker; one that is just being replaced is tried again later."""
        refusal: OSError | None = None
        for link in self._links:
            try:
                self._poll.register(link.connect(), select.POLLIN)
            except OSError as error:
                link.close()
                refusal = error
        if refusal is not None and not any(link.is_open() for link in self._links):
            raise refusal

    def _wait_for_answers(self) -> bool:
        """Wait until every worker said that it heard; False when one hung up instead."""
        for link in self._links:
            if link.socket is None:
                continue
            link.socket.settimeout(_READY_SECONDS)
            if not link.socket.recv(MAX_MESSAGE_BYTES):
                return False
            link.socket.settimeout(0)
        return True

    def register(self, descriptor: int) -> None:
        """Make `read` return early when this descriptor becomes readable."""
        self._poll.register(descriptor, select.POLLIN)

    def read(self, timeout_seconds: float) -> Iterator[Batch]:
        """Wait for packets, but not longer, and give what is there."""
        self._poll.poll(max(0, int(timeout_seconds * 1000)))
        for link in self._links:
            if link.socket is None:
                self._try_again(link)
                continue
            descriptor = link.socket.fileno()
            for _ in range(_MAX_MESSAGES):
                packets = link.receive()
                if packets is None:
                    break
                if packets:
                    yield _batch(packets)
            if not link.is_open():
                self._poll.unregister(descriptor)

    def _try_again(self, link: _Link) -> None:
        if self._end_ns or time.monotonic_ns() < link.next_try_ns:
            return
        try:
            self._poll.register(link.connect(), select.POLLIN)
        except OSError:
            link.close()

    def losses(self) -> tuple[int, int]:
        """Give the packets and bytes that the agent could not hand over."""
        found = [link.losses for link in self._links]
        return sum(one.packets for one in found), sum(one.size for one in found)

    def end(self) -> None:
        """Ask for nothing more."""
        self._end_ns = time.monotonic_ns() + _END_NS
        for link in self._links:
            if link.socket is not None:
                try:
                    link.socket.send(END)
                except OSError:
                    self._poll.unregister(link.socket)
                    link.close()

    def is_over(self) -> bool:
        """Whether everything came that was taken before `end`."""
        if not self._end_ns:
            return False
        gone = all(link.socket is None for link in self._links)
        return gone or time.monotonic_ns() >= self._end_ns

    def close(self) -> None:
        """Hang up."""
        for link in self._links:
            link.close()


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(Path(path).lstat().st_mode)
    except OSError:
        return False


def _batch(packets: Sequence[JudgedPacket]) -> Batch:
    frames = [
        (
            *divmod(one.time_ns, _NANOSECONDS),
            len(one.data),
            max(one.original_length, len(one.data)),
            one.data,
        )
        for one in packets
    ]
    return Batch(frames, 0, [one.comment for one in packets])
