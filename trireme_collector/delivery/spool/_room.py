"""Room for more records: what everybody has passed goes first, then what the policy gives up."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from trireme_collector.delivery._spool_config import WhenFull
from trireme_collector.delivery.spool._frames import HEAD_BYTES
from trireme_collector.delivery.spool._status import DROPPED_FULL
from trireme_collector.delivery.spool.crash_points import CrashPoint, reach

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trireme_collector.delivery._spool_config import SpoolConfig
    from trireme_collector.delivery.spool._ledger import Ledger
    from trireme_collector.delivery.spool._log import SegmentLog
    from trireme_collector.delivery.spool._reader import SpoolReader

__all__ = ["Room"]


class Room:
    """Keeps a spool within its bounds. Its owner calls it under the spool's lock.

    Args:
        log: The segments.
        ledger: The accounts.
        readers: The readers that are open, by name.
        config: The bounds, and which records are given up beyond them.
    """

    def __init__(
        self,
        log: SegmentLog,
        ledger: Ledger,
        readers: Mapping[str, SpoolReader],
        config: SpoolConfig,
    ) -> None:
        """Change nothing yet."""
        self._log = log
        self._ledger = ledger
        self._readers = readers
        self._config = config

    def is_enough(self, size: int) -> bool:
        """Say whether so many bytes more are within the bounds."""
        return self._log.total_bytes + self._log.room_needed(size) <= self._config.max_bytes

    def make(self) -> bool:
        """Make more room; say whether there is any that can be made."""
        return self._remove_passed() or self._drop_oldest()

    def fit(self, portion: Sequence[bytes], size: int) -> Sequence[bytes]:
        """Make room as the policy says; give the records for which there is room.

        Args:
            portion: The bytes of each record.
            size: What all of them take, framed.
        """
        log = self._log
        while not self.is_enough(size):
            if not self.make():
                break
        room = self._config.max_bytes - log.total_bytes - (log.room_needed(size) - size)
        count = 0
        for payload in portion:
            room -= len(payload) + HEAD_BYTES
            if room < 0:
                break
            count += 1
        if count < len(portion):
            self._ledger.refuse(len(portion) - count, DROPPED_FULL)
        return portion[:count]

    def remove_before(self, lowest: int) -> bool:
        """Remove the segments with nothing but earlier records; say whether there were any."""
        victims = [one for one, two in pairwise(self._log.segments) if two.first <= lowest]
        for victim in victims:
            reach(CrashPoint.REMOVE_BEGUN)
            self._log.remove(victim)
            reach(CrashPoint.REMOVE_DONE)
        return bool(victims)

    def _remove_passed(self) -> bool:
        """Remove the segments that every reader has passed; say whether there were any."""
        lowest = self._ledger.lowest()
        segments = self._log.segments
        if len(segments) < 2 or segments[1].first > lowest:
            return False
        # After a loss of power an older position must not miss what was delivered.
        if self._ledger.synced_lowest < lowest and not self._ledger.save_for_room():
            return False
        return self.remove_before(lowest)

    def _drop_oldest(self) -> bool:
        """Give up the oldest segment if the policy says so; say whether there is room now."""
        segments = self._log.segments
        if self._config.when_full is not WhenFull.DROP_OLDEST or len(segments) < 2:
            return False
        end = segments[1].first
        for name, account in self._ledger.accounts.items():
            reader = self._readers.get(name)
            if reader is None:
                account.lose(account.position, end, DROPPED_FULL)
            else:
                reader.lose_oldest(end, DROPPED_FULL)
        self._ledger.save()
        reach(CrashPoint.DROP_COUNTED)
        self._log.remove(segments[0])
        return True
