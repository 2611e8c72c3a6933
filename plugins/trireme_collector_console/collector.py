"""The collector that prints records for people."""

from __future__ import annotations

import errno
import os
import select
import sys
from typing import TYPE_CHECKING, Final

from trireme_collector import ConfigError, PermanentDeliveryError, RetryableDeliveryError
from trireme_collector.formats import render_json_line, render_text
from trireme_collector_console._options import Color, ConsoleOptions, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trireme_collector import Record

__all__ = ["ConsoleCollector"]

# A pipe that is ready takes this much without blocking (PIPE_BUF of linux/limits.h).
_CHUNK_BYTES: Final = 4096
_PATIENCE_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 1.0
_GONE: Final = frozenset({errno.EPIPE, errno.EBADF, errno.EIO, errno.ENXIO, errno.ECONNRESET})
_NAMES: Final = {Stream.STDOUT: "standard output", Stream.STDERR: "standard error"}


class ConsoleCollector:
    """Prints one line per record.

    It writes to the descriptor itself: a reader that is slow or gone can neither hold up the end
    of the process nor make the interpreter complain about a broken pipe.

    Args:
        options: Stream, colour and form.
        name: What messages call the collector.
        descriptor: Where to write instead of the stream of the options.
        environment: Where ``NO_COLOR``, ``FORCE_COLOR`` and ``TERM`` are looked up.
        wait_writable: Waits until the descriptor takes more and says whether it does.
    """

    def __init__(
        self,
        options: ConsoleOptions,
        *,
        name: str = "console",
        descriptor: int | None = None,
        environment: Mapping[str, str] = os.environ,
        wait_writable: Callable[[int], bool] | None = None,
    ) -> None:
        """Keep the options; look at nothing yet."""
        self._options = options
        self._name = name
        self._stream = _NAMES[options.stream]
        self._descriptor = descriptor
        self._environment = environment
        self._wait_writable = wait_writable or _wait_writable
        self._color: bool | None = None
        self._gone = ""
        self._torn = False

    def open(self) -> None:
        """Look at the stream.

        Raises:
            ConfigError: It is closed.
        """
        self._find()

    def deliver(self, batch: Sequence[Record]) -> None:
        """Print the records.

        Raises:
            ConfigError: The stream was closed before the process began.
            PermanentDeliveryError: Whoever read it is gone; nothing will be printed any more.
            RetryableDeliveryError: It takes no more for now.
        """
        descriptor = self._find()
        if self._gone:
            raise PermanentDeliveryError(self._gone)
        lines = [self._render(record) for record in batch]
        if self._torn:
            # What was begun stands alone; the record is printed again, whole.
            lines[0] = b"\n" + lines[0]
        written, error = self._write(descriptor, b"".join(lines))
        if error is None and written == sum(map(len, lines)):
            self._torn = False
            return
        delivered = 0
        for line in lines:
            if written < len(line):
                break
            written -= len(line)
            delivered += 1
        # Nothing of the next line is out, unless it is: an unfinished one then stays unfinished.
        self._torn = written > 0 or (self._torn and not delivered)
        raise self._explain(error, delivered)

    def reopen(self) -> None:
        """Look at the stream again: what was gone may be back."""
        self._gone = ""

    def _find(self) -> int:
        if self._descriptor is None:
            is_open = (sys.__stdout__, sys.__stderr__)[self._options.stream is Stream.STDERR]
            if is_open is None:
                # Its number may belong to some other file by now.
                message = (
                    f"collector {self._name!r} cannot print: {self._stream} is closed;"
                    " start the agent with it open, or use another collector"
                )
                raise ConfigError(message)
            self._descriptor = 1 if self._options.stream is Stream.STDOUT else 2
        if self._color is None:
            self._color = self._wants_color(self._descriptor)
        return self._descriptor

    def _wants_color(self, descriptor: int) -> bool:
        if self._options.json or self._options.color is Color.NEVER:
            return False
        if self._options.color is Color.ALWAYS:
            return True
        if self._environment.get("NO_COLOR"):
            return False
        if self._environment.get("FORCE_COLOR"):
            return True
        return self._environment.get("TERM") != "dumb" and os.isatty(descriptor)

    def _render(self, record: Record) -> bytes:
        if self._options.json:
            return render_json_line(record)
        return render_text(record, color=bool(self._color)).encode() + b"\n"

    def _write(self, descriptor: int, data: bytes) -> tuple[int, OSError | None]:
        """Write as much as goes; give how much that was."""
        written = 0
        while written < len(data):
            try:
                if not self._wait_writable(descriptor):
                    return written, None
                written += os.write(descriptor, data[written : written + _CHUNK_BYTES])
            except BlockingIOError:
                return written, None
            except OSError as error:
                return written, error
        return written, None

    def _explain(
        self, error: OSError | None, delivered: int
    ) -> PermanentDeliveryError | RetryableDeliveryError:
        start = f"collector {self._name!r} cannot print to {self._stream}"
        if error is None:
            message = f"{start}: it takes no more; a terminal may be paused, or a pipe not read"
            return RetryableDeliveryError(message, delivered=delivered, retry_after=_AGAIN_SECONDS)
        reason = error.strerror or str(error)
        if error.errno in _GONE:
            self._gone = f"{start}: {reason.lower()}; nothing reads it any more"
            return PermanentDeliveryError(self._gone, delivered=delivered)
        return RetryableDeliveryError(f"{start}: {reason.lower()}", delivered=delivered)


def _wait_writable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(_PATIENCE_SECONDS * 1000))
