"""Looking at a spool before it is opened: without a lock, without changing anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trireme_collector.delivery.spool._directory import check_directory, check_parent
from trireme_collector.delivery.spool._files import Files
from trireme_collector.delivery.spool._recovery import load_segments
from trireme_collector.delivery.spool._state import load_state
from trireme_collector.delivery.spool._storage import SystemStorage
from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    import os

    from trireme_collector.delivery._spool_config import SpoolConfig
    from trireme_collector.delivery.spool._storage import Storage

__all__ = ["inspect_spool"]


def inspect_spool(
    directory: str | os.PathLike[str],
    config: SpoolConfig,
    *,
    storage: Storage | None = None,
) -> None:
    """Say whether a spool could be opened, as far as that can be seen from outside.

    The instance that uses it may be at work. A directory that is not there yet may be one.

    Args:
        directory: Where the spool lies or will lie.
        config: Bounds and durability.
        storage: The system, or what stands for it in tests.

    Raises:
        ConfigError: The directory cannot be used, the bounds do not go together, or a newer
            version wrote the spool.
    """
    config.check()
    storage = storage or SystemStorage()
    path = Path(directory).absolute()
    try:
        try:
            storage.status(str(path))
        except FileNotFoundError:
            missing = next(one for one in (path, *path.parents) if one.parent.exists())
            check_parent(storage, str(missing))
            return
        check_directory(storage, str(path))
        files = Files(storage, str(path))
        names = frozenset(files.names())
        state, _ = load_state(files)
        load_segments(files, names, state)
    except OSError as error:
        msg = f"spool {path}: {error.strerror or error}; choose another directory"
        raise ConfigError(msg) from error
