"""Every hook that a plugin may implement.

Hooks register and configure; records never travel through them. A plugin is a module (or an
object) named by an entry point of the group ``trireme_collector``.
"""

from __future__ import annotations

import dataclasses
import enum
import typing
from typing import TYPE_CHECKING, Generic

import msgspec
import pluggy

from trireme_collector.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import typing_extensions

    from trireme_collector.records import Record

__all__ = [
    "ENTRY_POINT_GROUP",
    "CollectorContext",
    "CollectorSpec",
    "DiscoveredUnit",
    "DiscovererSpec",
    "EnricherSpec",
    "FilterSpec",
    "FormatSpec",
    "NoOptions",
    "Stability",
    "hookimpl",
    "hookspec",
    "trireme_register_collectors",
    "trireme_register_discoverers",
    "trireme_register_enrichers",
    "trireme_register_filters",
    "trireme_register_formats",
]

ENTRY_POINT_GROUP = "trireme_collector"
"""The entry-point group through which every plugin is found, built-in or not."""

hookspec = pluggy.HookspecMarker("trireme_collector")
hookimpl = pluggy.HookimplMarker("trireme_collector")


class Stability(enum.StrEnum):
    """What users may expect of a plugin."""

    EXPERIMENTAL = "experimental"
    BETA = "beta"
    STABLE = "stable"


class NoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The configuration of a collector that has no options."""


# So that a type checker takes `CollectorSpec` for one without options. It knows this form of a type
# variable without the package; before Python 3.13 the standard library does not have it.
if TYPE_CHECKING:
    ConfigT = typing_extensions.TypeVar("ConfigT", bound=msgspec.Struct, default=NoOptions)
else:
    ConfigT = typing.TypeVar("ConfigT", bound=msgspec.Struct)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FormatSpec:
    """One form of records that a plugin offers.

    Attributes:
        name: The name by which it is chosen; the name of the entry point.
        render: Gives a record as one line, without its end, or None for a record that has no
            place in the format. It depends on nothing but the record, and a line end within
            what it gives is a mistake.
        summary: One line for ``trireme-collector plugins list``.
        stability: What users may expect.
    """

    name: str
    render: Callable[[Record], bytes | None]
    summary: str = ""
    stability: Stability = Stability.EXPERIMENTAL


def _no_format(name: str) -> FormatSpec:
    raise PluginError(f"there is no format {name!r}: no plugin can offer one here")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CollectorContext:
    """What a collector is told about its surroundings when it is built.

    Attributes:
        name: The name of the collector in the configuration, for messages.
        instance: The name of the agent, as it stands in the records.
        find_format: Gives the format of a plugin by its name; raises `PluginError` when there is
            none. An option that takes such names says so: see `trireme_collector.option_formats`.
        enrich: Gives a copy of a flow log in the format of NetObserv with what is known of its
            ends, and never raises; None if the configuration names no look-up. The names may
            change: what is sent again must not be enriched again.
    """

    name: str
    instance: str
    find_format: Callable[[str], FormatSpec] = dataclasses.field(default=_no_format, compare=False)
    enrich: Callable[[Mapping[str, object]], dict[str, object]] | None = dataclasses.field(
        default=None, compare=False
    )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CollectorSpec(Generic[ConfigT]):
    """One kind of collector that a plugin offers.

    Attributes:
        name: The value of ``type`` in the configuration; the name of the entry point.
        factory: Builds a collector from its configuration; called once per start. What it
            returns has ``deliver(batch)`` or any of the ``collect_*`` methods. Opening files
            and sockets belongs into ``open()``, not here.
        config_type: The options, a `msgspec.Struct`; unknown keys are refused for it.
        summary: One line for ``trireme-collector plugins list``.
        stability: What users may expect.
    """

    name: str
    factory: Callable[[ConfigT, CollectorContext], object]
    config_type: type[ConfigT] = NoOptions  # type: ignore[assignment]  # the default for collectors without options
    summary: str = ""
    stability: Stability = Stability.EXPERIMENTAL


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EnricherSpec(Generic[ConfigT]):
    """One kind of look-up that a plugin offers: what stands behind an address.

    Attributes:
        name: The name by which it is chosen; the name of the entry point.
        factory: Builds the look-up from its configuration. What it returns has
            ``find(address)``, which gives a `trireme_collector.netobserv.KubernetesObject` or
            None, may be called often, and must not wait long: its answers are cached. It may have
            ``close()``.
        config_type: The options, a `msgspec.Struct`; unknown keys are refused for it.
        summary: One line for ``trireme-collector plugins list``.
        stability: What users may expect.
    """

    name: str
    factory: Callable[[ConfigT], object]
    config_type: type[ConfigT] = NoOptions  # type: ignore[assignment]  # the default for those without options
    summary: str = ""
    stability: Stability = Stability.EXPERIMENTAL


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FilterSpec(Generic[ConfigT]):
    """One way to choose records that a plugin offers.

    Attributes:
        name: The name by which it is chosen; the name of the entry point.
        factory: Builds a function from the configuration, which takes a record and tells whether
            it passes. The function is called for each record, in the thread that reports it: it
            waits for nothing. A record for which it raises does not pass.
        config_type: The options, a `msgspec.Struct`; unknown keys are refused for it.
        summary: One line for ``trireme-collector plugins list``.
        stability: What users may expect.
    """

    name: str
    factory: Callable[[ConfigT], Callable[[Record], bool]]
    config_type: type[ConfigT] = NoOptions  # type: ignore[assignment]  # the default for those without options
    summary: str = ""
    stability: Stability = Stability.EXPERIMENTAL


class DiscoveredUnit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A processing unit that was found.

    Attributes:
        context_id: By what it is known; a unit of the policy with this context is this one.
        addresses: Its addresses by interface or network; ``bridge`` is the primary one. Packets
            from and to them belong to it.
        tags: Its tags, ``key=value``.
        interfaces: Interfaces of this host that it is behind.
        cgroups: Control groups that its processes are in, as paths below their root.
    """

    context_id: str
    addresses: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    cgroups: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DiscovererSpec(Generic[ConfigT]):
    """One way to find processing units that a plugin offers.

    Attributes:
        name: The value of ``type`` in the configuration; the name of the entry point.
        factory: Builds it from its configuration. What it returns has ``poll()``, which gives
            every `DiscoveredUnit` that there is now, is called every few seconds in a thread of
            its own, and may raise when it cannot tell. It may have ``close()``.
        config_type: The options, a `msgspec.Struct`; unknown keys are refused for it.
        summary: One line for ``trireme-collector plugins list``.
        stability: What users may expect.
    """

    name: str
    factory: Callable[[ConfigT], object]
    config_type: type[ConfigT] = NoOptions  # type: ignore[assignment]  # the default for those without options
    summary: str = ""
    stability: Stability = Stability.EXPERIMENTAL


