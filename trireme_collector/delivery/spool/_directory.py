"""Which directories a spool accepts, and the lock that keeps a second instance out."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from trireme_collector.delivery.spool._files import Files
    from trireme_collector.delivery.spool._storage import Storage

__all__ = ["check_directory", "check_parent", "lock_directory", "prepare_directory"]

_LOCK = "lock"
_DIRECTORY_MODE = 0o700
# What a server at the other end of a network says about syncs and locks is not worth the promise.
_NETWORK = frozenset(
    (
        *("afs", "beegfs", "ceph", "cifs", "coda", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs"),
        *("nfs4", "ocfs2", "orangefs", "smb", "smb2", "smb3", "smbfs"),
        *("fuse.ceph", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    )
)


def prepare_directory(storage: Storage, directory: str) -> None:
    """Make the directory if it is not there, and refuse one that others can reach into.

    Raises:
        ConfigError: It cannot be used; the message says why and what to do.
    """
    try:
        try:
            storage.status(directory)
        except FileNotFoundError:
            check_parent(storage, directory)
            storage.make_directory(directory, _DIRECTORY_MODE)
    except OSError as error:
        raise _unusable(directory, error) from error
    check_directory(storage, directory)


def check_directory(storage: Storage, directory: str) -> None:
    """Refuse a directory that others can reach into, or that is not on a disk of this machine.

    Raises:
        ConfigError: It cannot be used; the message says why and what to do.
    """
    try:
        check_parent(storage, directory)
        status = storage.status(directory)
        filesystem = storage.filesystem(directory)
    except OSError as error:
        raise _unusable(directory, error) from error
    if not stat.S_ISDIR(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a directory"
        raise ConfigError(f"spool {directory}: it is {kind}; name the directory itself")
    if status.st_uid not in {os.geteuid(), 0}:
        msg = (
            f"spool {directory}: it belongs to user {status.st_uid}, who could change its files;"
            f" give it to user {os.geteuid()} or choose another directory"
        )
        raise ConfigError(msg)
    if status.st_mode & stat.S_IWOTH:
        raise ConfigError(f"spool {directory}: everybody can write to it; chmod o-w {directory}")
    if filesystem in _NETWORK:
        msg = (
            f"spool {directory}: it lies on a network file system ({filesystem}), which can lose"
            " what it said it has written; choose a directory on a local disk"
        )
        raise ConfigError(msg)


def lock_directory(files: Files) -> int:
    """Keep every other instance out until the returned descriptor is closed.

    The kernel lets go of the lock when the process ends, however it ends: a file that is left
    behind means nothing.

    Raises:
        ConfigError: Another instance has it, or the file cannot be opened.
    """
    try:
        descriptor = files.open_lock(_LOCK)
    except OSError as error:
        raise _unusable(files.directory, error) from error
    try:
        files.lock(descriptor)
    except BlockingIOError as error:
        files.close(descriptor)
        msg = (
            f"spool {files.directory}: another instance uses it; stop that one or give each a"
            " directory of its own"
        )
        raise ConfigError(msg) from error
    except OSError as error:
        files.close(descriptor)
        raise _unusable(files.directory, error) from error
    return descriptor


def check_parent(storage: Storage, directory: str) -> None:
    """Refuse a directory if everybody could put another one in its place.

    Where a link leads to what it lies in, as for a dynamic user of systemd, both ends count.

    Args:
        storage: Where it is.
        directory: The directory; it need not be there.

    Raises:
        ConfigError: They could.
        OSError: What it lies in cannot be looked at.
    """
    parent = str(Path(directory).parent)
    status = storage.status(parent)
    if stat.S_ISLNK(status.st_mode):
        check_parent(storage, parent)
        parent = os.path.realpath(parent)
        status = storage.status(parent)
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        msg = (
            f"spool: everybody can replace what lies in {parent}; chmod o-w {parent}, or chmod +t,"
            " or choose another directory"
        )
        raise ConfigError(msg)


def _unusable(directory: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"spool {directory}: {error.strerror or error}; make it a directory that user"
        f" {os.geteuid()} can write to"
    )
