"""What can go wrong, as one tree.

::

    TriremeError
    ├── ConfigError               a configuration or policy file, or an option, cannot be used
    ├── PluginError               a plugin cannot be found, loaded or built
    ├── DatapathError             packets cannot be received or judged
    │   └── PrivilegeError        ... because a capability or a kernel feature is missing
    └── DeliveryError             a collector did not take a batch
        ├── PermanentDeliveryError    sending it again would fail again
        └── RetryableDeliveryError    sending it again later may work

Every message says what failed, on what, and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ConfigError",
    "DatapathError",
    "DeliveryError",
    "PermanentDeliveryError",
    "PluginError",
    "PrivilegeError",
    "RetryableDeliveryError",
    "TriremeError",
]


class TriremeError(Exception):
    """Base of every error that this library raises on purpose."""


class ConfigError(TriremeError):
    """A configuration file, policy file or option cannot be used.

    Attributes:
        problems: One line per mistake, each with its place; empty when the message says it all.
    """

    def __init__(self, message: str, *, problems: Sequence[str] = ()) -> None:
        """Keep the mistakes beside the message."""
        super().__init__(message)
        self.problems = tuple(problems)


class PluginError(TriremeError):
    """A plugin cannot be found, loaded or built."""


class DatapathError(TriremeError):
    """Packets cannot be received or judged."""


class PrivilegeError(DatapathError):
    """The process lacks a capability, or the kernel a feature, that the datapath needs."""


class DeliveryError(TriremeError):
    """A collector did not take a batch of records."""


class PermanentDeliveryError(DeliveryError):
    """The batch was refused for good: sending it again would fail again."""


class RetryableDeliveryError(DeliveryError):
    """The batch was not taken this time: sending it again later may work.

    Attributes:
        retry_after: Seconds that the receiver asked to wait, or None when it did not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """Keep what the receiver asked for beside the message."""
        super().__init__(message)
        self.retry_after = retry_after
