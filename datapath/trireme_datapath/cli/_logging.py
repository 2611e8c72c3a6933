"""Where the log goes while a command runs: to standard error, readable or as JSON lines."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor

__all__ = ["configure_logging"]


def configure_logging(*, as_json: bool, color: bool | None, quiet: bool = False) -> None:
    """Configure the log; only a command may do this, never the library.

    Args:
        as_json: Whether each entry is a JSON object.
        color: Whether to colour; None asks the terminal.
        quiet: Whether only errors are shown.
    """
    colors = sys.stderr.isatty() if color is None else color
    renderer: Processor
    if as_json:
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=24, sort_keys=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.ERROR if quiet else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
