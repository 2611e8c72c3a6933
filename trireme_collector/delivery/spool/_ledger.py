"""The readers' accounts and the spool's own counts, kept on disk together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.delivery.spool._account import Account
from trireme_collector.delivery.spool._state import (
    CURRENT,
    SYNCED,
    SYNCED_FOR_ROOM,
    State,
    StateFile,
)

if TYPE_CHECKING:
    import threading

    from trireme_collector.delivery.spool._files import Files
    from trireme_collector.delivery.spool._log import SegmentLog

__all__ = ["Ledger"]


class Ledger:
    """Accounts in memory, and on disk as often as it matters.

    A write that fails is counted and made up for later: nobody stops delivering because of it.

    Attributes:
        accounts: The account of each reader by name.
        refused: Records that were not taken since the spool exists, by reason.
        damage: What was found damaged since the spool exists.
        changed: Whether the file does not say what is true now.
        synced_lowest: The lowest position of a reader that outlives a loss of power.
        failures: Writes that failed.
        last_error: The last of these failures.

    Args:
        files: The directory.
        log: The segments.
        lock: Held by the callers of all methods but `save_synced`.
        state: What was kept on disk.
        syncs: Whether anything has to outlive a loss of power.
    """

    def __init__(
        self,
        files: Files,
        log: SegmentLog,
        lock: threading.RLock,
        state: State,
        *,
        syncs: bool,
    ) -> None:
        """Go on from what was kept."""
        self.accounts = {
            name: Account.restore(name, saved) for name, saved in state.readers.items()
        }
        self.refused = dict(state.refused)
        self.damage = state.damage
        self.changed = False
        self.synced_lowest = 0
        self.failures = 0
        self.last_error = ""
        self._log = log
        self._lock = lock
        self._syncs = syncs
        self._generation = state.generation
        self._synced_next = 0
        self._unsynced = False
        self._file = StateFile(files)

    def lowest(self) -> int:
        """Give the position of the reader that is furthest behind."""
        return min((account.position for account in self.accounts.values()), default=0)

    def refuse(self, count: int, reason: str) -> None:
        """Count records that were not taken, for every reader."""
        self.refused[reason] = self.refused.get(reason, 0) + count
        for account in self.accounts.values():
            account.refuse(count, reason)
        self.changed = True

    def save(self) -> None:
        """Keep the accounts so that they outlive the process."""
        self._unsynced = True
        try:
            self._file.write(self._state(), CURRENT)
        except OSError as error:
            self.changed = True
            self._failed(error)
        else:
            self.changed = False

    def save_for_room(self) -> bool:
        """Keep the accounts so that they outlive a loss of power; say whether they do."""
        state = self._state()
        lowest = self.lowest()
        try:
            place = self._file.write(state, SYNCED_FOR_ROOM)
            if self._syncs:
                self._file.sync(place, SYNCED_FOR_ROOM)
        except OSError as error:
            self._failed(error)
            return False
        self.synced_lowest = lowest
        return True

    def save_synced(self) -> None:
        """Do the same if anything has changed, while others go on."""
        with self._lock:
            if self.changed:
                self.save()
            if not self._unsynced and self._synced_next == self._log.next_sequence:
                return
            self._unsynced = False
            lowest = self.lowest()
            state = self._state()
            try:
                place = self._file.write(state, SYNCED)
            except OSError as error:
                self._unsynced = True
                self._failed(error)
                return
        try:
            if self._syncs:
                self._file.sync(place, SYNCED)
        except OSError as error:
            with self._lock:
                self._unsynced = True
                self._failed(error)
            return
        with self._lock:
            self._synced_next = state.next_sequence
            self.synced_lowest = max(self.synced_lowest, lowest)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _state(self) -> State:
        self._generation += 1
        return State(
            generation=self._generation,
            seed=self._log.seed,
            durable=self._log.durable,
            next_sequence=self._log.next_sequence,
            refused=self.refused,
            readers={name: account.save() for name, account in self.accounts.items()},
            damage=self.damage,
        )

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        self.last_error = str(error)
