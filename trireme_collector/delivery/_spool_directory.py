"""Where the spools of collectors lie."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trireme_collector.delivery._config import DeliveryConfig

__all__ = ["abandoned_spools", "check_spool", "make_parents", "spool_directory"]

_DIRECTORY = "spool"
_DIRECTORY_MODE = 0o700


def spool_directory(state_directory: str, collector: str) -> Path:
    """Say where the spool of a collector lies.

    Args:
        state_directory: Where the program keeps what outlives it.
        collector: The name of the collector.

    Raises:
        ConfigError: The name cannot be that of a directory.
    """
    if collector in {"", ".", ".."} or "/" in collector or "\0" in collector:
        msg = (
            f"collector {collector!r} cannot have a spool: give it a name that a directory can have"
        )
        raise ConfigError(msg)
    return Path(state_directory, _DIRECTORY, collector)


def abandoned_spools(directories: Iterable[Path]) -> list[Path]:
    """List the spools that hold records and belong to no collector any more, in order.

    Args:
        directories: The spools of the collectors that there are.
    """
    known = set(directories)
    found: list[Path] = []
    for parent in {directory.parent for directory in known}:
        with contextlib.suppress(OSError):
            found += (path.parent for path in parent.glob("*/*.segment"))
    return sorted({path for path in found if path not in known})


def check_spool(collector: str, config: DeliveryConfig) -> None:
    """Look whether a start could open the spool of a collector; change nothing.

    Args:
        collector: The name of the collector.
        config: Where its spool lies, and its bounds.

    Raises:
        ConfigError: It could not.
    """
    from trireme_collector.delivery.spool import inspect_spool  # noqa: PLC0415  see Pipeline

    above = Path(config.state_directory).parent
    if not above.is_dir():
        raise ConfigError(f"there is no directory {above}; make it")
    inspect_spool(spool_directory(config.state_directory, collector), config.spool)


def make_parents(directory: Path) -> None:
    """Make the state directory, and that of the spools, if they are not there.

    Args:
        directory: The spool in it.

    Raises:
        ConfigError: They cannot be made.
    """
    try:
        for path in (directory.parent.parent, directory.parent):
            path.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    except OSError as error:
        msg = (
            f"spool {directory}: {error.filename} cannot be made: {error.strerror}; make it, or"
            " set another delivery.state_directory"
        )
        raise ConfigError(msg) from error
