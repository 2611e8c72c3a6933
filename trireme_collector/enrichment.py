"""Names for the addresses in what collectors write: the look-ups of the configuration.

::

    [enrichment]
    lifetime_seconds = 60

    [enrichment.lookups.static]
    type = "kubernetes-file"                    # the look-up's own name by default
    path = "/etc/trireme/objects.toml"

A collector that writes flow logs in the format of NetObserv is given `Enrichment.enrich` in its
context.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Annotated, Generic, TypeAlias, TypeVar

import msgspec

from trireme_collector._pipeline_status import LookupStatus
from trireme_collector.delivery import FailureReporter
from trireme_collector.errors import ConfigError, PluginError, TriremeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trireme_collector.hookspecs import EnricherSpec
    from trireme_collector.netobserv import Enricher, ObjectLookup
    from trireme_collector.records import Record

__all__ = ["Enrichment", "EnrichmentConfig", "LookupConfig", "LookupStatus", "SteadyForms"]

LookupName: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$(?!\n)",
        extra={"expected": "a name of letters, digits, '-', '_' and '.'"},
    ),
]
NamespaceStart: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]

_REPORT_NS = 60 * 1_000_000_000


class EnrichmentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``enrichment``: who knows what stands behind addresses.

    Attributes:
        lookups: Who is asked, in this order; the first that knows an address is believed. Each
            is a table with ``type``, the name of a look-up, and its options.
        max_entries: How many answers of each look-up are kept.
        lifetime_seconds: How long an answer is believed, unless its look-up says otherwise.
        infrastructure: Namespaces that begin so belong to the cluster, not to an application.
    """

    lookups: dict[LookupName, dict[str, object]] = {}
    max_entries: Annotated[int, msgspec.Meta(ge=2, le=100_000_000)] = 65_536
    lifetime_seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 60.0
    infrastructure: list[NamespaceStart] = msgspec.field(
        default_factory=lambda: ["netobserv", "openshift"]
    )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LookupConfig:
    """One look-up as it was configured, checked.

    Attributes:
        name: Its name, from the configuration.
        spec: What its plugin offers.
        options: The options of its plugin.
    """

    name: str
    spec: EnricherSpec[msgspec.Struct]
    options: msgspec.Struct


