"""The look-ups of a configuration file, checked by the types of their plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_collector._config_plugins import find_plugins, read_options
from trireme_collector.enrichment import LookupConfig

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
    path: KeyPath = ("enrichment", "lookups")
    specs, complaints = find_plugins(
        document,
        path,
        registry,
        registry.enricher_spec,
        kind="look-up",
        expected="the name of a look-up",
    )
    found: list[LookupConfig] = []
    for name, spec in specs.items():
        options = read_options(document, (*path, name), spec.config_type)
        if options is not None:
            found.append(LookupConfig(name=name, spec=spec, options=options))
    return tuple(found), complaints
