"""What can go wrong, as one tree.

::

    TriremeError
    ├── ConfigError               a configuration or policy file, or an option, cannot be used
    │   └── MissingExtraError     ... because a package that it needs is not installed
    ├── PluginError               a plugin cannot be found, loaded or built
    ├── DatapathError             packets cannot be received or judged
    │   └── PrivilegeError        ... because a capability or a kernel feature is missing
    └── DeliveryError             a collector did not take a batch
        ├── PermanentDeliveryError    sending it again would fail again
        └── RetryableDeliveryError    sending it again later may work
            └── RefusedCredentialsError   ... once somebody has mended the credentials

Every message says what failed, on what, and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ConfigError",
    "DatapathError",
    "DeliveryError",
    "MissingExtraError",
    "PermanentDeliveryError",
    "PluginError",
    "PrivilegeError",
    "RefusedCredentialsError",
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


class MissingExtraError(ConfigError):
    """What was asked for needs a package that is not installed; the message names the extra.

    Attributes:
        exit_code: How a command ends that shows it.
    """

    exit_code: Final = ExitCode.MISSING_EXTRA


class PluginError(TriremeError):
    """A plugin cannot be found, loaded or built."""


class DatapathError(TriremeError):
    """Packets cannot be received or judged."""


class PrivilegeError(DatapathError):
    """The process lacks a capability, or the kernel a feature, that the datapath needs."""


class DeliveryError(TriremeError):
    """A collector did not take a batch of records, or not all of it.

    Attributes:
        delivered: How many records at the start of the batch were taken nevertheless; they
            are not given again.
    """

    def __init__(self, message: str, *, delivered: int = 0) -> None:
        """Keep how far it got beside the message."""
        super().__init__(message)
        self.delivered = delivered


class PermanentDeliveryError(DeliveryError):
    """Records were refused for good: sending them again would fail again.

    Attributes:
        rejected: How many records, after the delivered ones, were refused. Those after them
            were not tried and are given again at once. None means that all the others were
            refused together: they are divided and given again until the bad one stands alone.
        splittable: Whether dividing them may help; otherwise all of them are refused.
    """

    def __init__(
        self,
        message: str,
        *,
        delivered: int = 0,
        rejected: int | None = None,
        splittable: bool = True,
    ) -> None:
        """Keep which records were refused beside the message."""
        super().__init__(message, delivered=delivered)
        self.rejected = rejected
        self.splittable = splittable


class RetryableDeliveryError(DeliveryError):
    """The batch, or its end, was not taken this time: sending it again later may work.

    Attributes:
        retry_after: Seconds that the receiver asked to wait, or None when it did not say.
    """

    def __init__(
        self, message: str, *, delivered: int = 0, retry_after: float | None = None
    ) -> None:
        """Keep what the receiver asked for beside the message."""
        super().__init__(message, delivered=delivered)
        self.retry_after = retry_after


class RefusedCredentialsError(RetryableDeliveryError):
    """The receiver does not accept who we are: a token, a password or a certificate.

    The collector pauses and says so until that is mended; nothing is given up meanwhile.
    """
