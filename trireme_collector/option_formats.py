"""Options that name a format: some of the collector's own, or one that a plugin offers.

::

    class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        format: Annotated[str, format_option("json")] = "json"

    def build(options: Options, context: CollectorContext) -> object:
        render = find_renderer(options.format, {"json": render_json}, context)

The name is looked up when the configuration is read, and a wrong one is told with its line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import inspect

from trireme_collector.errors import ConfigError, PermanentDeliveryError, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trireme_collector.hookspecs import CollectorContext, FormatSpec
    from trireme_collector.records import Record
    from trireme_collector.registry import Registry

__all__ = ["find_renderer", "find_unknown_formats", "format_option", "render_line"]

_KEY = "formats"


def format_option(*own: str) -> msgspec.Meta:
    """Mark a field of an options type as the name of a format.

    Args:
        own: The formats that the collector itself has.
    """
    names = ", ".join(msgspec.json.encode(name).decode() for name in own)
    return msgspec.Meta(
        min_length=1,
        extra={_KEY: own, "expected": f"{names} or a format that a plugin offers"},
    )


def find_renderer(
    name: str, own: Mapping[str, Callable[[Record], bytes]], context: CollectorContext
) -> Callable[[Record], bytes]:
    """Give the function that writes a record as a line with its end.

    Args:
        name: The name of the format.
        own: The formats that the collector itself has.
        context: What the collector was given; it finds those of plugins.

    Returns:
        A function that gives an empty line without its end for a record that has no form, and
        raises `PermanentDeliveryError` for one that a plugin cannot write.

    Raises:
        ConfigError: There is no such format.
    """
    if name in own:
        return own[name]
    try:
        spec = context.find_format(name)
    except PluginError as error:
        names = ", ".join(map(repr, own))
        msg = f"format {name!r} is none of the collector's own ({names}), and: {error}"
        raise ConfigError(msg) from error
    return lambda record: render_line(spec, record)


def render_line(spec: FormatSpec, record: Record) -> bytes:
    """Write a record in the format of a plugin, as a line with its end.

    Returns:
        Nothing at all for a record that has no place in the format.

    Raises:
        PermanentDeliveryError: The plugin cannot write it, or gives something that is no line.
    """
    try:
        line = spec.render(record)
    except Exception as error:
        msg = (
            f"format {spec.name!r} cannot write a record: {type(error).__name__}: {error};"
            " this is a mistake in the plugin"
        )
        raise PermanentDeliveryError(msg) from error
    if line is None:
        return b""
    value: object = line  # a plugin's, whatever its annotations say
    if not isinstance(value, bytes) or b"\n" in value:
        found = "more than one line" if isinstance(value, bytes) else type(value).__name__
        msg = f"format {spec.name!r} gives {found}; it must give one line of bytes, without its end"
        raise PermanentDeliveryError(msg)
    return value + b"\n"


def find_unknown_formats(
    options: msgspec.Struct, registry: Registry
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Find the options that name a format which is not there.

    Yields:
        The name of the option, why the format cannot be had, and the names that there are.
    """
    kind = inspect.type_info(type(options))
    for field in getattr(kind, "fields", ()):
        extra = field.type.extra if isinstance(field.type, inspect.Metadata) else None
        own = None if extra is None else extra.get(_KEY)
        name = getattr(options, field.name)
        if own is None or name in own:
            continue
        try:
            registry.format_spec(name)
        except PluginError as error:
            yield field.encode_name, str(error), (*own, *registry.names())
