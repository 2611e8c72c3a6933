"""The collector that keeps flows in a database."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from trireme_collector import ConfigError, FlowRecord, RetryableDeliveryError

from trireme_collector_sqlite.schema import CREATE, INSERT, TRIM, row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector import Record

__all__ = ["Options", "SqliteCollector"]


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in the configuration file.

    Attributes:
        path: The database. It is made if it is not there; its directory must exist.
        keep_records: How many records stay; 0 for all.
        timeout_seconds: How long to wait for others who have locked the database.
    """

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=4095)]
    keep_records: Annotated[int, msgspec.Meta(ge=0)] = 1_000_000
    timeout_seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 5.0


class SqliteCollector:
    """Keeps flows; each batch is one transaction.

    Args:
        options: Where, and how many.
        name: What messages call the collector.
    """

    kinds = frozenset({FlowRecord})

    def __init__(self, options: Options, *, name: str = "sqlite") -> None:
        """Keep the options; open nothing."""
        self._options = options
        self._name = name
        self._database: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open the database.

        Raises:
            ConfigError: It is no database, or cannot be made.
            RetryableDeliveryError: It is locked.
        """
        try:
            self._opened()
        except sqlite3.OperationalError as error:
            if not Path(self._options.path).exists():
                raise ConfigError(self._explain(error)) from error
            raise RetryableDeliveryError(self._explain(error)) from error
        except (OSError, sqlite3.DatabaseError) as error:
            raise ConfigError(self._explain(error)) from error

    def deliver(self, batch: Sequence[Record]) -> None:
        """Insert the flows, all of them or none.

        Raises:
            RetryableDeliveryError: The database is locked, or the disk is full.
        """
        rows = [row(record) for record in batch if isinstance(record, FlowRecord)]
        try:
            database = self._opened()
            with database:
                database.executemany(INSERT, rows)
                if self._options.keep_records:
                    database.execute(TRIM, (self._options.keep_records,))
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise RetryableDeliveryError(self._explain(error)) from error

    def reopen(self) -> None:
        """Close the database; the next batch opens what is at the path then."""
        self.close()

    def close(self) -> None:
        """Close the database."""
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                database.close()

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            path = self._options.path
            # For nobody else: records tell who talks to whom.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            # Its methods come from different threads, though never two at once.
            database = sqlite3.connect(
                path, timeout=self._options.timeout_seconds, check_same_thread=False
            )
            try:
                database.execute(CREATE)
            except sqlite3.Error:
                database.close()
                raise
            self._database = database
        return self._database

    def _explain(self, error: Exception) -> str:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        path = self._options.path
        return f"collector {self._name!r} cannot write to {path!r}: {reason}; check path and disk"
