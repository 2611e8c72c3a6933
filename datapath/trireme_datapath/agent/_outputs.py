"""The outputs of an agent, opened before anything else, and what is said if one cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.errors import ConfigError, DeliveryError
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from trireme_collector.pipeline import Pipeline

__all__ = ["OutputError", "start_outputs"]


class OutputError(ConfigError):
    """A collector cannot open what it writes to."""

    exit_code = ExitCode.OUTPUT


def start_outputs(pipeline: Pipeline) -> None:
    """Start a pipeline, which opens what its collectors write to.

    Raises:
        OutputError: A collector cannot be opened. The exit code is that of its error, if it has one
            of its own: a library may be missing.
        PluginError: A collector raised something that it may not raise.
    """
    try:
        pipeline.start()
    except (ConfigError, DeliveryError) as error:
        refused = OutputError(str(error))
        refused.exit_code = getattr(error, "exit_code", refused.exit_code)
        raise refused from error