@hookspec
def trireme_register_collectors() -> Iterable[CollectorSpec[msgspec.Struct]]:  # type: ignore[empty-body]  # a hook specification has no body
    """Offer collectors.

    Called once, when the configuration first names the plugin or when plugins are listed.
    Returns the specifications; an empty iterable offers nothing. Must not open anything.

    Example:
        A plugin that prints rejected flows::

            from trireme_collector import CollectorSpec, NullCollector, hookimpl

            class PrintRejects(NullCollector):
                def collect_flow_event(self, record):
                    if record.action.rejected:
                        print(record.source.ip, "->", record.destination.ip)

            @hookimpl
            def trireme_register_collectors():
                return [
                    CollectorSpec(
                        name="print-rejects",
                        factory=lambda config, context: PrintRejects(),
                        summary="Prints rejected flows.",
                    )
                ]
    """


@hookspec
def trireme_register_enrichers() -> Iterable[EnricherSpec[msgspec.Struct]]:  # type: ignore[empty-body]  # a hook specification has no body
    """Offer look-ups that name what stands behind an address.

    Called once, when a command first names the plugin or when plugins are listed. Returns the
    specifications; an empty iterable offers nothing. Must not open anything.

    Example:
        A plugin that knows one address::

            from trireme_collector import EnricherSpec, hookimpl
            from trireme_collector.netobserv import KubernetesObject

            class Gateway:
                def find(self, address):
                    if address == "192.0.2.1":
                        return KubernetesObject(name="gateway", type="Node")

            @hookimpl
            def trireme_register_enrichers():
                return [
                    EnricherSpec(
                        name="gateway",
                        factory=lambda config: Gateway(),
                        summary="Names the gateway.",
                    )
                ]
    """


@hookspec
def trireme_register_discoverers() -> Iterable[DiscovererSpec[msgspec.Struct]]:  # type: ignore[empty-body]  # a hook specification has no body
    """Offer ways to find processing units that come and go.

    Called once, when the configuration first names the plugin or when plugins are listed.
    Returns the specifications; an empty iterable offers nothing. Must not open anything.

    Example:
        A plugin that finds one unit for each file of a directory::

            import pathlib
            from trireme_collector import DiscoveredUnit, DiscovererSpec, hookimpl

            class Files:
                def poll(self):
                    for path in pathlib.Path("/run/units").iterdir():
                        yield DiscoveredUnit(context_id=path.name)

            @hookimpl
            def trireme_register_discoverers():
                return [
                    DiscovererSpec(
                        name="files",
                        factory=lambda config: Files(),
                        summary="Finds units by files.",
                    )
                ]
    """


@hookspec
def trireme_register_formats() -> Iterable[FormatSpec]:  # type: ignore[empty-body]  # a hook specification has no body
    """Offer forms in which records can be written.

    Called once, when a configuration or a command first names the plugin or when plugins are
    listed. Returns the specifications; an empty iterable offers nothing.

    Example:
        A plugin that writes flows as addresses divided by commas::

            from trireme_collector import FlowRecord, FormatSpec, hookimpl

            def render(record):
                if isinstance(record, FlowRecord):
                    return f"{record.source.ip},{record.destination.ip}".encode()
                return None

            @hookimpl
            def trireme_register_formats():
                return [
                    FormatSpec(name="pairs", render=render, summary="Addresses of flows.")
                ]
    """


@hookspec
def trireme_register_filters() -> Iterable[FilterSpec[msgspec.Struct]]:  # type: ignore[empty-body]  # a hook specification has no body
    """Offer ways to choose the records that a collector gets.

    Called once, when the configuration first names the plugin or when plugins are listed.
    Returns the specifications; an empty iterable offers nothing. Must not open anything.

    Example:
        A plugin that leaves out what a network of its own sent::

            import ipaddress

            import msgspec
            from trireme_collector import FilterSpec, FlowRecord, hookimpl

            class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
                network: str = "10.0.0.0/8"

            def build(options):
                network = ipaddress.ip_network(options.network)

                def passes(record):
                    if not isinstance(record, FlowRecord):
                        return True
                    return ipaddress.ip_address(record.source.ip) not in network

                return passes

            @hookimpl
            def trireme_register_filters():
                return [
                    FilterSpec(
                        name="foreign",
                        factory=build,
                        config_type=Options,
                        summary="Only flows from elsewhere.",
                    )
                ]
    """
