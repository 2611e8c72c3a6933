"""A collector as an operator configures it, in a file, and what is wrong with that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector import ConfigError
from trireme_collector.config import Configuration, load_config

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SECRET", "problems_of"]

SECRET = "s3cr3t-value"
"""What no message repeats, wherever it stands."""


def problems_of(directory: Path, collector: str, *lines: str) -> list[str]:
    """Give what is wrong with the table of a collector, each with line and column."""
    path = directory / "agent.toml"
    path.write_text("\n".join((f"[collectors.{collector}]", *lines, "")), encoding="utf-8")
    path.chmod(0o600)
    try:
        load_config(path, Configuration)
    except ConfigError as error:
        shown = error.problems
    else:
        shown = ()
    assert SECRET not in str(shown)
    return [line.removeprefix(f"{path}:") for line in shown]
