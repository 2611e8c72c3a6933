"""Where commands log: on standard error, because standard output is for results."""

from __future__ import annotations

import sys

__all__ = ["log_to_standard_error"]


def log_to_standard_error(*, as_json: bool) -> None:
    """Configure structlog, which a library never does and a program has to.

    Args:
        as_json: Whether to log one JSON object per line instead of text.
    """
    import structlog

    renderer: structlog.typing.Processor
    if as_json:
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        # Asked for each time: whoever redirects standard error redirects the log.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
