"""The `trireme-collector` command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after the program's name; None takes those of the process.

    Returns:
        The exit code, a number of `ExitCode`.
    """
    from trireme_collector.cli._standard_streams import open_missing_streams

    open_missing_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words in (["--version"], ["-V"]):
        # Scripts ask for it often: no command, no plugin and no parser is needed to answer.
        from trireme_collector import __version__

        try:
            sys.stdout.write(f"trireme-collector {__version__}\n")
            sys.stdout.flush()
        except OSError:
            pass  # below, it is said once more, and what is wrong
        else:
            return 0
    from trireme_collector.cli._main import run

    return run(words)
