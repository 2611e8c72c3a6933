"""What the commands share that ask a running agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from trireme_collector.control import ControlClient

__all__ = ["client_of", "socket_option", "timeout_option"]

# Written out, because the constant costs the import of the whole package at every --help; a test
# compares them.
_DEFAULT_PATH = "/run/trireme-collector/control.sock"

socket_option = click.option(
    "--socket",
    "socket_path",
    default=_DEFAULT_PATH,
    show_default=True,
    metavar="PATH",
    help="The control socket of the agent.",
)
timeout_option = click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0, min_open=True, max=3600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the answer.",
)


def client_of(socket_path: str, timeout_seconds: float) -> ControlClient:
    """Make the client of a command."""
    from trireme_collector.control import ControlClient

    return ControlClient(socket_path, timeout_seconds=timeout_seconds)
