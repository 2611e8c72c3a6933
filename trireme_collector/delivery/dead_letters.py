"""Records that will not be delivered, kept in a file per collector until somebody decides.

``STATE_DIRECTORY/dead-letters/NAME.jsonl`` holds one JSON object per line. A line is whole or not
there: it is forced to the disk before its record leaves the queue, and what a crash has torn is
cut off before the next line is written. A line that begins with ``#`` is done with.

The program appends while commands read and remove. Each holds a lock on the directory for the
moment of a change, and nobody holds it while something is sent.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from trireme_collector.delivery._reporter import FailureReporter
from trireme_collector.errors import ConfigError
from trireme_collector.records import encode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trireme_collector.records import Record

__all__ = [
    "DROPPED_LETTERS_FAILED",
    "DROPPED_LETTERS_FULL",
    "SERVICE_STATE_DIRECTORY",
    "DeadLetter",
    "DeadLetterFile",
    "DeadLetters",
    "dead_letter_names",
    "dead_letter_path",
    "decode_letter",
    "locked_directory",
]

DROPPED_LETTERS_FULL = "dead_letters_full"
"""The reason of a drop: the file of dead letters is as large as it may be."""
DROPPED_LETTERS_FAILED = "dead_letters_failed"
"""The reason of a drop: the file of dead letters could not be written."""
SERVICE_STATE_DIRECTORY = "/var/lib/trireme-collector"
"""The state directory of the program as a service."""

DONE = b"#"
DIRECTORY = "dead-letters"
SUFFIX = ".jsonl"
FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LONGEST_REASON = 1000
_PORTION = 65_536
_LOG_INTERVAL_NS = 60_000_000_000


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One record that was not delivered.

    Attributes:
        collector: The collector that it was for.
        reason: Why it was not delivered.
        time_ns: When it was given up, nanoseconds since 1970 UTC.
        attempts: How often it was tried.
        record: The record in its JSON form.
    """

    collector: str
    reason: str
    time_ns: int
    attempts: int
    record: msgspec.Raw


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(DeadLetter)


def decode_letter(line: bytes) -> DeadLetter:
    """Read one line.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return _decoder.decode(line)


def dead_letter_path(state_directory: str, collector: str) -> Path:
    """Name the file of a collector.

    Raises:
        ConfigError: The name of the collector cannot be that of a file.
    """
    if not _NAME.fullmatch(collector):
        msg = (
            f"collector {collector!r}: dead letters need a name of letters, digits, '-', '_' and"
            " '.'; rename the collector"
        )
        raise ConfigError(msg)
    return Path(state_directory, DIRECTORY, collector + SUFFIX)


def dead_letter_names(state_directory: str) -> list[str]:
    """List the collectors that have a file of dead letters, sorted.

    Raises:
        OSError: The directory cannot be read; one that is not there holds nothing.
    """
    try:
        entries = os.listdir(Path(state_directory, DIRECTORY))  # noqa: PTH208  names are all it needs
    except FileNotFoundError:
        return []
    names = (entry.removesuffix(SUFFIX) for entry in entries if entry.endswith(SUFFIX))
    return sorted(name for name in names if _NAME.fullmatch(name))


@contextlib.contextmanager
def locked_directory(directory: Path) -> Iterator[int]:
    """Keep everybody else from changing files of the directory; give its descriptor."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


class DeadLetters(Protocol):
    """Where records go that will not be delivered."""

    @property
    def place(self) -> str:
        """Name it, for messages."""
        ...

    def open(self) -> None:
        """Check and mend it.

        Raises:
            ConfigError: It cannot be used.
        """

    def add(
        self, records: Sequence[Record], *, reason: str, time_ns: int, attempts: int
    ) -> Mapping[str, int]:
        """Keep records; never raises.

        Returns:
            How many of them were lost nevertheless, by reason; mostly empty.
        """
        ...


