"""The collectors of a configuration file, checked by the types of their plugins."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec

from trireme_collector._config_plugins import find_plugins, read_options
from trireme_collector.delivery import DeliveryConfig, check_spool
from trireme_collector.errors import ConfigError, PluginError
from trireme_collector.filters import FilterConfig, RecordFilter
from trireme_collector.filters._plugins import build_tests
from trireme_collector.option_formats import find_unknown_formats
from trireme_collector.strict_toml import nearest

if TYPE_CHECKING:
    from trireme_collector.hookspecs import CollectorSpec
    from trireme_collector.registry import Registry
    from trireme_collector.strict_toml import Document, KeyPath

__all__ = ["DEFAULT_COLLECTOR", "CollectorConfig", "read_collectors"]

DEFAULT_COLLECTOR = "syslog"
"""The collector of a configuration that names none, as `DefaultCollector` was upstream."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CollectorConfig:
    """One collector as it was configured, checked.

    Attributes:
        name: Its name, from the configuration.
        spec: What its plugin offers.
        options: The options of its plugin.
        delivery: How its records wait.
        filter: Which records it gets.
    """

    name: str
    spec: CollectorSpec[msgspec.Struct]
    options: msgspec.Struct
    delivery: DeliveryConfig
    filter: FilterConfig


def read_collectors(
    document: Document, registry: Registry
) -> tuple[tuple[CollectorConfig, ...], list[str]]:
    """Read the tables below ``collectors``; what is wrong with them is noted.

    Args:
        document: The file.
        registry: Where the collectors come from.

    Returns:
        The collectors in the order of the file, and complaints about plugins.
    """
    tables = document.get(("collectors",))
    if not (isinstance(tables, dict) and tables):
        return _default_collector(document, registry)
    specs, complaints = find_plugins(
        document,
        ("collectors",),
        registry,
        registry.collector_spec,
        kind="collector",
        expected="the name of a plugin",
    )
    read = (_collector(document, name, spec, registry) for name, spec in specs.items())
    return tuple(collector for collector in read if collector is not None), complaints


def _default_collector(
    document: Document, registry: Registry
) -> tuple[tuple[CollectorConfig, ...], list[str]]:
    try:
        spec = registry.collector_spec(DEFAULT_COLLECTOR)
    except PluginError as error:
        complaint = f"{document.name}: no collector is configured, so records go to syslog: {error}"
        return (), [complaint]
    options = msgspec.convert({}, spec.config_type)
    delivery = _delivery(document, {})
    _check_spool(document, DEFAULT_COLLECTOR, delivery)
    collector = CollectorConfig(
        name=DEFAULT_COLLECTOR,
        spec=spec,
        options=options,
        delivery=delivery,
        filter=FilterConfig(),
    )
    return (collector,), []


def _collector(
    document: Document, name: str, spec: CollectorSpec[msgspec.Struct], registry: Registry
) -> CollectorConfig | None:
    path: KeyPath = ("collectors", name)
    own_tables = {"delivery": DeliveryConfig(), "filter": FilterConfig()}
    options = read_options(document, path, spec.config_type, own_tables)
    if options is None:
        return None
    own = document.get((*path, "delivery"))
    delivery = _delivery(document, own if isinstance(own, dict) else {})
    _check_spool(document, name, delivery)
    for key, reason, known in find_unknown_formats(options, registry):
        near = nearest(str(document.get((*path, key))), known)
        document.add_problem((*path, key), expected=f"another format: {reason}", nearest=near)
    chosen = _filter(document, (*path, "filter"), registry)
    return CollectorConfig(name=name, spec=spec, options=options, delivery=delivery, filter=chosen)


def _delivery(document: Document, own: dict[str, object]) -> DeliveryConfig:
    """Merge what a collector says over what all say; what is wrong was noted before."""
    common = document.get(("delivery",))
    merged = {**common, **own} if isinstance(common, dict) else own
    try:
        return msgspec.convert(merged, DeliveryConfig)
    except msgspec.ValidationError:
        return DeliveryConfig()


def _check_spool(document: Document, name: str, delivery: DeliveryConfig) -> None:
    """Look at the spool of a collector as a start would; what is wrong is noted."""
    if not (delivery.state_directory and delivery.spool.enabled):
        return
    try:
        check_spool(name, delivery)
    except ConfigError as error:
        own: KeyPath = ("collectors", name, "delivery")
        key = "spool" if str(error).startswith("spool: segment_bytes") else "state_directory"
        table = document.get(own)
        path = own if isinstance(table, dict) and key in table else ("delivery",)
        document.add_problem((*path, key), expected=f"a usable spool: {error}")


def _filter(document: Document, path: KeyPath, registry: Registry) -> FilterConfig:
    """Read what a collector gets; the key of a mask is tried, whatever else was noted before."""
    table = document.get(path)
    if not isinstance(table, dict):
        return FilterConfig()
    chosen = msgspec.convert(table, FilterConfig)
    try:
        RecordFilter(chosen)
    except ConfigError as error:
        key = (*path, "mask", "key_file")
        document.add_problem(key, expected=f"a usable key: {error}")
    _, findings = build_tests(chosen.plugins, registry, (*path, "plugins"))
    for place, found, expected, near, of_key in findings:
        document.add_problem(place, expected=expected, found=found, nearest=near, of_key=of_key)
    return chosen
