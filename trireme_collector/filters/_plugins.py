"""Filters that plugins offer, from the table ``filter.plugins`` to functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trireme_collector._toml_checker import Finding, find
from trireme_collector._toml_values import describe, nearest, quote
from trireme_collector.errors import ConfigError, PluginError, TriremeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trireme_collector._toml_positions import KeyPath
    from trireme_collector.records import Record
    from trireme_collector.registry import Registry

__all__ = ["build_tests"]


def build_tests(
    tables: Mapping[str, Mapping[str, object]], registry: Registry, path: KeyPath
) -> tuple[list[Callable[[Record], bool]], list[Finding]]:
    """Build the filters of plugins.

    Args:
        tables: Their options by name; ``type`` names the plugin, the name itself by default.
        registry: Where they come from.
        path: Where the tables stand.

    Returns:
        The functions, and what is wrong in the tables.

    Raises:
        PluginError: What a plugin builds is no function, or it fails by a mistake of its own.
    """
    tests: list[Callable[[Record], bool]] = []
    findings: list[Finding] = []
    for name, table in tables.items():
        options = dict(table)
        kind = options.pop("type", name)
        if not isinstance(kind, str):
            place = (*path, name, "type")
            findings.append(Finding(place, describe(kind), "the name of a plugin"))
            continue
        try:
            spec = registry.filter_spec(kind)
        except PluginError as error:
            near = "" if kind in registry.names() else nearest(kind, registry.names())
            place = (*path, name, "type") if "type" in table else (*path, name)
            shown = quote(kind)
            expected = f"a filter that a plugin offers: {error}"
            findings.append(Finding(place, shown, expected, near, of_key="type" not in table))
            continue
        try:
            config, wrong = _convert(options, spec.config_type, (*path, name))
            findings += wrong
            if config is not None:
                tests.append(_check(name, kind, spec.factory(config)))
        except ConfigError as error:
            findings.append(Finding((*path, name), "these options", f"others: {error}"))
        except TriremeError:
            raise
        except Exception as error:
            msg = (
                f"filter {name!r}: the factory of plugin {kind!r} failed:"
                f" {type(error).__name__}: {error}; this is a mistake in the plugin"
            )
            raise PluginError(msg) from error
    return tests, findings


def _convert(
    options: Mapping[str, object], kind: type[msgspec.Struct], path: KeyPath
) -> tuple[msgspec.Struct | None, list[Finding]]:
    findings = list(find(options, kind, path))
    if findings:
        return None, findings
    try:
        return msgspec.convert(options, kind), []
    except msgspec.ValidationError as error:
        return None, [Finding(path, "what does not go together", str(error))]


def _check(name: str, kind: str, test: Callable[[Record], bool]) -> Callable[[Record], bool]:
    made: object = test  # a plugin's, whatever its annotations say
    if not callable(made):
        msg = f"filter {name!r}: plugin {kind!r} built {type(test).__name__}, not a function"
        raise PluginError(msg)
    return test
