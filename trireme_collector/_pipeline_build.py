"""From configuration tables to collectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from trireme_collector._toml_checker import find
from trireme_collector._toml_values import describe
from trireme_collector.delivery import DeliveryConfig
from trireme_collector.errors import ConfigError, PluginError, TriremeError
from trireme_collector.filters import FilterConfig, RecordFilter
from trireme_collector.filters._plugins import build_tests
from trireme_collector.hookspecs import CollectorContext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trireme_collector._toml_checker import Finding
    from trireme_collector.enrichment import Enrichment
    from trireme_collector.registry import Registry

__all__ = ["build_collectors", "convert_options"]

OptionsT = TypeVar("OptionsT")


def build_collectors(
    tables: Mapping[str, Mapping[str, object]],
    registry: Registry,
    *,
    instance: str,
    delivery: DeliveryConfig,
    enrichment: Enrichment | None = None,
) -> tuple[dict[str, object], dict[str, DeliveryConfig], dict[str, RecordFilter]]:
    """Build every collector and find what stands around it.

    Raises:
        ConfigError: Options are wrong; all of them are listed, each with its path.
        PluginError: A kind of collector is unknown, blocked or broken.
    """
    problems: list[str] = []
    collectors: dict[str, object] = {}
    deliveries: dict[str, DeliveryConfig] = {}
    filters: dict[str, RecordFilter] = {}
    for name, table in tables.items():
        path = f"collectors.{name}"
        options = dict(table)
        kind = options.pop("type", name)
        own = options.pop("delivery", delivery)
        choice = options.pop("filter", None)
        if not isinstance(kind, str):
            found = describe(kind)
            problems.append(f"{path}.type: found {found}, expected the name of a plugin")
            continue
        try:
            deliveries[name] = convert_options(own, DeliveryConfig, f"{path}.delivery")
        except ConfigError as error:
            problems.extend(error.problems)
        try:
            if choice is not None:
                chosen = convert_options(choice, FilterConfig, f"{path}.filter")
                place = (*path.split(".", 1), "filter", "plugins")
                tests, findings = build_tests(chosen.plugins, registry, place)
                problems.extend(map(_describe, findings))
                filters[name] = RecordFilter(chosen, tests)
        except ConfigError as error:
            problems.extend(error.problems or (f"{path}.filter: {error}",))
        try:
            spec = registry.collector_spec(kind)
            config = convert_options(options, spec.config_type, path)
            context = CollectorContext(
                name=name,
                instance=instance,
                find_format=registry.format_spec,
                enrich=None if enrichment is None else enrichment.enrich,
            )
            collectors[name] = spec.factory(config, context)
        except ConfigError as error:
            problems.extend(error.problems or (f"{path}: {error}",))
        except TriremeError:
            raise
        except Exception as error:
            msg = (
                f"collector {name!r}: the factory of plugin {kind!r} failed:"
                f" {type(error).__name__}: {error}; this is a mistake in the plugin"
            )
            raise PluginError(msg) from error
    if problems:
        raise ConfigError("\n".join(problems), problems=problems)
    return collectors, deliveries, filters


def convert_options(options: object, kind: type[OptionsT], path: str) -> OptionsT:
    """Turn a table into its type, strictly.

    Raises:
        ConfigError: It does not fit; every mistake is listed with its path.
    """
    if isinstance(options, kind):
        return options
    where = tuple(path.split("."))
    problems = [_describe(found) for found in find(options, kind, where)]
    if not problems:
        try:
            return msgspec.convert(options, kind)
        except msgspec.ValidationError as error:
            problems = [f"{path}: {error}"]
    raise ConfigError("\n".join(problems), problems=problems)


def _describe(finding: Finding) -> str:
    return (
        ".".join(map(str, finding.path))
        + f": found {finding.found}, expected {finding.expected}"
        + (f" (did you mean {finding.nearest}?)" if finding.nearest else "")
    )
