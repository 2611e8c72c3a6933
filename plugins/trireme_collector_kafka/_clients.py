"""What all clients of the library have in common here."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from trireme_collector import MissingExtraError
from trireme_collector_kafka._errors import explain

if TYPE_CHECKING:
    from trireme_collector_kafka._errors import KafkaFault

__all__ = ["Silence", "group_says", "own_text", "require_library"]


class Silence:
    """Takes what the library would write to the terminal; troubles come as errors, too."""

    def log(self, level: int, message: str, *values: object) -> None:
        """Drop it."""


def group_says(group: str, text: str) -> str:
    """Say which member of which group a message is about."""
    return f"source 'kafka', group {group!r}: {text}"


def own_text(error: Exception, *, tls: bool = True) -> str:
    """Say what an exception of the library means."""
    fault: KafkaFault | None = error.args[0] if error.args else None
    return str(error) if fault is None or isinstance(fault, str) else explain(fault, tls=tls)


def require_library(what: str) -> None:
    """Make sure that the library is there.

    Raises:
        MissingExtraError: It is not.
    """
    if importlib.util.find_spec("confluent_kafka") is None:
        msg = f"{what} needs the package confluent-kafka: pip install 'trireme-collector[kafka]'"
        raise MissingExtraError(msg)
