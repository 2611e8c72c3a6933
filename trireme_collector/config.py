"""The configuration file of an agent: core sections, and those of every collector's plugin.

::

    instance = "host-7"

    [plugins]
    allow = ["syslog", "file"]

    [aggregation]
    window_seconds = 1.0

    [delivery]
    queue_records = 100000

    [enrichment.lookups.objects]                # see `trireme_collector.enrichment`
    type = "kubernetes-file"
    path = "/etc/trireme/objects.toml"

    [collectors.archive]
    type = "file"                               # the collector's own name by default
    path = "/var/log/trireme/flows.json"
    delivery = { batch_records = 1000 }
    filter = { deny = ['destination.port == 53'] }

An agent adds sections of its own: it derives from `Configuration` and gives that to `load_config`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Generic, TypeAlias, TypeVar

import msgspec

from trireme_collector._config_collectors import (
    DEFAULT_COLLECTOR,
    CollectorConfig,
    read_collectors,
)
from trireme_collector._config_lookups import read_lookups
from trireme_collector._host_name import host_name
from trireme_collector._redaction import redact
from trireme_collector.aggregation import AggregationConfig
from trireme_collector.delivery import DeadLetterFile, DeliveryConfig, adapt
from trireme_collector.enrichment import Enrichment, EnrichmentConfig, LookupConfig
from trireme_collector.errors import ConfigError, PluginError, TriremeError
from trireme_collector.hookspecs import CollectorContext
from trireme_collector.metrics import MetricsConfig
from trireme_collector.pipeline import build_pipeline
from trireme_collector.registry import Registry
from trireme_collector.strict_toml import load_document

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from trireme_collector.delivery import Adapter
    from trireme_collector.pipeline import Pipeline
    from trireme_collector.strict_toml import Document

__all__ = [
    "DEFAULT_COLLECTOR",
    "CollectorConfig",
    "Configuration",
    "LoadedConfiguration",
    "PluginSelection",
    "load_config",
    "redact",
]

InstanceName: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[!-~]{1,255}$(?!\n)",
        extra={"expected": "1 to 255 visible ASCII characters without a space"},
    ),
]
CollectorName: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$(?!\n)",
        extra={"expected": "a name of letters, digits, '-', '_' and '.'"},
    ),
]
PluginName: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class PluginSelection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which plugins may load.

    Attributes:
        allow: The plugins that may load, built-in ones too; all of them when it is not given.
        deny: The plugins that may not, whatever `allow` says.
    """

    allow: list[PluginName] | msgspec.UnsetType = msgspec.UNSET
    deny: list[PluginName] = []