class Enrichment:
    """The look-ups of a configuration, from the start of a pipeline to its end.

    Args:
        config: How answers are kept.
        lookups: Who is asked.
        now_ms: The time of a clock that does not jump, in milliseconds.
        threads: Whether `reopen` leaves the work to a thread.
    """

    def __init__(
        self,
        config: EnrichmentConfig,
        lookups: Sequence[LookupConfig],
        *,
        now_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
        threads: bool = True,
    ) -> None:
        """Keep the configuration; ask nobody."""
        self._config = config
        self._lookups = tuple(lookups)
        self._now_ms = now_ms
        self._threads = threads
        self._enricher: Enricher | None = None
        self._reporter = FailureReporter("enrichment", _REPORT_NS)
        self._opening = threading.Lock()
        self._is_closed = False

    def open(self) -> None:
        """Build the look-ups. One may wait a moment for whom it asks.

        Raises:
            ConfigError: A look-up refuses its options; ``problems`` names each.
            PluginError: A plugin failed by a mistake of its own.
        """
        with self._opening:
            enricher = self._build()
            if self._is_closed:
                enricher.close()
                return
            old, self._enricher = self._enricher, enricher
        self._end(old)

    def reopen(self) -> None:
        """Build them anew: files are read again. If that fails, the old ones stay."""
        if self._enricher is None:
            return
        if self._threads:
            threading.Thread(target=self._reopen, name="trireme-enrichment", daemon=True).start()
        else:
            self._reopen()

    def enrich(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Give a copy of a flow log with what is known of its ends. It never raises."""
        enricher = self._enricher
        return dict(fields) if enricher is None else enricher.enrich(fields, self._now_ms())

    def status(self) -> tuple[LookupStatus, ...]:
        """Give the account of each look-up."""
        enricher = self._enricher
        if enricher is None:
            return tuple(LookupStatus(name=lookup.name) for lookup in self._lookups)
        return tuple(
            LookupStatus(
                name=lookup.name,
                hits=cache.hits,
                misses=cache.misses,
                failures=cache.failures,
                entries=len(cache),
                last_error=cache.last_error,
            )
            for lookup, cache in zip(self._lookups, enricher.caches, strict=True)
        )

    def close(self) -> None:
        """End the look-ups; records go without names from then on."""
        self._is_closed = True
        old, self._enricher = self._enricher, None
        self._end(old)

    def _reopen(self) -> None:
        try:
            self.open()
        except TriremeError as error:
            self._reporter.report("lookups_kept", error, time.monotonic_ns())

    def _build(self) -> Enricher:
        # The format brings a good part of the library along, and few configurations ask for it.
        from trireme_collector.netobserv import Enricher  # noqa: PLC0415  see above

        built: list[ObjectLookup] = []
        problems: list[str] = []
        for lookup in self._lookups:
            try:
                built.append(_build_lookup(lookup))
            except ConfigError as error:
                path = f"enrichment.lookups.{lookup.name}"
                problems += [f"{path}: {each}" for each in error.problems or (str(error),)]
        enricher = Enricher(
            *built,
            max_entries=self._config.max_entries,
            lifetime_ms=round(self._config.lifetime_seconds * 1000),
            infrastructure=self._config.infrastructure,
            on_failure=self._report,
        )
        if problems:
            self._end(enricher)
            raise ConfigError("\n".join(problems), problems=problems)
        return enricher

    def _report(self, error: Exception) -> None:
        meaning = "records go without the names that it would have known"
        self._reporter.report("lookup_failed", error, time.monotonic_ns(), meaning=meaning)

    def _end(self, enricher: Enricher | None) -> None:
        if enricher is None:
            return
        try:
            enricher.close()
        except Exception as error:  # noqa: BLE001  a plugin may raise anything, and nothing depends on it any more
            self._reporter.report("lookup_not_closed", error, time.monotonic_ns())


def _build_lookup(lookup: LookupConfig) -> ObjectLookup:
    from trireme_collector.netobserv import ObjectLookup  # noqa: PLC0415  as above

    where = f"look-up {lookup.name!r}"
    try:
        built = lookup.spec.factory(lookup.options)
    except TriremeError:
        raise
    except Exception as error:
        msg = (
            f"{where}: the factory of plugin {lookup.spec.name!r} failed:"
            f" {type(error).__name__}: {error}; this is a mistake in the plugin"
        )
        raise PluginError(msg) from error
    if not isinstance(built, ObjectLookup):
        msg = (
            f"{where}: plugin {lookup.spec.name!r} made no look-up: it has no find(address);"
            " report it to its authors"
        )
        raise PluginError(msg)
    return built


FormT = TypeVar("FormT")


class SteadyForms(Generic[FormT]):
    """What records look like, kept until they are delivered.

    Names change. A record that goes out a second time has to look as it did the first time, or
    its receiver would take it for another one.
    """

    def __init__(self) -> None:
        """Keep nothing."""
        self._kept: list[tuple[Record, FormT]] = []

    def of(self, batch: Sequence[Record], render: Callable[[Record], FormT]) -> list[FormT]:
        """Render a batch, but for the records at its beginning that were rendered before."""
        kept = self._kept
        forms: list[FormT] = []
        for index, record in enumerate(batch):
            if index < len(kept) and kept[index][0] == record:
                forms.append(kept[index][1])
            else:
                forms.append(render(record))
        self._kept = list(zip(batch, forms, strict=True))
        return forms

    def forget(self, count: int) -> None:
        """Let go of the first records: they do not come again."""
        del self._kept[:count]
