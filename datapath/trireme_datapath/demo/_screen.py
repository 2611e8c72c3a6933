"""What the demo prints, as it happens; or what it keeps, to print it as JSON at the end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import click

from trireme_collector.cli.output import printable
from trireme_collector.formats import render_text
from trireme_collector.hookspecs import CollectorSpec, Stability, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector.records import Record
    from trireme_datapath.demo._attempts import Result

__all__ = ["PLUGIN_NAME", "Screen"]

PLUGIN_NAME: Final = "demo-screen"
_WIDTH: Final = 40


class Screen:
    """A collector that prints each record at once, and a plugin that offers itself.

    Args:
        color: Whether to colour.
        quiet: Whether to keep records without printing anything.
        columns: How wide the terminal is; None for no limit.

    Attributes:
        records: Every record that came.
    """

    def __init__(self, *, color: bool, quiet: bool, columns: int | None = None) -> None:
        """Start with an empty screen."""
        self.records: list[Record] = []
        self._color = color
        self._quiet = quiet
        self._columns = columns
        self._came = threading.Condition()
        self._held: list[str] | None = None

    @hookimpl
    def trireme_register_collectors(self) -> list[CollectorSpec]:
        """Offer this very object as a collector."""
        return [
            CollectorSpec(
                name=PLUGIN_NAME,
                factory=lambda _config, _context: self,
                summary="Prints records as they arrive.",
                stability=Stability.STABLE,
            )
        ]

    def deliver(self, batch: Sequence[Record]) -> None:
        """Print the records, or hold them back while a client is busy."""
        lines = [self._line(record) for record in batch]
        with self._came:
            if self._held is None:
                for line in lines:
                    self.say(line)
            else:
                self._held.extend(lines)
            self.records.extend(batch)
            self._came.notify_all()

    def _line(self, record: Record) -> str:
        """Render a record, without what does not fit on one line of the terminal."""
        line = render_text(record, color=self._color)
        if self._columns is None or self._fits(line):
            return f"  {line}"
        words = line.split(" ")[1:]  # the time goes first, then what is said last
        while not self._fits(" ".join(words)) and _is_minor(words[-1]):
            words.pop()
        return f"  {' '.join(words)}"

    def _fits(self, line: str) -> bool:
        return self._columns is None or len(click.unstyle(line)) + 2 <= self._columns

    def hold(self) -> None:
        """Hold records back, so that what a client saw stands before them."""
        with self._came:
            self._held = []

    def release(self) -> None:
        """Print what was held back."""
        with self._came:
            held, self._held = self._held or [], None
            for line in held:
                self.say(line)

    def wait_for(self, count: int, timeout_seconds: float) -> bool:
        """Wait until so many records have come."""
        with self._came:
            return self._came.wait_for(lambda: len(self.records) >= count, timeout_seconds)

    def say(self, line: str = "", *, bold: bool = False) -> None:
        """Print a line."""
        if not self._quiet:
            click.echo(click.style(line, bold=True) if bold else line, color=self._color)

    def quote(self, lines: Sequence[str]) -> None:
        """Print lines that came from elsewhere."""
        for line in lines:
            self.say(click.style(f"  {printable(line)}", dim=True))

    def show(self, result: Result) -> None:
        """Print what a client saw."""
        attempt, outcome = result.attempt, result.outcome
        seen = click.style(f"{outcome:<11}", fg="green" if outcome.got_through else "red")
        wrong = "" if result.as_expected else click.style(" not what the policy says", fg="yellow")
        what = click.style(f"{attempt.what:<{_WIDTH}}", bold=True)
        self.say(f"{what} {seen} {result.milliseconds:7.1f} ms{wrong}")


def _is_minor(word: str) -> bool:
    return "=" in word and not word.startswith("policy=")
