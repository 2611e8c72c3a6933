"""Names for addresses: the Kubernetes fields of flow logs and conversations."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from trireme_collector.netobserv._lookup_cache import LookupCache

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trireme_collector.netobserv._lookup_cache import ObjectLookup

__all__ = ["DEFAULT_INFRASTRUCTURE", "Enricher"]

DEFAULT_INFRASTRUCTURE = ("netobserv", "openshift")
"""Namespaces that begin so belong to the cluster, not to an application."""

# The service of every cluster's own interface stands in a namespace of applications.
_CLUSTER_SERVICES = frozenset({("default", "kubernetes"), ("default", "openshift")})
_INGRESS, _EGRESS, _INNER = 0, 1, 2


class Enricher:
    """Adds to records what stands behind their addresses.

    Answers are kept for a while, also that there is none, so that a look-up that asks somebody
    else is not in the way of every record. The most recently used ones are kept. Several threads
    may use one.

    Attributes:
        caches: The look-ups with what they said, in the order in which they are asked.
    """

    def __init__(
        self,
        *lookups: ObjectLookup,
        max_entries: int = 65_536,
        lifetime_ms: int = 60_000,
        infrastructure: Sequence[str] = DEFAULT_INFRASTRUCTURE,
        on_failure: Callable[[Exception], object] | None = None,
    ) -> None:
        """Wrap look-ups.

        Args:
            lookups: Each answers for one address. The first that knows it is believed.
            max_entries: How many answers of each are kept at most.
            lifetime_ms: How long an answer is believed, unless the look-up has an attribute
                ``lifetime_ms`` that says so.
            infrastructure: Beginnings of the namespaces that belong to the cluster.
            on_failure: Is told why a look-up failed; the record stays as it is.
        """
        self.caches = tuple(
            LookupCache(
                lookup, max_entries=max_entries, lifetime_ms=lifetime_ms, on_failure=on_failure
            )
            for lookup in lookups
        )
        self._infrastructure = tuple(infrastructure)

    @property
    def hits(self) -> int:
        """How many answers were known."""
        return sum(cache.hits for cache in self.caches)

    @property
    def misses(self) -> int:
        """How many had to be looked up."""
        return sum(cache.misses for cache in self.caches)

    @property
    def failures(self) -> int:
        """How many look-ups failed."""
        return sum(cache.failures for cache in self.caches)

    def enrich(self, record: Mapping[str, object], now_ms: int) -> dict[str, object]:
        """Give a copy of a record with the fields that are known about its ends.

        Args:
            record: A flow log or a conversation record.
            now_ms: The time in milliseconds.
        """
        enriched = dict(record)
        for side in ("Src", "Dst"):
            address = record.get(f"{side}Addr")
            known = self._known(address, now_ms) if isinstance(address, str) else None
            if known:
                enriched |= {f"{side}K8S_{name}": value for name, value in known.items()}
        _turn(enriched)
        enriched["K8S_FlowLayer"] = "app" if self._is_application(enriched) else "infra"
        return enriched

    def close(self) -> None:
        """End the look-ups that have an end.

        Raises:
            Exception: One of them cannot; the others are ended all the same.
        """
        with contextlib.ExitStack() as stack:
            for cache in self.caches:
                close = getattr(cache.lookup, "close", None)
                if close is not None:
                    stack.callback(close)

    def _known(self, address: str, now_ms: int) -> dict[str, str] | None:
        for cache in self.caches:
            fields = cache.fields_of(address, now_ms)
            if fields is not None:
                return fields
        return None

    def _is_application(self, record: Mapping[str, object]) -> bool:
        for side in ("Src", "Dst"):
            namespace = record.get(f"{side}K8S_Namespace")
            if not isinstance(namespace, str) or namespace.startswith(self._infrastructure):
                continue
            service = (namespace, record.get(f"{side}K8S_Name"))
            if record.get(f"{side}K8S_Type") != "Service" or service not in _CLUSTER_SERVICES:
                return True
        return False


def _turn(record: dict[str, object]) -> None:
    """Say the direction as the node sees it, if it is known on which node each end is."""
    agent = record.get("AgentIP")
    if not isinstance(agent, str):
        return
    source, destination = record.get("SrcK8S_HostIP"), record.get("DstK8S_HostIP")
    if source == destination:
        if source:
            record["FlowDirection"] = _INNER
    elif source == agent:
        record["FlowDirection"] = _EGRESS
    elif destination == agent:
        record["FlowDirection"] = _INGRESS
