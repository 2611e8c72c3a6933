"""Names for addresses: the Kubernetes fields of flow logs and conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["DEFAULT_INFRASTRUCTURE", "Enricher", "KubernetesObject", "ObjectLookup"]

DEFAULT_INFRASTRUCTURE = ("netobserv", "openshift")
"""Namespaces that begin so belong to the cluster, not to an application."""

# The service of every cluster's own interface stands in a namespace of applications.
_CLUSTER_SERVICES = frozenset({("default", "kubernetes"), ("default", "openshift")})
_INGRESS, _EGRESS, _INNER = 0, 1, 2


class KubernetesObject(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What stands behind an address.

    Attributes:
        name: Its name.
        type: ``Pod``, ``Service`` or ``Node``.
        namespace: Its namespace; nodes have none.
        owner_name: Its owner at the top; itself if empty.
        owner_type: The kind of the owner.
        host_ip: The address of its node.
        host_name: The name of its node.
        zone: The zone of its node.
        network_name: Its network.
    """

    name: str
    type: str
    namespace: str = ""
    owner_name: str = ""
    owner_type: str = ""
    host_ip: str = ""
    host_name: str = ""
    zone: str = ""
    network_name: str = ""


@runtime_checkable
class ObjectLookup(Protocol):
    """What an enricher of a plugin can do."""

    def find(self, address: str) -> KubernetesObject | None:
        """Give what stands behind an address, or None if nobody knows."""


class Enricher:
    """Adds to records what stands behind their addresses.

    Answers are kept for a while, also that there is none, so that a look-up that asks somebody
    else is not in the way of every record. The most recently used ones are kept.

    Attributes:
        hits: How many answers were known.
        misses: How many had to be looked up.
        failures: How many look-ups failed; the record stays as it is.
    """

    def __init__(
        self,
        lookup: ObjectLookup,
        *,
        max_entries: int = 65_536,
        lifetime_ms: int = 60_000,
        infrastructure: Sequence[str] = DEFAULT_INFRASTRUCTURE,
    ) -> None:
        """Wrap a look-up.

        Args:
            lookup: Answers for one address.
            max_entries: How many answers are kept at most.
            lifetime_ms: How long an answer is believed, unless the look-up has an attribute
                ``lifetime_ms`` that says so.
            infrastructure: Beginnings of the namespaces that belong to the cluster.
        """
        self.hits = self.misses = self.failures = 0
        self._lookup = lookup
        self._lifetime_ms = int(getattr(lookup, "lifetime_ms", lifetime_ms))
        self._infrastructure = tuple(infrastructure)
        self._half = max(1, max_entries // 2)
        self._young: dict[str, tuple[int, dict[str, str] | None]] = {}
        self._old: dict[str, tuple[int, dict[str, str] | None]] = {}

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
        """End the look-up, if it has an end."""
        close = getattr(self._lookup, "close", None)
        if close is not None:
            close()

    def _known(self, address: str, now_ms: int) -> dict[str, str] | None:
        found = self._young.get(address)
        if found is None and (found := self._old.pop(address, None)) is not None:
            self._keep(address, found)
        if found is not None and found[0] - self._lifetime_ms <= now_ms < found[0]:
            self.hits += 1
            return found[1]
        self.misses += 1
        try:
            answer = self._lookup.find(address)
        except Exception:  # noqa: BLE001  a plugin may raise anything; the record is worth more than its names
            self.failures += 1
            answer = None
        fields = None if answer is None else _fields(answer)
        self._keep(address, (now_ms + self._lifetime_ms, fields))
        return fields

    def _keep(self, address: str, answer: tuple[int, dict[str, str] | None]) -> None:
        if len(self._young) >= self._half and address not in self._young:
            self._old, self._young = self._young, {}
        self._young[address] = answer

    def _is_application(self, record: Mapping[str, object]) -> bool:
        for side in ("Src", "Dst"):
            namespace = record.get(f"{side}K8S_Namespace")
            if not isinstance(namespace, str) or namespace.startswith(self._infrastructure):
                continue
            service = (namespace, record.get(f"{side}K8S_Name"))
            if record.get(f"{side}K8S_Type") != "Service" or service not in _CLUSTER_SERVICES:
                return True
        return False


def _fields(found: KubernetesObject) -> dict[str, str]:
    """List the fields of a match, without the side; some are there even if they are empty."""
    fields = {
        "Name": found.name,
        "Type": found.type,
        "OwnerName": found.owner_name or found.name,
        "OwnerType": found.owner_type or found.type,
    }
    if found.namespace:
        fields["Namespace"] = found.namespace
    if found.host_ip:
        fields["HostIP"] = found.host_ip
        if found.host_name:
            fields["HostName"] = found.host_name
    if found.network_name:
        fields["NetworkName"] = found.network_name
    if found.zone:
        fields["Zone"] = found.zone
    return fields


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
