"""Which part of a batch goes next, while a refused one is divided."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector.records import Record

__all__ = ["Portions"]


class Portions:
    """Divides a batch that was refused, until what is bad in it stands alone.

    A refused part becomes two halves, which are tried in order. One bad record among n costs
    2 log2(n) deliveries more than none; nothing is given up that was not tried alone.
    """

    def __init__(self) -> None:
        """Start without a batch."""
        self._sizes: deque[int] = deque()
        self._attempts: deque[int] = deque()

    @property
    def pending(self) -> bool:
        """Whether a part of the last batch is still to be tried."""
        return bool(self._sizes)

    @property
    def attempts(self) -> int:
        """How often the records of the next part were tried."""
        return self._attempts[0] if self._attempts else 0

    def begin(self, batch: Sequence[Record]) -> Sequence[Record]:
        """Give the part that is tried now.

        Args:
            batch: All that is left of the batch: what was settled is no longer in it.
        """
        if not self._sizes:
            self._sizes.append(len(batch))
            self._attempts.append(0)
        self._attempts[0] += 1
        size = self._sizes[0]
        return batch if size == len(batch) else batch[:size]

    def settle(self, count: int) -> None:
        """Forget the first records of the part: they are done with."""
        self._sizes[0] -= count
        if not self._sizes[0]:
            self._sizes.popleft()
            self._attempts.popleft()

    def split(self) -> None:
        """Divide the part."""
        size, attempts = self._sizes[0], self._attempts[0]
        self._sizes[0] = size - size // 2
        self._sizes.appendleft(size // 2)
        self._attempts.appendleft(attempts)
