"""Records for asyncio: a datapath as an asynchronous iterator."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from trireme_collector.records import Record
    from trireme_datapath.datapath import Datapath

__all__ = ["RecordStream"]

_PERIOD_SECONDS: Final = 1.0


class RecordStream:
    """Judges in an event loop, and gives the records to whoever iterates.

    ::

        async with RecordStream(Datapath("policy.toml", open_queue)) as records:
            async for record in records:
                ...

    Packets are judged when they come, whether or not anybody waits for a record; so nothing in
    the event loop may block for long. Records that nobody fetches are kept up to a
    number; beyond, the oldest are dropped and counted.

    Args:
        datapath: Where packets are judged; opened and closed here.
        max_waiting: How many records wait at most.

    Attributes:
        dropped: Records that had to go because nobody fetched them.
    """

    def __init__(self, datapath: Datapath, *, max_waiting: int = 65_536) -> None:
        """Open nothing yet."""
        if max_waiting < 1:
            raise ValueError("max_waiting must be above 0")
        self.dropped = 0
        self._datapath = datapath
        self._max_waiting = max_waiting
        self._waiting: deque[Record] = deque()
        self._news = asyncio.Event()
        self._error: OSError | None = None
        self._ended = False
        self._descriptor = -1
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        """Open the datapath, and judge from now on.

        Raises:
            DatapathError: The queue is refused; the subclass says why.
        """
        self._datapath.open()
        self._descriptor = self._datapath.fileno()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._descriptor, self._judge)
        self._timer = loop.call_later(_PERIOD_SECONDS, self._turn)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Judge no more, and close the datapath."""
        self.stop()
        self._datapath.close()

    def __aiter__(self) -> Self:
        """Iterate over the records."""
        return self

    async def __anext__(self) -> Record:
        """Wait for a record.

        Raises:
            StopAsyncIteration: `stop` was called, and no record is left.
            OSError: The queue is of no use any more.
        """
        while not self._waiting:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()

    def __len__(self) -> int:
        """Count the records that wait."""
        return len(self._waiting)

    def stop(self) -> None:
        """Judge what waits once more and then no more: the iteration ends after the last record.

        From other threads, use ``loop.call_soon_threadsafe(stream.stop)``.
        """
        if self._ended:
            return
        self._judge()
        self._leave()
        self._keep(self._datapath.take_last_records())

    def _turn(self) -> None:
        self._judge()
        if not self._ended:
            self._timer = asyncio.get_running_loop().call_later(_PERIOD_SECONDS, self._turn)

    def _judge(self) -> None:
        try:
            self._keep(self._datapath.judge())
        except OSError as error:
            self._error = error
            self._leave()

    def _leave(self) -> None:
        self._ended = True
        self._news.set()
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._descriptor = -1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _keep(self, records: Iterable[Record]) -> None:
        waiting = self._waiting
        waiting.extend(records)
        while len(waiting) > self._max_waiting:
            waiting.popleft()
            self.dropped += 1
        if waiting:
            self._news.set()
