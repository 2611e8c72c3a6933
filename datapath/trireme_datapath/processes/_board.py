"""Numbers that one process writes and another reads at any time: shared memory without a lock.

Each is a word of eight bytes at an address that is a multiple of eight, and has one writer, so a
reader sees the old value or the new one.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Final

from trireme_datapath.processes.config import MAX_WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CollectorBoard", "EnforcerBoard"]

_WORD: Final = 8


class _Board:
    def __init__(self, descriptor: int, words: int) -> None:
        self._map = mmap.mmap(descriptor, words * _WORD)
        self._words = memoryview(self._map).cast("Q")

    def close(self) -> None:
        """Let go of the memory."""
        self._words.release()
        self._map.close()


def _make(name: str, words: int) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    os.ftruncate(descriptor, words * _WORD)
    return descriptor


class EnforcerBoard(_Board):
    """What the enforcers of one slot count, one life after the other.

    Args:
        descriptor: The memory; see `make`.
    """

    _REPORTED: Final = 8
    _WORDS: Final = 12

    def __init__(self, descriptor: int) -> None:
        """Map it."""
        super().__init__(descriptor, self._WORDS)

    @classmethod
    def make(cls) -> int:
        """Get the memory; its numbers are 0."""
        return _make("trireme-enforcer", cls._WORDS)

    @property
    def reported(self) -> tuple[int, ...]:
        """The kernel's totals of the queues that counter reports have told."""
        return tuple(self._words[self._REPORTED : self._WORDS])

    def report(self, totals: Iterable[int]) -> None:
        """Note the totals that a counter report tells."""
        for place, total in enumerate(totals, self._REPORTED):
            self._words[place] = max(0, total)

    def write(
        self, *, beat_ns: int, judged: int, denied: int, made: int, sent: int, unsent: int
    ) -> None:
        """Say that the loop turned, and what it has done."""
        words = self._words
        words[0], words[1], words[2] = beat_ns, judged, denied
        words[4], words[5], words[6] = made, sent, unsent

    def beat(self, now_ns: int) -> None:
        """Say that the loop turned, and nothing else."""
        self._words[0] = now_ns

    @property
    def beat_ns(self) -> int:
        """When the loop last turned, by a clock that does not jump."""
        return self._words[0]

    @property
    def listed_ns(self) -> int:
        """When the last list of connections began whose records were handed over."""
        return self._words[7]

    @listed_ns.setter
    def listed_ns(self, moment_ns: int) -> None:
        self._words[7] = moment_ns

    @property
    def judged(self) -> int:
        """Packets that got a verdict."""
        return self._words[1]

    @property
    def denied(self) -> int:
        """Those of them that were dropped or refused."""
        return self._words[2]

    @property
    def settled(self) -> int:
        """Packets that a successor found in the hand of the dead.

        It sent them round again, or they were judged and nobody lived to count them.
        """
        return self._words[3]

    @settled.setter
    def settled(self, count: int) -> None:
        self._words[3] = count

    @property
    def made(self) -> int:
        """Records that came of the packets."""
        return self._words[4]

    @property
    def sent(self) -> int:
        """Records that were handed over; it rises before they are."""
        return self._words[5]

    @property
    def unsent(self) -> int:
        """Records that did not fit."""
        return self._words[6]


class CollectorBoard(_Board):
    """What the process of the collectors has taken from each slot, one life after the other.

    Args:
        descriptor: The memory; see `make`.
    """

    _WORDS: Final = 1 + 2 * (MAX_WORKERS + 1)  # and the one who follows connections

    def __init__(self, descriptor: int) -> None:
        """Map it."""
        super().__init__(descriptor, self._WORDS)

    @classmethod
    def make(cls) -> int:
        """Get the memory; its numbers are 0."""
        return _make("trireme-collector", cls._WORDS)

    def beat(self, now_ns: int) -> None:
        """Say that the loop turned."""
        self._words[0] = now_ns

    @property
    def beat_ns(self) -> int:
        """When the loop last turned, by a clock that does not jump."""
        return self._words[0]

    def taken(self, slot: int) -> int:
        """Tell how many records of a slot were taken, or are known to be lost."""
        return self._words[1 + 2 * slot]

    def lost(self, slot: int) -> int:
        """Tell how many of them died with a process."""
        return self._words[2 + 2 * slot]

    def take(self, slot: int, taken: int, lost: int) -> None:
        """Note both."""
        self._words[2 + 2 * slot] = lost
        self._words[1 + 2 * slot] = taken
