"""Units that plugins find: looked for every few seconds, told of when they come, change and go."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Annotated, Final, Protocol, cast, get_type_hints

import msgspec
import structlog

from trireme_collector.errors import ConfigError, PluginError
from trireme_collector.strict_toml import format_path, load_document

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from structlog.typing import FilteringBoundLogger

    from trireme_collector.hookspecs import DiscoveredUnit
    from trireme_collector.registry import Registry
    from trireme_collector.strict_toml import KeyPath
    from trireme_datapath.lifecycle import UnitLifecycle

__all__ = ["Discoverer", "Discovery", "DiscoveryTable", "build_discoverers", "check_discovery"]

_LOG_SECONDS: Final = 60.0
_LEAVE_SECONDS: Final = 5.0


class Discoverer(Protocol):
    """What a plugin builds."""

    def poll(self) -> Iterable[DiscoveredUnit]:
        """Give every unit that there is now."""
        ...


class DiscoveryTable(msgspec.Struct, frozen=True, kw_only=True):
    """What every table under ``[discovery]`` may have, beside the options of its plugin.

    Attributes:
        type: The plugin; the name of the table by default.
        every_seconds: How often it looks.
    """

    type: str | msgspec.UnsetType = msgspec.UNSET
    every_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=3_600)] = 5.0


def check_discovery(path: str | os.PathLike[str], registry: Registry) -> None:
    """Check the section ``[discovery]`` of a file, so that each mistake has its place.

    Args:
        path: The file, which is sound otherwise.
        registry: Where the plugins come from.

    Raises:
        ConfigError: Options are wrong; all mistakes are listed.
        PluginError: The only mistakes are plugins that are unknown, blocked or broken.
    """
    document = load_document(path)
    tables = document.get(("discovery",))
    complaints: list[str] = []
    for name, table in tables.items() if isinstance(tables, dict) else ():
        place: KeyPath = ("discovery", name)
        plugin = table.get("type", name)
        if not isinstance(plugin, str):
            document.add_problem((*place, "type"), expected="the name of a discovery")
            continue
        try:
            spec = registry.discoverer_spec(plugin)
        except PluginError as error:
            line, column = document.position((*place, "type"))
            where = f"{document.name}:{line}:{column}: {format_path((*place, 'type'))}"
            complaints.append(f"{where}: {error}")
            continue
        # One type for the whole table, so that its keys are checked, and suggested, together.
        hints = get_type_hints(DiscoveryTable, include_extras=True)
        fields = [(field, hints[field], msgspec.UNSET) for field in hints]
        whole = msgspec.defstruct(
            "DiscoveryWhole",
            fields,
            bases=(spec.config_type,),
            kw_only=True,
            forbid_unknown_fields=True,
        )
        document.convert(place, whole)
    lines = [*map(str, document.problems), *complaints]
    if document.problems:
        raise ConfigError("\n".join(lines), problems=lines)
    if complaints:
        raise PluginError("\n".join(lines))


def build_discoverers(
    tables: Mapping[str, Mapping[str, object]], registry: Registry
) -> list[tuple[str, Discoverer, float]]:
    """Build what the section ``[discovery]`` asks for.

    Returns:
        The name of each, the object, and how often it looks.

    Raises:
        ConfigError: Options are wrong.
        PluginError: A plugin is unknown, blocked or broken.
    """
    built = []
    for name, table in tables.items():
        try:
            common = msgspec.convert(table, DiscoveryTable)
            kind = name if isinstance(common.type, msgspec.UnsetType) else common.type
            spec = registry.discoverer_spec(kind)
            own = {
                key: value
                for key, value in table.items()
                if key not in DiscoveryTable.__struct_fields__
            }
            options = msgspec.convert(own, spec.config_type)
        except msgspec.ValidationError as error:
            raise ConfigError(f"discovery.{name}: {error}") from error
        try:
            found = spec.factory(options)
        except ConfigError:
            raise
        except Exception as error:
            msg = f"discovery.{name}: {type(error).__name__}: {error}; this is a mistake in it"
            raise PluginError(msg) from error
        if not callable(getattr(found, "poll", None)):
            raise PluginError(f"discovery.{name}: what the plugin builds has no poll()")
        built.append((name, cast("Discoverer", found), common.every_seconds))
    return built


class Discovery:
    """Looks for units in a thread of its own.

    What cannot be looked at for once is as it was; a unit that two of them find is the first one's.

    Args:
        discoverers: What looks, each with its name and how often.
        units: Who tells of units.
        ask: Has units told of something by the thread to which they belong.
        owners: Who found which unit, in the program of before.
    """

    def __init__(
        self,
        discoverers: list[tuple[str, Discoverer, float]],
        units: UnitLifecycle,
        ask: Callable[[Callable[[], None]], object],
        owners: Mapping[str, str] | None = None,
    ) -> None:
        """Find nothing yet."""
        self._discoverers = discoverers
        self._units = units
        self._ask = ask
        self._log: FilteringBoundLogger = structlog.get_logger("trireme_datapath.discovery")
        self._owners: dict[str, str] = dict(owners or {})
        self._refused: dict[str, DiscoveredUnit] = {}
        self._next_log: dict[str, float] = {}
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def owners(self) -> dict[str, str]:
        """Who found which unit; for the thread to which units belong."""
        return dict(self._owners)

    def start(self) -> None:
        """Begin to look, if there is something that does."""
        if self._discoverers:
            self._thread = threading.Thread(target=self._run, name="trireme-discovery", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_LEAVE_SECONDS)
        for name, discoverer, _ in self._discoverers:
            close = getattr(discoverer, "close", None)
            if close is None:
                continue
            try:
                close()
            except Exception as error:  # noqa: BLE001  a plugin's code
                self._log.warning("discovery_not_closed", discovery=name, error=repr(error))

    def look(self, name: str, discoverer: Discoverer) -> None:
        """Look once, and tell what is new."""
        try:
            found = {unit.context_id: unit for unit in discoverer.poll()}
        except Exception as error:  # noqa: BLE001  a plugin's code; the units stay as they were
            now = time.monotonic()
            if now >= self._next_log.get(name, 0.0):
                self._next_log[name] = now + _LOG_SECONDS
                self._log.warning("discovery_failed", discovery=name, error=repr(error))
            return
        self._ask(lambda: self._tell(name, found))

    def _tell(self, name: str, found: Mapping[str, DiscoveredUnit]) -> None:
        owners = self._owners
        # Who is gone makes room first: somebody else may have the address now.
        gone = [one for one, owner in owners.items() if owner == name and one not in found]
        for context in gone:
            del owners[context]
            self._refused.pop(context, None)
            self._units.delete(context)
        for context, unit in found.items():
            if owners.setdefault(context, name) == name:
                self._start(name, unit)

    def _start(self, name: str, unit: DiscoveredUnit) -> None:
        context = unit.context_id
        if self._refused.get(context) == unit and self._units.problem(
            context,
            unit.addresses,
            unit.tags,
            interfaces=unit.interfaces,
            cgroups=unit.cgroups,
        ):
            return  # nothing has changed about that
        try:
            self._units.start(
                context,
                unit.addresses,
                unit.tags,
                interfaces=unit.interfaces,
                cgroups=unit.cgroups,
            )
        except ConfigError as error:
            self._refused[context] = unit
            self._log.warning("unit_refused", discovery=name, unit=context, reason=str(error))
        else:
            self._refused.pop(context, None)

    def _run(self) -> None:
        due = dict.fromkeys((name for name, _, _ in self._discoverers), 0.0)
        while not self._ending.is_set():
            now = time.monotonic()
            for name, discoverer, seconds in self._discoverers:
                if now >= due[name]:
                    due[name] = now + seconds
                    self.look(name, discoverer)
            self._ending.wait(max(0.05, min(due.values()) - time.monotonic()))