class DeadLetterFile:
    """The dead letters of one collector, seen by its delivery.

    Args:
        state_directory: Where the program keeps what outlives it.
        collector: The name of the collector.
        max_bytes: How large the file may become; what does not fit is dropped and counted.

    Raises:
        ConfigError: The name of the collector cannot be that of a file.
    """

    def __init__(self, state_directory: str, collector: str, max_bytes: int) -> None:
        """Touch nothing yet."""
        self._path = dead_letter_path(state_directory, collector)
        self._collector = collector
        self._max_bytes = max_bytes
        self._reporter = FailureReporter(collector, _LOG_INTERVAL_NS)

    @property
    def place(self) -> str:
        """Name the file, for messages."""
        return str(self._path)

    def open(self) -> None:
        """Make the directories, check them, and mend the file.

        Raises:
            ConfigError: They cannot be used.
        """
        directory = self._path.parent
        try:
            for path in (directory.parent, directory):
                with contextlib.suppress(FileExistsError):
                    path.mkdir(mode=DIRECTORY_MODE)
            _check_directory(directory)
            with locked_directory(directory):
                descriptor = self._open_file()
                try:
                    self._check_file(descriptor)
                    _cut_torn_line(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            msg = (
                f"dead letters of {self._collector!r}: {error.filename or self._path} cannot be"
                f" used: {error.strerror}; mend that or set another delivery.state_directory"
            )
            raise ConfigError(msg) from error

    def add(
        self, records: Sequence[Record], *, reason: str, time_ns: int, attempts: int
    ) -> Mapping[str, int]:
        """Keep records, and return when the disk has them.

        Args:
            records: The records.
            reason: Why they were not delivered; what is too long is cut.
            time_ns: The time of day, nanoseconds since 1970 UTC.
            attempts: How often they were tried.

        Returns:
            How many of them were lost nevertheless, by reason; mostly empty.
        """
        reason = reason[:_LONGEST_REASON].encode(errors="replace").decode()
        lines: list[bytes] = []
        failure: Exception | None = None
        for record in records:
            try:
                letter = DeadLetter(
                    collector=self._collector,
                    reason=reason,
                    time_ns=time_ns,
                    attempts=attempts,
                    record=msgspec.Raw(encode_json(record)),
                )
                lines.append(_encoder.encode(letter) + b"\n")
            except Exception as error:  # noqa: BLE001  what was handed in may be no record at all
                failure = error
        unwritable = len(records) - len(lines)
        try:
            written = self._append(lines) if lines else 0
        except OSError as error:
            failure, written, unwritable = error, 0, len(records)
        lost = {
            DROPPED_LETTERS_FAILED: unwritable,
            DROPPED_LETTERS_FULL: len(records) - unwritable - written,
        }
        if failure is not None:
            self._report(failure, unwritable, time_ns)
        if lost[DROPPED_LETTERS_FULL]:
            full = OSError(errno.EFBIG, "it is as large as delivery.dead_letter_bytes allows")
            self._report(full, lost[DROPPED_LETTERS_FULL], time_ns)
        return {reason: count for reason, count in lost.items() if count}

    def _report(self, error: Exception, lost: int, time_ns: int) -> None:
        self._reporter.report("dead_letters_lost", error, time_ns, records=lost, file=self.place)

    def _append(self, lines: Sequence[bytes]) -> int:
        """Write the lines that fit, whole; give how many."""
        with locked_directory(self._path.parent) as directory:
            descriptor = self._open_file()
            try:
                self._check_file(descriptor)
                start = _cut_torn_line(descriptor)
                room = self._max_bytes - start
                fitting: list[bytes] = []
                for line in lines:
                    if len(line) <= room:
                        fitting.append(line)
                        room -= len(line)
                try:
                    _write_all(descriptor, b"".join(fitting), start)
                    os.fsync(descriptor)
                except OSError:
                    # What may not be on the disk is not counted as kept, so it is not there.
                    os.ftruncate(descriptor, start)
                    raise
                if not start:
                    os.fsync(directory)
                return len(fitting)
            finally:
                os.close(descriptor)

    def _open_file(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(self._path, flags, FILE_MODE)

    def _check_file(self, descriptor: int) -> None:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(self._path))


def _check_directory(directory: Path) -> None:
    """Refuse a directory in which others could replace a file."""
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise OSError(errno.ENOTDIR, "not a directory", str(directory))
    if status.st_uid not in {os.geteuid(), 0}:
        raise OSError(errno.EPERM, f"it belongs to user {status.st_uid}", str(directory))
    for path in (directory, directory.parent):
        mode = path.stat().st_mode
        if mode & stat.S_IWOTH and not (path != directory and mode & stat.S_ISVTX):
            raise OSError(errno.EPERM, "everybody can write to it", str(path))


def _cut_torn_line(descriptor: int) -> int:
    """Cut off a last line without an end, which nobody was promised; give the size."""
    size = end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - _PORTION)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end != size:
        os.ftruncate(descriptor, end)
    return end


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest = rest[written:]
        offset += written
