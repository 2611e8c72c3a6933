"""The collector that writes JSON lines to a file."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from msgspec import UNSET

from trireme_collector import CollectorContext, ConfigError, RetryableDeliveryError
from trireme_collector.delivery import FailureReporter
from trireme_collector.formats import render_hubble_lines, render_json_line
from trireme_collector.option_formats import find_renderer
from trireme_collector_file._background import Background
from trireme_collector_file._disk import SystemDisk, directory
from trireme_collector_file._failures import explain, is_configured_wrong
from trireme_collector_file._line_file import LineFile, WriteError
from trireme_collector_file._options import FileOptions, Fsync
from trireme_collector_file._rotation import period_of, rotate
from trireme_collector_file._upkeep import StoppedError, Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trireme_collector import Record
    from trireme_collector_file._disk import Disk
    from trireme_collector_file._line_file import Cut

    Enrich: TypeAlias = Callable[[Mapping[str, object]], dict[str, object]]

__all__ = ["FileCollector"]

_NANOSECONDS = 1_000_000_000
_AGAIN_NS = 60 * _NANOSECONDS
# A disk that has space again is not to wait until the pauses have grown to a minute.
_RETRY_SECONDS = 2.0
_STOP_SECONDS = 0.3


def _render_hubble(record: Record) -> bytes:
    # A record that has no form is an empty line without its end: it counts, and takes no room.
    return render_hubble_lines((record,))


def _render_flow_logs(record: Record, *, agent_ip: str, enrich: Enrich | None) -> bytes:
    # The format brings a good part of the library along.
    from trireme_collector.formats.netobserv import render_netobserv_lines  # noqa: PLC0415

    return render_netobserv_lines((record,), agent_ip=agent_ip or UNSET, enrich=enrich)


_RENDER: dict[str, Callable[[Record], bytes]] = {
    "hubble": _render_hubble,
    "json": render_json_line,
}


class FileCollector:
    """Appends records to a file, one line of JSON each.

    Whatever goes wrong, the file holds whole lines, and a record that counts as delivered is in
    it once. Losing power may still lose what was not forced to the disk; see `Fsync`.

    Args:
        options: Path, rotation and permissions.
        name: What messages call the collector.
        time_ns: The time of day, nanoseconds since 1970 UTC.
        disk: Where the files are; the system's by default.
        context: What it was told when it was built; it finds the formats of plugins.
        threads: Whether rotated files are compressed in a thread, and not while others wait.
    """

    def __init__(
        self,
        options: FileOptions,
        *,
        name: str = "file",
        time_ns: Callable[[], int] = time.time_ns,
        disk: Disk | None = None,
        context: CollectorContext | None = None,
        threads: bool = True,
    ) -> None:
        """Keep the options; open nothing.

        Raises:
            ConfigError: There is no such format.
        """
        self._options = options
        self._name = name
        self._time_ns = time_ns
        self._disk = disk or SystemDisk()
        self._path = Path(options.path)
        self._mode = int(options.mode, base=8)
        context = context or CollectorContext(name=name, instance="")
        flow_logs = functools.partial(
            _render_flow_logs, agent_ip=options.agent_ip, enrich=context.enrich
        )
        own: dict[str, Callable[[Record], bytes]] = {**_RENDER, "netobserv": flow_logs}
        self._render = find_renderer(options.format, own, context)
        self._file: LineFile | None = None
        self._cut: Cut | None = None
        self._period = 0
        self._rotate_not_before_ns = 0
        self._rotation_error: OSError | None = None
        self._sync_error: OSError | None = None
        self._unsynced = False
        self._synced_ns = 0
        compresses = options.compression != "none"
        self._rotates = bool(
            options.rotate_bytes or options.rotate_seconds or options.rotate_records
        )
        self._upkeep = Upkeep(self._path, self._disk, keep=options.keep, compresses=compresses)
        # What is only removed is removed at once.
        self._background = (
            Background(self._tidy, f"trireme-upkeep-{name}") if compresses and threads else None
        )
        self._tidy_again_ns: int | None = None
        self._reporter = FailureReporter(name, _AGAIN_NS)

    def open(self) -> None:
        """Open the file, and go on with what a kill has interrupted.

        Raises:
            ConfigError: It cannot be written as it is configured.
            RetryableDeliveryError: It cannot be written now; the disk may be full.
        """
        try:
            file = self._open()
        except OSError as error:
            if is_configured_wrong(error):
                raise ConfigError(self._explain(error)) from error
            raise self._passing(error) from error
        if self._rotates and file.is_regular:
            self._look_after()

    def deliver(self, batch: Sequence[Record]) -> None:
        """Append the records.

        Raises:
            RetryableDeliveryError: Some or all could not be written; ``delivered`` says how many
                were, and the others left no trace in the file.
        """
        lines = [self._render(record) for record in batch]
        delivered = 0
        try:
            while delivered < len(lines):
                file = self._ready(len(lines[delivered]))
                portion = lines[delivered : delivered + self._room(file, lines, delivered)]
                self._append(file, portion)
                delivered += len(portion)
        except WriteError as error:
            delivered += error.written
            if self._file is not None and self._file.torn:
                self._drop_file()
            raise self._passing(error, delivered) from error
        except OSError as error:
            self._drop_file()
            raise self._passing(error, delivered) from error
        if self._tidy_again_ns is not None and self._time_ns() >= self._tidy_again_ns:
            self._look_after()
        rotation_error, self._rotation_error = self._rotation_error, None
        if rotation_error is not None:
            message = (
                f"cannot rotate {str(self._path)!r}: {rotation_error.strerror}; the records are"
                " in the old file. Give the agent's user the right to rename files there"
            )
            raise RetryableDeliveryError(message, delivered=delivered)

    def flush(self) -> None:
        """Force what was written to the disk, unless that is left to the kernel.

        Raises:
            RetryableDeliveryError: The disk refused; the records may be lost with the power.
        """
        if self._file is not None and self._unsynced:
            self._sync_or_note(self._file)
        noted, self._sync_error = self._sync_error, None
        if noted is not None:
            # A later fsync may have succeeded although the kernel has thrown the pages away.
            raise self._passing(noted) from noted

    def reopen(self) -> None:
        """Open the path anew, after something else has moved the file.

        Raises:
            RetryableDeliveryError: It cannot be opened; the next delivery tries again.
        """
        self._drop_file()
        try:
            self._open()
        except OSError as error:
            raise self._passing(error) from error

    def close(self) -> None:
        """Close the file; what is being compressed is left to the next start."""
        if self._background is not None:
            self._background.stop(_STOP_SECONDS)
        self._drop_file()

    def wait_idle(self) -> None:
        """Wait until all rotated files are compressed."""
        if self._background is not None:
            self._background.wait()

    def _open(self) -> LineFile:
        counted = self._options.rotate_records > 0
        file = LineFile(self._path, self._mode, self._disk, cut=self._cut, counted=counted)
        self._cut = None
        self._file = file
        if file.created and self._options.fsync is not Fsync.NEVER:
            with directory(self._disk, self._path.parent) as names:
                self._disk.sync(names)
        # An old file keeps its own period: it is rotated before anything is added.
        seconds = file.modified_seconds if file.size else self._time_ns() // _NANOSECONDS
        self._period = period_of(seconds, self._options.rotate_seconds)
        return file

    def _drop_file(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        if self._unsynced:
            self._sync_or_note(file)
        self._unsynced = False
        self._cut = file.torn or self._cut
        try:
            file.close()
        except OSError as error:
            # The descriptor is gone all the same; a network file system tells late that it failed.
            self._sync_error = error

    def _ready(self, next_size: int) -> LineFile:
        """Give the file that the next line belongs into."""
        file = self._file
        if file is not None and file.is_regular and not file.is_in_place():
            self._drop_file()
            file = None
        if file is None:
            file = self._open()
        now_ns = self._time_ns()
        if not self._is_due(file, next_size, now_ns):
            return file
        if self._unsynced:
            self._sync_or_note(file)
        try:
            rotate(self._disk, self._path, now_ns)
        except OSError as error:
            # Better in the old file than nowhere.
            self._rotation_error = error
            self._rotate_not_before_ns = now_ns + _AGAIN_NS
            return file
        self._drop_file()
        self._look_after()
        return self._open()

    def _is_due(self, file: LineFile, next_size: int, now_ns: int) -> bool:
        options = self._options
        if not file.is_regular or not file.size or now_ns < self._rotate_not_before_ns:
            return False
        if options.rotate_bytes and file.size + next_size > options.rotate_bytes:
            return True
        if options.rotate_records and file.lines >= options.rotate_records:
            return True
        return period_of(now_ns // _NANOSECONDS, options.rotate_seconds) != self._period

    def _room(self, file: LineFile, lines: Sequence[bytes], start: int) -> int:
        """Count the lines that still belong into the file, at least one."""
        options = self._options
        left = len(lines) - start
        if not file.is_regular or self._time_ns() < self._rotate_not_before_ns:
            return left
        if options.rotate_records:
            left = min(left, max(1, options.rotate_records - file.lines))
        if not options.rotate_bytes:
            return left
        size = file.size + len(lines[start])
        count = 1
        while count < left and size + len(lines[start + count]) <= options.rotate_bytes:
            size += len(lines[start + count])
            count += 1
        return count

    def _append(self, file: LineFile, lines: Sequence[bytes]) -> None:
        try:
            file.append(lines)
        except WriteError as error:
            if error.written:
                self._settle(file, error.written)
            raise
        self._settle(file, len(lines))

    def _settle(self, file: LineFile, count: int) -> None:
        """Force the lines that were just appended to the disk, as far as that was asked for."""
        if self._options.fsync is Fsync.ALWAYS:
            try:
                file.sync()
            except OSError:
                # The kernel may have thrown the pages away: they are written again, once.
                file.take_back(count)
                raise
        elif self._options.fsync is Fsync.INTERVAL:
            self._unsynced = True
            interval_ns = round(self._options.fsync_interval_seconds * _NANOSECONDS)
            if self._time_ns() - self._synced_ns >= interval_ns:
                self._sync_or_note(file)

    def _sync_or_note(self, file: LineFile) -> None:
        # The records are in the file and stay there; flush() says that they may not be durable.
        try:
            file.sync()
            self._unsynced = False
        except OSError as error:
            self._sync_error = error
        self._synced_ns = self._time_ns()

    def _look_after(self) -> None:
        self._tidy_again_ns = None
        if self._background is None:
            self._tidy(lambda: False)
        else:
            self._background.request()

    def _tidy(self, is_stopped: Callable[[], bool]) -> None:
        try:
            self._upkeep.run(is_stopped)
        except StoppedError:
            return
        except OSError as error:
            now_ns = self._time_ns()
            self._tidy_again_ns = now_ns + _AGAIN_NS
            self._reporter.report("upkeep_failed", error, now_ns, path=str(self._path))

    def _passing(self, error: OSError, delivered: int = 0) -> RetryableDeliveryError:
        return RetryableDeliveryError(
            self._explain(error), delivered=delivered, retry_after=_RETRY_SECONDS
        )

    def _explain(self, error: OSError) -> str:
        start = f"collector {self._name!r} cannot write to {str(self._path)!r}"
        return f"{start}: {explain(error, self._path)}"
