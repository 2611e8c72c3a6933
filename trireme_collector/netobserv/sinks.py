"""Where conversation records go besides lines: sinks that other packages offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector.errors import PluginError
from trireme_collector.netobserv.sharing import RECORD_SINK_GROUP, RecordSinkSpec

if TYPE_CHECKING:
    import importlib.metadata
    from collections.abc import Iterable

    import msgspec

__all__ = ["load_record_sink"]


def load_record_sink(
    name: str, entry_points: Iterable[importlib.metadata.EntryPoint] | None = None
) -> RecordSinkSpec[msgspec.Struct]:
    """Load a sink.

    Args:
        name: The name of its entry point.
        entry_points: The entry points to use instead of the installed ones.

    Raises:
        PluginError: There is none of this name, or it cannot be loaded.
    """
    if entry_points is None:
        import importlib.metadata  # noqa: PLC0415  costs more than all the rest of this module

        entry_points = importlib.metadata.entry_points(group=RECORD_SINK_GROUP)
    points = list(entry_points)
    point = next((point for point in points if point.name == name), None)
    if point is None:
        known = ", ".join(sorted({"lines", *(p.name for p in points)}))
        msg = f"there is no sink {name!r} for records; installed are: {known}"
        raise PluginError(msg)
    try:
        spec = point.load()
    except Exception as error:
        msg = (
            f"the sink {name!r} for records ({point.value}) cannot be loaded:"
            f" {type(error).__name__}: {error}; repair or uninstall it"
        )
        raise PluginError(msg) from error
    if not isinstance(spec, RecordSinkSpec):
        msg = f"the sink {name!r} for records ({point.value}) is no RecordSinkSpec; repair it"
        raise PluginError(msg)
    return spec
