"""Every hook that a plugin may implement.

Hooks register and configure; records never travel through them. A plugin is a module (or an
object) named by an entry point of the group ``trireme_collector``.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec
import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "ENTRY_POINT_GROUP",
    "CollectorContext",
    "CollectorSpec",
    "DiscoveredUnit",
    "DiscovererSpec",
    "EnricherSpec",
    "NoOptions",
    "Stability",
    "hookimpl",
    "hookspec",
    "trireme_register_collectors",
    "trireme_register_discoverers",
    "trireme_register_enrichers",
]

ENTRY_POINT_GROUP = "trireme_collector"
"""The entry-point group through which every plugin is found, built-in or not."""

hookspec = pluggy.HookspecMarker("trireme_collector")
hookimpl = pluggy.HookimplMarker("trireme_collector")

ConfigT = TypeVar("ConfigT", bound=msgspec.Struct)


class Stability(enum.StrEnum):
    """What users may expect of a plugin."""

    EXPERIMENTAL = "experimental"
    BETA = "beta"
    STABLE = "stable"


class NoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The configuration of a collector that has no options."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CollectorContext:
    """What a collector is told about its surroundings when it is built.

    Attributes:
        name: The name of the collector in the configuration, for messages.
        instance: The name of the agent, as it stands in the records.
    """

    name: str
    instance: str


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


class DiscoveredUnit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A processing unit that was found.

    Attributes:
        context_id: By what it is known; a unit of the policy with this context is this one.
        addresses: Its addresses by interface or network; ``bridge`` is the primary one.
        tags: Its tags, ``key=value``.
    """

    context_id: str
    addresses: dict[str, str] = {}
    tags: tuple[str, ...] = ()


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