class Configuration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The core sections of a configuration file.

    Attributes:
        instance: The name of this agent in its records; the host's name by default.
        checkpoint_seconds: How often all counts become a record; 0 for never.
        plugins: Which plugins may load.
        aggregation: How flows that are alike become one record.
        delivery: How records wait for their collectors; a collector may say otherwise.
        metrics: Where metrics and health can be read.
        enrichment: Who knows what stands behind addresses, for flow logs.
        collectors: Where records go. Without any, they go to the local syslog.
    """

    instance: InstanceName = msgspec.field(default_factory=host_name)
    checkpoint_seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 60.0
    plugins: PluginSelection = PluginSelection()
    aggregation: AggregationConfig = AggregationConfig()
    delivery: DeliveryConfig = DeliveryConfig()
    metrics: MetricsConfig = MetricsConfig()
    enrichment: EnrichmentConfig = EnrichmentConfig()
    collectors: dict[CollectorName, dict[str, object]] = {}


ConfigurationT = TypeVar("ConfigurationT", bound=Configuration)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LoadedConfiguration(Generic[ConfigurationT]):
    """A configuration file, checked.

    Attributes:
        path: The file.
        settings: Its sections; `collectors` has the form of the file there.
        collectors: The collectors, checked by the types of their plugins.
        registry: The plugins that may load.
        lookups: Who enriches flow logs, checked likewise.
        places: Where the table of each collector begins, as ``FILE:LINE:COLUMN``.
    """

    path: Path
    settings: ConfigurationT
    collectors: tuple[CollectorConfig, ...]
    registry: Registry
    lookups: tuple[LookupConfig, ...] = ()
    places: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def resolve(self, path: str) -> Path:
        """Give a path of the file, seen from the directory that the file is in."""
        return self.path.parent / path

    @property
    def in_memory(self) -> tuple[str, ...]:
        """The collectors whose records wait in memory, and are lost with the process."""
        return tuple(
            collector.name
            for collector in self.collectors
            if not (collector.delivery.state_directory and collector.delivery.spool.enabled)
        )

    def pipeline(self) -> Pipeline:
        """Build the pipeline with every collector; nothing is opened or started.

        Raises:
            ConfigError: A collector refuses its options.
            PluginError: A collector cannot be built.
        """
        return build_pipeline(
            {c.name: self._table(c) for c in self.collectors},
            self.registry,
            aggregation=self.settings.aggregation,
            delivery=self.settings.delivery,
            instance=self.settings.instance,
            checkpoint_seconds=self.settings.checkpoint_seconds,
            enrichment=self.enrichment(),
        )

    def enrichment(self) -> Enrichment | None:
        """Give what enriches flow logs; nobody is asked before it is opened. None without any."""
        return Enrichment(self.settings.enrichment, self.lookups) if self.lookups else None

    def probe_outputs(self) -> list[tuple[str, TriremeError]]:
        """Open every collector as a start would, close it again, and give what went wrong.

        Nothing is delivered. A file that was not there is made.

        Returns:
            The name of each collector that cannot be opened, and why.
        """
        wrong: list[tuple[str, TriremeError]] = []
        sound: list[CollectorConfig] = []
        for collector in self.collectors:
            try:
                self._open(collector).call("close")
            except TriremeError as error:
                wrong.append((collector.name, error))
            except Exception as error:  # noqa: BLE001  a factory is a plugin's code
                reason = f"{type(error).__name__}: {error}; this is a mistake in the plugin"
                wrong.append((collector.name, PluginError(reason)))
            else:
                sound.append(collector)
        return wrong + self._probe_together(sound)

    def _open(self, collector: CollectorConfig) -> Adapter:
        context = CollectorContext(
            name=collector.name,
            instance=self.settings.instance,
            find_format=self.registry.format_spec,
        )
        delivery = collector.delivery
        if delivery.state_directory:
            DeadLetterFile(
                delivery.state_directory, collector.name, delivery.dead_letter_bytes
            ).open()
        opened = adapt(collector.spec.factory(collector.options, context), name=collector.name)
        opened.open()
        return opened

    def _probe_together(self, sound: list[CollectorConfig]) -> list[tuple[str, TriremeError]]:
        """Find collectors of one type that open alone and not beside each other."""
        wrong: list[tuple[str, TriremeError]] = []
        kinds = Counter(collector.spec.name for collector in sound)
        with contextlib.ExitStack() as beside:
            for collector in sound:
                if kinds[collector.spec.name] == 1:
                    continue
                try:
                    beside.callback(self._open(collector).call, "close")
                except ConfigError as error:
                    wrong.append((collector.name, ConfigError(str(error))))
                except TriremeError:
                    continue  # a receiver that went away meanwhile; alone, it could be opened
        return wrong

    def probe_lookups(self) -> TriremeError | None:
        """Ask for every look-up as a start would, end it again, and give what went wrong."""
        enrichment = self.enrichment()
        if enrichment is None:
            return None
        try:
            enrichment.open()
        except TriremeError as error:
            return error
        enrichment.close()
        return None

    def _table(self, collector: CollectorConfig) -> dict[str, object]:
        written = self.settings.collectors.get(collector.name, {})
        kind, delivery, chosen = collector.spec.name, collector.delivery, collector.filter
        return {**written, "type": kind, "delivery": delivery, "filter": chosen}

    def redacted(self) -> object:
        """Give the settings as plain values that may be shown: without secrets."""
        return redact(msgspec.to_builtins(self.settings, enc_hook=str))


def load_config(
    path: str | os.PathLike[str],
    kind: type[ConfigurationT],
    *,
    registry: Registry | None = None,
    whole: bool = True,
) -> LoadedConfiguration[ConfigurationT]:
    """Read a configuration file.

    Args:
        path: The file.
        kind: `Configuration`, or a type that adds sections to it.
        registry: The plugins to use instead of the installed ones that the file allows.
        whole: Whether sections that `kind` does not know are mistakes. A command that needs
            a part of the file leaves the others to those who read them.

    Returns:
        The configuration.

    Raises:
        ConfigError: The file cannot be read or has mistakes; all of them are listed.
        PluginError: The only mistakes are plugins that are unknown, blocked or broken.
    """
    document = load_document(path, refuse_world_writable=True)
    if not whole:
        for key in document.data.keys() - set(kind.__struct_encode_fields__):
            del document.data[key]
    document.convert((), kind)
    settings = document.part((), kind, without=("collectors",))
    if registry is None:
        registry = _registry(document)
    collectors, plugin_errors = read_collectors(document, registry)
    lookups, lookup_errors = read_lookups(document, registry)
    plugin_errors += lookup_errors
    _raise_mistakes(document, plugin_errors)
    if settings is None:  # part() gives None only where a problem was noted, and was raised
        raise AssertionError("a configuration without a value and without a problem")
    tables = document.get(("collectors",))
    if isinstance(tables, dict):
        settings = msgspec.structs.replace(settings, collectors=tables)
    return LoadedConfiguration(
        path=Path(path),
        settings=settings,
        collectors=collectors,
        registry=registry,
        lookups=lookups,
        places={
            name: "{}:{}:{}".format(document.name, *document.position(("collectors", name)))
            for name in settings.collectors
        },
    )


def _registry(document: Document) -> Registry:
    """Obey the allow and deny lists even where other parts of the file have mistakes."""
    selection = document.part(("plugins",), PluginSelection) if "plugins" in document.data else None
    if selection is None:
        return Registry()
    allow = None if isinstance(selection.allow, msgspec.UnsetType) else selection.allow
    return Registry(allow=allow, deny=selection.deny)


def _raise_mistakes(document: Document, complaints: list[str]) -> None:
    problems = document.problems
    if problems and complaints:
        lines = [*map(str, problems), *complaints]
        raise ConfigError("\n".join(lines), problems=lines)
    document.raise_problems()
    if complaints:
        raise PluginError("\n".join(complaints))
