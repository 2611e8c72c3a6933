"""The directory of recordings: nobody else reads it, nothing in it is followed or overwritten.

Every file is opened relative to the directory's descriptor, made exclusively and never through a
link, so that neither names from clients nor changes of the directory lead anywhere else.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import re
import secrets
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from trireme_collector.errors import ConfigError
from trireme_datapath.recorder._errors import RecorderError, Refusal
from trireme_datapath.recorder.filters import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["DEFAULT_PREFIX", "RecordingStore", "StoreLimits", "StoredFile", "check_prefix"]

DEFAULT_PREFIX: Final = "hubble"
AUDIT_NAME: Final = "audit.jsonl"

_PREFIX: Final = re.compile(r"[a-z][a-z0-9]{0,19}", re.ASCII)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")
_NAME: Final = re.compile(r"[a-z][a-z0-9]{0,19}_[A-Za-z0-9_.-]{1,200}\.pcap(?:ng)?", re.ASCII)
_DIRECTORY_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_ATTEMPTS: Final = 100
_MAX_NODE: Final = 150  # the longest names of hosts have 64 bytes, those of clusters come on top
_MAX_AUDIT_BYTES: Final = 16 * 1024 * 1024
_NANOSECONDS: Final = 1_000_000_000


class StoreLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much recordings may take; 0 is no limit. The oldest files go first.

    Attributes:
        max_total_bytes: Bytes of all files together.
        max_files: How many files.
        max_age_seconds: How old a finished file may become.
        min_free_bytes: What stays free on the disk: nothing begins below it, and what runs ends.
    """

    max_total_bytes: Annotated[int, msgspec.Meta(ge=0)] = 10 * 1024**3
    max_files: Annotated[int, msgspec.Meta(ge=0)] = 1000
    max_age_seconds: Annotated[int, msgspec.Meta(ge=0)] = 30 * 24 * 3600
    min_free_bytes: Annotated[int, msgspec.Meta(ge=0)] = 512 * 1024**2


