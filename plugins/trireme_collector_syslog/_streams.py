"""Framed messages on a stream."""

from __future__ import annotations

import errno
import itertools
import time
from collections import deque
from typing import TYPE_CHECKING

from trireme_collector_syslog._senders import PeerClosedError, is_stall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trireme_collector_syslog._channels import Channel
    from trireme_collector_syslog._resend import ResendWindow

__all__ = ["StreamSender"]

_AGAIN_AT_ONCE = 512


class StreamSender:
    """Sends framed messages, first those again that a broken connection may have lost.

    A message that left in part is finished when it is sent again, so a stalled receiver gets
    neither a torn message nor one twice.
    """

    def __init__(
        self,
        channel: Channel,
        frame: Callable[[bytes], bytes],
        window: ResendWindow,
        *,
        settle_seconds: float = 0.0,
        finish_seconds: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take over a connected channel.

        Args:
            channel: The stream.
            frame: Makes a message one that can be told from its neighbours.
            window: What was sent before, on this connection and others.
            settle_seconds: How long after connecting nothing counts as sent, because the server
                may still refuse the connection.
            finish_seconds: How long the end of the connection waits for the server to read.
            monotonic: A time that never jumps, in seconds.
        """
        self._channel = channel
        self._frame = frame
        self._window = window
        self._finish_seconds = finish_seconds
        self._monotonic = monotonic
        self._settled_at = monotonic() + settle_seconds if settle_seconds else 0.0
        self._again = deque(window.messages(monotonic()))
        self._begun_bytes = b""
        self._begun_sent = 0
        self.begun = 0

    @property
    def again(self) -> int:
        """How many messages of earlier connections are still to be sent again."""
        return len(self._again)

    def send(self, messages: Sequence[bytes]) -> tuple[int, OSError | None]:
        """Send messages until one fails; see `Sender.send`."""
        try:
            failure = self._send_again()
            if failure is not None:
                return 0, self._judge(failure)
            left, failure = self._write(messages)
            if failure is not None and not is_stall(failure):
                # What the kernel took of this batch is lost with the connection.
                return 0, self._judge(failure)
            if left:
                self._channel.watch(max(0.0, self._settled_at - self._monotonic()))
                self._settled_at = 0.0
        except OSError as error:
            return 0, self._judge(error)
        self._window.add(messages[:left], self._monotonic())
        return left, failure

    def check(self) -> OSError | None:
        """Notice that the connection is broken; see `Sender.check`."""
        try:
            failure = self._send_again()
            if failure is None:
                self._channel.watch(max(0.0, self._settled_at - self._monotonic()))
                self._settled_at = 0.0
        except OSError as error:
            failure = error
        return None if failure is None else self._judge(failure)

    def finish(self) -> None:
        """Close the connection; what the server has read need not be sent again."""
        complete = not self._again and not self.begun
        if self._channel.finish(self._finish_seconds) and complete:
            self._window.clear()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _send_again(self) -> OSError | None:
        """Send what earlier connections may have lost, unless this one is broken too."""
        self._channel.watch(0)
        while self._again:
            some = list(itertools.islice(self._again, _AGAIN_AT_ONCE))
            left, failure = self._write(some)
            for _ in range(left):
                self._again.popleft()
            if failure is not None:
                return failure
        return None

    def _judge(self, error: OSError) -> OSError:
        """Tell a server that ends a new connection from one that ends an old one."""
        if self._settled_at and isinstance(error, ConnectionError):
            return PeerClosedError(error.errno, error.strerror)
        return error

    def _write(self, messages: Sequence[bytes]) -> tuple[int, OSError | None]:
        frames = [self._frame(message) for message in messages]
        data = memoryview(b"".join(frames))
        if self._begun_bytes and frames and data[: len(self._begun_bytes)] != self._begun_bytes:
            # Its end will never come: only a new connection can be understood.
            raise ConnectionAbortedError(errno.ECONNABORTED, "a message was given up halfway")
        ends = list(itertools.accumulate(map(len, frames)))
        total = len(data)
        done = self._begun_sent if frames else 0
        failure: OSError | None = None
        try:
            while done < total:
                done += self._channel.write(data[done:])
        except OSError as error:
            failure = error
        left = sum(end <= done for end in ends)
        if frames:
            start = ends[left - 1] if left else 0
            stop = done + self._channel.held
            self.begun = sum(end - len(f) < stop for end, f in zip(ends, frames, strict=True))
            self.begun -= left
            self._begun_bytes = bytes(data[start : ends[left + self.begun - 1]])
            self._begun_sent = done - start
            if not self.begun:
                self._begun_bytes = b""
        return left, failure
