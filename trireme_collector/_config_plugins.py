"""Tables of a configuration file that are each for a plugin: which one, and its options."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from trireme_collector.errors import PluginError
from trireme_collector.strict_toml import format_path, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trireme_collector.registry import Registry
    from trireme_collector.strict_toml import Document, KeyPath

__all__ = ["find_plugins", "read_options"]

SpecT = TypeVar("SpecT")
OptionsT = TypeVar("OptionsT", bound=msgspec.Struct)


def find_plugins(
    document: Document,
    path: KeyPath,
    registry: Registry,
    find: Callable[[str], SpecT],
    *,
    kind: str,
    expected: str,
) -> tuple[dict[str, SpecT], list[str]]:
    """Find the plugin of each table: its ``type`` names it, or else its own name does.

    Args:
        document: The file; what is wrong with a table is noted.
        path: Where the tables stand.
        registry: Where the plugins come from.
        find: Gives what a plugin offers.
        kind: What messages call what a table configures.
        expected: What messages say that ``type`` has to be.

    Returns:
        What the plugins offer by the names of the tables, in the order of the file, and complaints
        about plugins.
    """
    tables = document.get(path)
    found: dict[str, SpecT] = {}
    complaints: list[str] = []
    for name, table in tables.items() if isinstance(tables, dict) else ():
        if not isinstance(table, dict):
            continue  # already noted
        place: KeyPath = (*path, name, "type")
        plugin = table.get("type", name)
        if not isinstance(plugin, str):
            document.add_problem(place, expected=expected)
            continue
        try:
            found[name] = find(plugin)
        except PluginError as error:
            line, column = document.position(place)
            near = "" if plugin in registry.names() else nearest(plugin, registry.names())
            hint = f' (did you mean "{near}"?)' if near else ""
            if "type" not in table:
                hint += f"; the name of the {kind} stands for its type, unless type is set"
            where = f"{document.name}:{line}:{column}: {format_path(place)}"
            complaints.append(f"{where}: {error}{hint}")
    return found, complaints


def read_options(
    document: Document,
    path: KeyPath,
    options: type[OptionsT],
    own: Mapping[str, msgspec.Struct] | None = None,
) -> OptionsT | None:
    """Read the options of a plugin out of its table; what is wrong with the table is noted.

    Args:
        document: The file.
        path: The table.
        options: Their type.
        own: What else may stand in the table, each by its key and as it is by default.

    Returns:
        The options, or None when the table is wrong.
    """
    own = own or {}
    # One type for the whole table, so that its keys are checked, and suggested, together.
    whole = msgspec.defstruct(
        "PluginTable",
        [("type", str, path[-1]), *((key, type(value), value) for key, value in own.items())],
        bases=(options,),
        kw_only=True,
        forbid_unknown_fields=True,
    )
    if document.convert(path, whole) is None:
        return None
    return document.part(path, options, without=("type", *own))
