"""Where the dead letters are that a command is about."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import TypeVar

    from trireme_collector.config import Configuration, LoadedConfiguration
    from trireme_collector.delivery import StoredLetter
    from trireme_collector.errors import DeliveryError

    CommandT = TypeVar("CommandT", bound=Callable[..., object])

__all__ = [
    "LetterFile",
    "LetterSummary",
    "ReasonCount",
    "find_letters",
    "letter_options",
    "load_whole",
    "read_file",
    "summarize",
    "unusable",
]


class LetterFile(NamedTuple):
    """The file of one collector."""

    collector: str
    path: Path


def letter_options(command: CommandT) -> CommandT:
    """Add the options that say which files a command is about."""
    options = (
        click.option(
            "-c",
            "--config",
            "config_path",
            metavar="FILE",
            help="The configuration file that names the state directory.",
        ),
        click.option(
            "-d",
            "--state-directory",
            metavar="DIRECTORY",
            help="The state directory; that of the service if there is no configuration file.",
        ),
        click.option(
            "--collector", "only", metavar="NAME", help="Only the letters of this collector."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def load_whole(config_path: str) -> LoadedConfiguration[Configuration]:
    """Read what a configuration file says about collectors.

    Raises:
        ConfigError: It has mistakes.
        PluginError: It names a plugin that is unknown, blocked or broken.
    """
    from trireme_collector.config import Configuration, load_config

    return load_config(config_path, Configuration, whole=False)


def find_letters(
    config_path: str | None, state_directory: str | None, only: str | None
) -> Sequence[LetterFile]:
    """List the files that there are, by the names of their collectors.

    Raises:
        ConfigError: The configuration has mistakes or names no state directory.
        PluginError: The configuration names a plugin that is unknown, blocked or broken.
        click.UsageError: The options do not go together.
        DeliveryError: The directory cannot be read.
    """
    from trireme_collector.delivery import (
        SERVICE_STATE_DIRECTORY,
        dead_letter_names,
        dead_letter_path,
    )

    if config_path is not None and state_directory is not None:
        msg = "Give --config or --state-directory, not both."
        raise click.UsageError(msg)
    if state_directory is not None and not os.path.isdir(state_directory):  # noqa: PTH112  as it is
        msg = f"found no directory {state_directory!r}, expected the state directory of an agent"
        raise click.BadParameter(msg, param_hint="--state-directory")
    directories = [state_directory or SERVICE_STATE_DIRECTORY]
    if config_path is not None:
        directories = _configured(config_path)
    try:
        return [
            LetterFile(name, dead_letter_path(directory, name))
            for directory in directories
            for name in dead_letter_names(directory)
            if only in {None, name}
        ]
    except OSError as error:
        raise unusable(error) from error


def unusable(error: OSError) -> DeliveryError:
    """Say that a file or directory cannot be used."""
    from trireme_collector.errors import DeliveryError

    where = error.filename or "a file"
    return DeliveryError(f"dead letters: {where} cannot be used: {error.strerror}; mend that")


def _configured(config_path: str) -> list[str]:
    from trireme_collector.errors import ConfigError

    loaded = load_whole(config_path)
    directories = {collector.delivery.state_directory for collector in loaded.collectors}
    directories.discard("")
    if not directories:
        msg = f"{config_path}: no delivery.state_directory is set, so no dead letters are kept"
        raise ConfigError(msg)
    return sorted(directories)


def read_file(file: LetterFile) -> Iterator[StoredLetter]:
    """Read the letters of one file.

    Raises:
        DeliveryError: It cannot be read.
    """
    from trireme_collector.delivery import read_letters

    try:
        yield from read_letters(file.path)
    except OSError as error:
        raise unusable(error) from error


class ReasonCount(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How many letters have a reason.

    Attributes:
        reason: Why they were not delivered.
        letters: How many there are.
    """

    reason: str
    letters: int


class LetterSummary(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The letters of one collector.

    Attributes:
        collector: Its name.
        file: Where they are.
        letters: How many there are.
        damaged: How many lines cannot be read.
        oldest_time_ns: When the first was given up, nanoseconds since 1970 UTC.
        newest_time_ns: When the last was.
        reasons: The letters by reason, the most frequent first.
    """

    collector: str
    file: str
    letters: int
    damaged: int
    oldest_time_ns: int | None
    newest_time_ns: int | None
    reasons: tuple[ReasonCount, ...]


def summarize(file: LetterFile) -> LetterSummary:
    """Count the letters of one file.

    Raises:
        DeliveryError: It cannot be read.
    """
    import collections

    reasons: collections.Counter[str] = collections.Counter()
    damaged = 0
    oldest = newest = None
    for stored in read_file(file):
        letter = stored.letter
        if letter is None:
            damaged += 1
            continue
        reasons[letter.reason] += 1
        oldest = letter.time_ns if oldest is None else min(oldest, letter.time_ns)
        newest = letter.time_ns if newest is None else max(newest, letter.time_ns)
    return LetterSummary(
        collector=file.collector,
        file=str(file.path),
        letters=reasons.total(),
        damaged=damaged,
        oldest_time_ns=oldest,
        newest_time_ns=newest,
        reasons=tuple(ReasonCount(reason=r, letters=n) for r, n in reasons.most_common()),
    )
