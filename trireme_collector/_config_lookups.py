"""The look-ups of a configuration file, checked by the types of their plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trireme_collector.enrichment import LookupConfig
from trireme_collector.errors import PluginError
from trireme_collector.strict_toml import nearest

if TYPE_CHECKING:
    from trireme_collector.registry import Registry
    from trireme_collector.strict_toml import Document, KeyPath

__all__ = ["read_lookups"]


def read_lookups(
    document: Document, registry: Registry
) -> tuple[tuple[LookupConfig, ...], list[str]]:
    """Read the tables below ``enrichment.lookups``; what is wrong with them is noted.

    Args:
        document: The file.
        registry: Where the look-ups come from.

    Returns:
        The look-ups in the order of the file, and complaints about plugins.
    """
    tables = document.get(("enrichment", "lookups"))
    found: list[LookupConfig] = []
    complaints: list[str] = []
    for name in tables if isinstance(tables, dict) else ():
        path: KeyPath = ("enrichment", "lookups", name)
        table = document.get(path)
        if not isinstance(table, dict):
            continue  # already noted
        plugin = table.get("type", name)
        if not isinstance(plugin, str):
            document.add_problem((*path, "type"), expected="the name of a look-up")
            continue
        try:
            spec = registry.enricher_spec(plugin)
        except PluginError as error:
            line, column = document.position((*path, "type"))
            near = "" if plugin in registry.names() else nearest(plugin, registry.names())
            hint = f' (did you mean "{near}"?)' if near else ""
            if "type" not in table:
                hint += "; the name of the look-up stands for its type, unless type is set"
            where = f"{document.name}:{line}:{column}: enrichment.lookups.{name}.type"
            complaints.append(f"{where}: {error}{hint}")
            continue
        whole = msgspec.defstruct(
            "LookupTable",
            [("type", str, name)],
            bases=(spec.config_type,),
            kw_only=True,
            forbid_unknown_fields=True,
        )
        if document.convert(path, whole) is None:
            continue
        options = document.part(path, spec.config_type, without=("type",))
        if options is not None:
            found.append(LookupConfig(name=name, spec=spec, options=options))
    return tuple(found), complaints
