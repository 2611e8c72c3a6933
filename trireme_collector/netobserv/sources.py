"""Where flow logs come from besides lines of JSON: sources that other packages offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from trireme_collector.errors import PluginError
from trireme_collector.netobserv.sharing import SharedSourceSpec

if TYPE_CHECKING:
    import importlib.metadata
    from collections.abc import Iterable, Iterator, Mapping

    import msgspec

__all__ = [
    "FLOW_SOURCE_GROUP",
    "FlowSource",
    "flow_source_names",
    "load_flow_source",
    "load_shared_source",
]

FLOW_SOURCE_GROUP = "trireme_collector.flow_sources"
"""The entry-point group of sources: a name, and a `FlowSource` or a `SharedSourceSpec`."""


class FlowSource(Protocol):
    """A function that reads flow logs."""

    def __call__(self, path: str, /) -> Iterator[Mapping[str, object]]:
        """Read flow logs by the names of the format, in the order of time.

        Args:
            path: A file, or ``-`` for standard input.

        Raises:
            TriremeError: It cannot be read.
        """
        ...


def flow_source_names(
    entry_points: Iterable[importlib.metadata.EntryPoint] | None = None,
) -> list[str]:
    """Name the sources that are installed, without loading any."""
    return sorted({point.name for point in _points(entry_points)})


def load_flow_source(
    name: str, entry_points: Iterable[importlib.metadata.EntryPoint] | None = None
) -> FlowSource:
    """Load a source.

    Args:
        name: The name of its entry point.
        entry_points: The entry points to use instead of the installed ones.

    Raises:
        PluginError: There is none of this name, or it cannot be loaded.
    """
    source = _load(name, entry_points)
    if isinstance(source, SharedSourceSpec):
        msg = (
            f"the source {name!r} is shared by a group of instances; follow its conversations with"
            " `trireme-collector conversations --group`"
        )
        raise PluginError(msg)
    return cast("FlowSource", source)


def load_shared_source(
    name: str, entry_points: Iterable[importlib.metadata.EntryPoint] | None = None
) -> SharedSourceSpec[msgspec.Struct] | None:
    """Load a source that several instances share.

    Args:
        name: The name of its entry point.
        entry_points: The entry points to use instead of the installed ones.

    Returns:
        None if the source is of another kind.

    Raises:
        PluginError: There is none of this name, or it cannot be loaded.
    """
    source = _load(name, entry_points)
    return source if isinstance(source, SharedSourceSpec) else None


def _load(name: str, entry_points: Iterable[importlib.metadata.EntryPoint] | None) -> object:
    points = list(_points(entry_points))
    point = next((point for point in points if point.name == name), None)
    if point is None:
        known = ", ".join(sorted({p.name for p in points})) or "none"
        msg = f"there is no source {name!r} of flow logs; installed are: {known}"
        raise PluginError(msg)
    try:
        return cast("object", point.load())
    except Exception as error:
        msg = (
            f"the source {name!r} of flow logs ({point.value}) cannot be loaded:"
            f" {type(error).__name__}: {error}; repair or uninstall it"
        )
        raise PluginError(msg) from error


def _points(
    entry_points: Iterable[importlib.metadata.EntryPoint] | None,
) -> Iterable[importlib.metadata.EntryPoint]:
    if entry_points is not None:
        return entry_points
    import importlib.metadata  # noqa: PLC0415  costs more than all the rest of this module

    return importlib.metadata.entry_points(group=FLOW_SOURCE_GROUP)
