"""Runs an agent until a signal ends it, and says what it did."""

from __future__ import annotations

import gc
import signal
from typing import TYPE_CHECKING, Protocol

import click
import msgspec

from trireme_collector.cli.output import print_json

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Report", "Served", "serve"]


class Report(Protocol):
    """What an agent did."""

    def summary(self) -> str:
        """Say it in one line."""
        ...


class Served(Protocol):
    """Anything that is started, runs until it is stopped, and reloads meanwhile."""

    def start(self) -> object:
        """Open everything."""
        ...

    def run(self) -> Report:
        """Run until `stop`."""
        ...

    def stop(self) -> None:
        """Make `run` end; called by signal handlers."""

    def reload(self) -> None:
        """Make `run` read its files again; called by signal handlers."""


def serve(agent: Served, *, as_json: bool) -> bool:
    """Run an agent until SIGTERM or SIGINT, and print what it did.

    SIGHUP reloads, and SIGUSR2 calls its method ``restart``, if it has one.

    Args:
        agent: The agent.
        as_json: Whether to print a JSON object.

    Returns:
        Whether SIGINT ended it.
    """
    interrupted = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = number == signal.SIGINT
        agent.stop()

    def reload(_number: int, _frame: FrameType | None) -> None:
        agent.reload()

    def restart(_number: int, _frame: FrameType | None) -> None:
        if exchange is not None:
            exchange()

    # A signal that comes while the queue and the rules are set up waits until they stand.
    signals = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
    exchange = getattr(agent, "restart", None)
    if exchange is not None:
        signals[signal.SIGUSR2] = restart
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    previous = {number: signal.signal(number, handler) for number, handler in signals.items()}
    try:
        agent.start()
        # What stands now stays: the collector of garbage need not look at it again.
        gc.collect()
        gc.freeze()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        report = agent.run()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        for number, handler in previous.items():
            signal.signal(number, handler)
    if as_json:
        print_json({"report": msgspec.to_builtins(report)}, indent=False)
    else:
        click.echo(report.summary())
    return interrupted