class StoredFile(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A file of the directory.

    Attributes:
        name: Its name.
        size_bytes: Its size.
        modified_ns: When it was last written to.
    """

    name: str
    size_bytes: int
    modified_ns: int


def check_prefix(prefix: str) -> str:
    """Give the prefix to use.

    Raises:
        RecorderError: It is more than a harmless word.
    """
    if not prefix:
        return DEFAULT_PREFIX
    if not _PREFIX.fullmatch(prefix):
        raise RecorderError(f"invalid file sink prefix: {quoted(prefix)}")
    return prefix


class RecordingStore:
    """Holds the directory open.

    Args:
        directory: An absolute path; its last part is made if it is missing.
        node_name: The name of this host, for names of files.
        limits: How much it may hold.
        group: Who may read the files besides their owner: a name or number, or nobody.
        clock: Nanoseconds since 1970 UTC.

    Raises:
        ConfigError: The directory cannot be used; the message says why.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        node_name: str,
        limits: StoreLimits | None = None,
        group: str = "",
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Open the directory."""
        self.path = Path(directory)
        self.limits = limits or StoreLimits()
        self._node = node_name
        self._clock = clock
        self._gid = _group_id(group)
        self._open_names: set[str] = set()
        self._fd = -1
        try:
            self._fd = _open_directory(self.path, self._gid)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            remedy = "give the recorder a directory of its own"
            if isinstance(error, FileNotFoundError):
                remedy = f"make {self.path.parent}, or name another with directory"
            raise ConfigError(
                f"[recorder] cannot use the directory {self.path}: {reason}; {remedy}"
            ) from error

    def close(self) -> None:
        """Let go of the directory."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def create(self, prefix: str, suffix: str) -> tuple[str, int]:
        """Make a new, empty file.

        Returns:
            Its name, and a descriptor to write to.

        Raises:
            RecorderError: The prefix is not allowed, or the file cannot be made.
        """
        prefix = check_prefix(prefix)
        seconds = self._clock() // _NANOSECONDS
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        for _ in range(_ATTEMPTS):
            number = secrets.randbits(32)
            name = _UNSAFE.sub("_", f"{prefix}_{seconds}_{number}_{self._node[:_MAX_NODE]}")
            name += suffix
            try:
                descriptor = os.open(name, flags, _FILE_MODE, dir_fd=self._fd)
            except FileExistsError:
                continue
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                text = f"failed to create pcap file {quoted(str(self.path / name))}: {reason}"
                raise RecorderError(text, _kind_of(error)) from error
            self._share(descriptor)
            self._open_names.add(name)
            return name, descriptor
        path = self.path / f"{prefix}_{seconds}"
        raise RecorderError(
            f"failed to create pcap file {quoted(str(path))}: file exists", Refusal.FAILED
        )

    def _share(self, descriptor: int) -> None:
        # Whatever the process's mask says, the mode is what was promised.
        os.fchmod(descriptor, _FILE_MODE if self._gid is None else 0o640)
        if self._gid is not None:
            os.fchown(descriptor, -1, self._gid)

    def finished(self, name: str) -> None:
        """Note that a file is no longer written to: it may go when room is needed."""
        self._open_names.discard(name)

    def remove(self, name: str) -> None:
        """Remove a file of ours."""
        self._open_names.discard(name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    def path_of(self, name: str) -> str:
        """Give the absolute path of a file."""
        return str(self.path / name)

    def files(self) -> list[StoredFile]:
        """List the recordings, the oldest first."""
        found = []
        with os.scandir(self._fd) as entries:
            for entry in entries:
                if not _NAME.fullmatch(entry.name):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        found.append(
                            StoredFile(
                                name=entry.name,
                                size_bytes=status.st_size,
                                modified_ns=status.st_mtime_ns,
                            )
                        )
        return sorted(found, key=lambda one: (one.modified_ns, one.name))

    def open_for_reading(self, name: str) -> int:
        """Open a recording.

        Raises:
            RecorderError: There is none of that name.
        """
        if _NAME.fullmatch(name):
            # Not blocking: somebody may have put a pipe there.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with contextlib.suppress(OSError):
                descriptor = os.open(name, flags, dir_fd=self._fd)
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return descriptor
                os.close(descriptor)
        raise RecorderError(
            f"there is no recording {quoted(name)}; ask for the list of them",
            Refusal.UNKNOWN_RECORDING,
        )

    def make_room(self) -> list[str]:
        """Remove files that are beyond the limits, and give their names."""
        removed = list(self._beyond_limits())
        for name in removed:
            self.remove(name)
        return removed

    def _beyond_limits(self) -> Iterator[str]:
        limits = self.limits
        files = self.files()
        total, count = sum(one.size_bytes for one in files), len(files)
        oldest_ns = self._clock() - limits.max_age_seconds * _NANOSECONDS
        for one in files:
            if one.name in self._open_names:
                continue
            too_old = limits.max_age_seconds and one.modified_ns < oldest_ns
            too_many = limits.max_files and count >= limits.max_files
            too_much = limits.max_total_bytes and total >= limits.max_total_bytes
            if not (too_old or too_many or too_much):
                continue
            total -= one.size_bytes
            count -= 1
            yield one.name

    def check_room(self) -> None:
        """Make room for one more recording.

        Raises:
            RecorderError: There is none: the disk is too full, or running recordings fill it.
        """
        self.make_room()
        if not self.has_space():
            raise RecorderError(
                f"less than {self.limits.min_free_bytes} bytes are free in {self.path};"
                " remove recordings, or lower min_free_bytes",
                Refusal.EXHAUSTED,
            )
        files = self.files()
        total = sum(one.size_bytes for one in files)
        limits = self.limits
        if (limits.max_files and len(files) >= limits.max_files) or (
            limits.max_total_bytes and total >= limits.max_total_bytes
        ):
            raise RecorderError(
                f"the recordings that run now fill {self.path}: {len(files)} files,"
                f" {total} bytes; stop one of them, or raise the limits",
                Refusal.EXHAUSTED,
            )

    def has_space(self) -> bool:
        """Whether more is free on the disk than must stay so."""
        status = os.fstatvfs(self._fd)
        return status.f_bavail * status.f_frsize >= self.limits.min_free_bytes

    def audit(self, entry: dict[str, object]) -> None:
        """Write down what somebody did; the time is added.

        Raises:
            OSError: It cannot be written.
        """
        line = msgspec.json.encode({"time_ns": self._clock(), **entry}) + b"\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(AUDIT_NAME, flags | os.O_NONBLOCK, _FILE_MODE, dir_fd=self._fd)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, f"{AUDIT_NAME} is no plain file")
            if os.fstat(descriptor).st_size > _MAX_AUDIT_BYTES:
                os.replace(AUDIT_NAME, f"{AUDIT_NAME}.1", src_dir_fd=self._fd, dst_dir_fd=self._fd)
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


def _open_directory(path: Path, gid: int | None) -> int:
    if not path.is_absolute():
        raise OSError(errno.EINVAL, "the path is not absolute")
    made = False
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=_DIRECTORY_MODE)
        made = True
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise OSError(errno.EPERM, f"it belongs to user {status.st_uid}, not to the recorder")
        mode = stat.S_IMODE(status.st_mode)
        if made and gid is not None:
            os.fchown(descriptor, -1, gid)
            os.fchmod(descriptor, 0o750)
        elif mode & (0o077 if gid is None else 0o027):
            # Not mended here: it may be a directory that others need.
            wanted = "700" if gid is None else "750"
            raise OSError(errno.EPERM, f"others may use it (mode {mode:o}); chmod {wanted} it")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _group_id(group: str) -> int | None:
    if not group:
        return None
    if group.isascii() and group.isdigit() and len(group) <= 10:
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(
            f"[recorder] there is no group {group!r} on this host; create it or name another"
        ) from None


def _kind_of(error: OSError) -> Refusal:
    full = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}
    return Refusal.EXHAUSTED if error.errno in full else Refusal.FAILED
