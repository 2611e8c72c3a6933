"""Finding, loading and describing plugins. Nothing else in the project touches a hook."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, TypeVar

import pluggy

from trireme_collector import hookspecs
from trireme_collector.errors import PluginError

if TYPE_CHECKING:
    import importlib.metadata
    from collections.abc import Callable, Collection, Iterable, Sequence

    import msgspec

    from trireme_collector.hookspecs import (
        CollectorSpec,
        DiscovererSpec,
        EnricherSpec,
        FilterSpec,
        FormatSpec,
    )

__all__ = ["PluginInfo", "PluginState", "Registry"]

SpecT = TypeVar("SpecT")
NamedT = TypeVar(
    "NamedT",
    "CollectorSpec[msgspec.Struct]",
    "DiscovererSpec[msgspec.Struct]",
    "EnricherSpec[msgspec.Struct]",
    "FilterSpec[msgspec.Struct]",
    "FormatSpec",
)

OWN_DISTRIBUTION = "trireme-collector"


class PluginState(enum.StrEnum):
    """How far a plugin got."""

    AVAILABLE = "available"
    LOADED = "loaded"
    BROKEN = "broken"
    BLOCKED = "blocked"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PluginInfo:
    """A plugin as ``plugins list`` shows it.

    Attributes:
        name: The name of the entry point.
        module: What the entry point names.
        distribution: The installed distribution it belongs to, with its version.
        state: How far it got.
        error: Why it is broken or blocked.
        collectors: The collectors that it offers, once it is loaded.
        enrichers: The look-ups that it offers.
        discoverers: The ways to find units that it offers.
        formats: The forms of records that it offers.
        filters: The ways to choose records that it offers.
    """

    name: str
    module: str
    distribution: str
    state: PluginState
    error: BaseException | None = None
    collectors: tuple[CollectorSpec[msgspec.Struct], ...] = ()
    enrichers: tuple[EnricherSpec[msgspec.Struct], ...] = ()
    discoverers: tuple[DiscovererSpec[msgspec.Struct], ...] = ()
    formats: tuple[FormatSpec, ...] = ()
    filters: tuple[FilterSpec[msgspec.Struct], ...] = ()


class Registry:
    """The plugins that are installed, loaded when they are first asked for.

    Args:
        allow: The names of plugins that may load; None allows all. Built-in ones need to be
            named too.
        deny: The names of plugins that may not load, whatever `allow` says.
        entry_points: The entry points to use instead of the installed ones, for tests.
    """

    def __init__(
        self,
        *,
        allow: Collection[str] | None = None,
        deny: Collection[str] = (),
        entry_points: Iterable[importlib.metadata.EntryPoint] | None = None,
    ) -> None:
        """Read the names of the installed plugins; load none."""
        self._allow = None if allow is None else frozenset(allow)
        self._deny = frozenset(deny)
        self._manager = pluggy.PluginManager(hookspecs.ENTRY_POINT_GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._entry_points: dict[str, list[importlib.metadata.EntryPoint]] = {}
        self._loaded: dict[str, PluginInfo] = {}
        for entry_point in _installed() if entry_points is None else entry_points:
            known = self._entry_points.setdefault(entry_point.name, [])
            if entry_point not in known:
                known.append(entry_point)

    def register(self, plugin: object, *, name: str) -> PluginInfo:
        """Add a plugin that is not installed, such as one an embedder defines in its own code.

        Raises:
            PluginError: The name is taken, or the plugin is broken.
        """
        if name in self._loaded or name in self._entry_points:
            msg = f"cannot register plugin {name!r}: the name is taken; choose another"
            raise PluginError(msg)
        info = self._admit(plugin, name=name, module=repr(plugin), distribution="(registered)")
        self._loaded[name] = info
        if info.error is not None:
            raise self._broken(info)
        return info

    def names(self) -> Sequence[str]:
        """Give the names of all plugins, sorted, without loading any."""
        return sorted({*self._entry_points, *self._loaded})

    def describe(self, name: str, *, load: bool = True) -> PluginInfo:
        """Tell about one plugin; a broken or blocked one is described, not raised.

        Raises:
            PluginError: There is no plugin of this name.
        """
        if name in self._loaded:
            return self._loaded[name]
        entry_points = self._entry_points.get(name)
        if not entry_points:
            raise self._unknown(name)
        entry_point = entry_points[0]
        info = PluginInfo(
            name=name,
            module=entry_point.value,
            distribution=" and ".join(map(_distribution, entry_points)),
            state=PluginState.AVAILABLE,
        )
        if not self._allowed(name):
            reason = "on the deny list" if name in self._deny else "not on the allow list"
            error = PluginError(f"plugin {name!r} is {reason} of the configuration")
            return dataclasses.replace(info, state=PluginState.BLOCKED, error=error)
        if not load:
            return info
        if len(entry_points) > 1:
            error = PluginError(
                f"plugin {name!r} is offered by {info.distribution}; uninstall all but one"
            )
            info = dataclasses.replace(info, state=PluginState.BROKEN, error=error)
        else:
            info = self._load(entry_point, info)
        self._loaded[name] = info
        return info

    def describe_all(self) -> Sequence[PluginInfo]:
        """Load every plugin that may load, and tell about all of them."""
        return [self.describe(name) for name in self.names()]

    def collector_spec(self, name: str) -> CollectorSpec[msgspec.Struct]:
        """Give the collector of this name, loading its plugin.

        Raises:
            PluginError: It is unknown, blocked or broken; the message says which and why.
        """
        return self._offered(name, lambda info: info.collectors, "collector")

    def enricher_spec(self, name: str) -> EnricherSpec[msgspec.Struct]:
        """Give the look-up of this name, loading its plugin.

        Raises:
            PluginError: It is unknown, blocked or broken; the message says which and why.
        """
        return self._offered(name, lambda info: info.enrichers, "look-up")

    def discoverer_spec(self, name: str) -> DiscovererSpec[msgspec.Struct]:
        """Give the way to find units of this name, loading its plugin.

        Raises:
            PluginError: It is unknown, blocked or broken; the message says which and why.
        """
        return self._offered(name, lambda info: info.discoverers, "way to find units")

    def format_spec(self, name: str) -> FormatSpec:
        """Give the format of this name, loading its plugin.

        Raises:
            PluginError: It is unknown, blocked or broken; the message says which and why.
        """
        return self._offered(name, lambda info: info.formats, "format")

    def filter_spec(self, name: str) -> FilterSpec[msgspec.Struct]:
        """Give the filter of this name, loading its plugin.

        Raises:
            PluginError: It is unknown, blocked or broken; the message says which and why.
        """
        return self._offered(name, lambda info: info.filters, "filter")

    def _offered(
        self, name: str, specs_of: Callable[[PluginInfo], tuple[NamedT, ...]], kind: str
    ) -> NamedT:
        """Load a plugin, and find what it offers under the name of its entry point."""
        info = self.describe(name)
        if info.error is not None:
            raise self._broken(info)
        specs = specs_of(info)
        for spec in specs:
            if spec.name == info.name:
                return spec
        msg = f"plugin {info.name!r} ({info.distribution}) offers no {kind}"
        if specs:
            offered = ", ".join(repr(spec.name) for spec in specs)
            msg += f" of that name, but {offered}; name its entry point like its {kind}"
        raise PluginError(msg)

    def _allowed(self, name: str) -> bool:
        return name not in self._deny and (self._allow is None or name in self._allow)

    def _load(self, entry_point: importlib.metadata.EntryPoint, info: PluginInfo) -> PluginInfo:
        try:
            plugin = entry_point.load()
        except Exception as error:  # noqa: BLE001  a plugin's import may raise anything; it is kept and shown
            return dataclasses.replace(info, state=PluginState.BROKEN, error=error)
        return self._admit(
            plugin, name=info.name, module=info.module, distribution=info.distribution
        )

    def _admit(self, plugin: object, *, name: str, module: str, distribution: str) -> PluginInfo:
        info = PluginInfo(
            name=name, module=module, distribution=distribution, state=PluginState.LOADED
        )
        try:
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
            offered = dataclasses.replace(
                info,
                collectors=self._hook(
                    plugin, "trireme_register_collectors", hookspecs.CollectorSpec
                ),
                enrichers=self._hook(plugin, "trireme_register_enrichers", hookspecs.EnricherSpec),
                discoverers=self._hook(
                    plugin, "trireme_register_discoverers", hookspecs.DiscovererSpec
                ),
                formats=self._hook(plugin, "trireme_register_formats", hookspecs.FormatSpec),
                filters=self._hook(plugin, "trireme_register_filters", hookspecs.FilterSpec),
            )
        except Exception as error:  # noqa: BLE001  a plugin's hook may raise anything; it is kept and shown
            self._manager.unregister(name=name)
            return dataclasses.replace(info, state=PluginState.BROKEN, error=error)
        return offered

    def _hook(self, plugin: object, hook: str, kind: type[SpecT]) -> tuple[SpecT, ...]:
        """Call a hook of this plugin alone, and hold what it returns to its kind."""
        others = [other for other in self._manager.get_plugins() if other is not plugin]
        found: list[SpecT] = []
        for specs in self._manager.subset_hook_caller(hook, others)():
            for spec in specs:
                if not isinstance(spec, kind):
                    msg = f"{hook} must return {kind.__name__} objects, got {type(spec).__name__}"
                    raise PluginError(msg)
                found.append(spec)
        return tuple(found)

    def _broken(self, info: PluginInfo) -> PluginError:
        error = info.error
        if isinstance(error, PluginError):
            return error
        msg = (
            f"plugin {info.name!r} ({info.distribution}, {info.module}) is broken:"
            f" {type(error).__name__}: {error}; fix or uninstall it, or take it out of the"
            " configuration"
        )
        wrapped = PluginError(msg)
        wrapped.__cause__ = error
        return wrapped

    def _unknown(self, name: str) -> PluginError:
        known = ", ".join(self.names()) or "none"
        return PluginError(
            f"there is no plugin {name!r}; installed are: {known}. Install the distribution that"
            f" has the entry point {name!r} in the group {hookspecs.ENTRY_POINT_GROUP!r}"
        )


def _installed() -> Iterable[importlib.metadata.EntryPoint]:
    # Costs a fifth of the import of the whole package, and embedders may need no plugin at all.
    import importlib.metadata  # noqa: PLC0415  see above

    return importlib.metadata.entry_points(group=hookspecs.ENTRY_POINT_GROUP)


def _distribution(entry_point: importlib.metadata.EntryPoint) -> str:
    distribution = entry_point.dist
    return "(unknown)" if distribution is None else f"{distribution.name} {distribution.version}"
