"""Look-ups on the command line: ``--enrich NAME[:KEY=VALUE,...]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trireme_collector.errors import ConfigError, PluginError
from trireme_collector.netobserv import Enricher, ObjectLookup
from trireme_collector.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["read_enricher"]


def read_enricher(word: str, registry: Registry | None = None) -> Enricher:
    """Build the look-up that an option names, with its cache.

    Raises:
        ConfigError: The option has not this form, or the plugin does not know what stands in it.
        PluginError: There is no such plugin, or it is broken.
    """
    name, _, rest = word.partition(":")
    spec = (registry or Registry()).enricher_spec(name)
    options = dict(_pairs(word, rest))
    try:
        config = msgspec.convert(options, spec.config_type, strict=False)
    except msgspec.ValidationError as error:
        msg = f"--enrich {word!r}: {error}"
        raise ConfigError(msg) from error
    lookup = spec.factory(config)
    if not isinstance(lookup, ObjectLookup):
        msg = f"plugin {name!r} made no look-up: it has no find(address); report it to its authors"
        raise PluginError(msg)
    return Enricher(lookup)


def _pairs(word: str, text: str) -> Iterable[tuple[str, str]]:
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            msg = f"--enrich {word!r}: found {part!r}, expected KEY=VALUE"
            raise ConfigError(msg)
        yield key.strip(), value
