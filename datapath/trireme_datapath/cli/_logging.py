"""Where the log goes while a command runs: to standard error, readable or as JSON lines."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import TYPE_CHECKING, TextIO, cast

import structlog

from trireme_datapath.cli._log_output import LogOutput

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["configure_logging"]


def configure_logging(*, as_json: bool, color: bool | None, quiet: bool = False) -> None:
    """Configure the log; only a command may do this, never the library.

    Lines that cannot be written, on a full disk or to a reader that is gone, are left out; the
    next one that can has their number in ``log_lines_lost``.

    Args:
        as_json: Whether each entry is a JSON object.
        color: Whether to colour; None asks the terminal.
        quiet: Whether only errors are shown.
    """
    output = _output()
    colors = sys.stderr is not None and sys.stderr.isatty() if color is None else color
    rendering: list[Processor]
    if as_json:
        rendering = [structlog.processors.JSONRenderer()]
    else:
        rendering = [
            _disarm,
            structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=24, sort_keys=False),
        ]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _Losses(output),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.ERROR if quiet else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", output)),
        cache_logger_on_first_use=False,
    )


def _output() -> LogOutput | TextIO:
    if sys.stderr is None:  # the caller closed it
        return LogOutput(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))
    try:
        return LogOutput(sys.stderr.fileno())
    except io.UnsupportedOperation:  # something in memory that stands in for it
        return sys.stderr


class _Losses:
    """Tells with the next line how many could not be written before it."""

    __slots__ = ("_output",)

    def __init__(self, output: LogOutput | TextIO) -> None:
        self._output = output

    def __call__(self, _logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
        if isinstance(self._output, LogOutput) and self._output.lost:
            entry["log_lines_lost"] = self._output.lost
        return entry


class _Quoted:
    """A text that is shown in quotes, with escapes for what is not printable."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return repr(self._text)


def _disarm(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """Keep control characters that others chose, in names and answers, from a terminal."""
    for key, value in entry.items():
        if not isinstance(value, str) or value.isprintable():
            continue
        if key == "exception":
            lines = value.split("\n")
            entry[key] = "\n".join(one if one.isprintable() else repr(one)[1:-1] for one in lines)
        else:
            entry[key] = _Quoted(value)
    return entry
