"""Objects of the cluster's API, as far as they tell what stands behind addresses."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from trireme_collector.netobserv import KubernetesObject

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Event", "Item", "Kind", "Listing", "Meta", "addresses_of", "object_of", "text_of"]

Kind: TypeAlias = Literal["pods", "services", "nodes"]
"""The kinds of objects that have addresses."""

_ZONE = "topology.kubernetes.io/zone"
_TEMPLATE_HASH = "pod-template-hash"
_OVER = frozenset({"Succeeded", "Failed"})
_TYPES: dict[Kind, str] = {"pods": "Pod", "services": "Service", "nodes": "Node"}


class _Part(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename="camel"):
    """Whatever else stands there is passed over."""


class _Owner(_Part, frozen=True, kw_only=True, gc=False):
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class Meta(_Part, frozen=True, kw_only=True, gc=False):
    """What is said about an object or a list.

    Attributes:
        name: The name of the object.
        namespace: Its namespace.
        uid: What tells it from others of its name.
        resource_version: Which state of the cluster this is.
        labels: Its labels.
        owner_references: What it belongs to.
        next_page: Where the next page of a list is, if there is one.
    """

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    owner_references: list[_Owner] | None = None
    next_page: str | None = msgspec.field(default=None, name="continue")


class _Spec(_Part, frozen=True, kw_only=True, gc=False):
    node_name: str = ""
    host_network: bool | None = None
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_ips: list[str] | None = msgspec.field(default=None, name="clusterIPs")
    external_ips: list[str] | None = msgspec.field(default=None, name="externalIPs")


class _Ip(_Part, frozen=True, kw_only=True, gc=False):
    ip: str = ""


class _NodeAddress(_Part, frozen=True, kw_only=True, gc=False):
    type: str = ""
    address: str = ""


class _Balancer(_Part, frozen=True, kw_only=True, gc=False):
    ingress: list[_Ip] | None = None


class _Status(_Part, frozen=True, kw_only=True, gc=False):
    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: list[_Ip] | None = msgspec.field(default=None, name="podIPs")
    host_ip: str = msgspec.field(default="", name="hostIP")
    addresses: list[_NodeAddress] | None = None
    load_balancer: _Balancer | None = None


class Item(_Part, frozen=True, kw_only=True, gc=False):
    """A pod, a service or a node.

    Attributes:
        metadata: What is said about it.
        spec: What it should be.
        status: What it is.
        code: The code of an error, which comes in the place of an object.
        message: Its text.
    """

    metadata: Meta = Meta()
    spec: _Spec = _Spec()
    status: _Status | str | None = None
    code: int = 0
    message: str = ""


class Listing(_Part, frozen=True, kw_only=True, gc=False):
    """A page of a list.

    Attributes:
        metadata: What is said about it.
        items: The objects.
    """

    metadata: Meta = Meta()
    items: list[Item] | None = None


class Event(_Part, frozen=True, kw_only=True, gc=False):
    """A change.

    Attributes:
        type: ``ADDED``, ``MODIFIED``, ``DELETED``, ``BOOKMARK`` or ``ERROR``.
        item: The object after the change, or before its end.
    """

    type: str
    item: Item = msgspec.field(default=Item(), name="object")


def text_of(address: str) -> str | None:
    """Write an address as flow logs do; None if it is none."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def addresses_of(kind: Kind, item: Item) -> tuple[str, ...]:
    """List the addresses behind which an object stands.

    A pod in the network of its node has none of its own; neither has one that is over.
    """
    found = (text_of(address) for address in _raw_addresses(kind, item) if address)
    return tuple(dict.fromkeys(address for address in found if address is not None))


def object_of(kind: Kind, item: Item) -> KubernetesObject:
    """Say what an object is, without the zone of a pod, which only its node knows."""
    meta, status = item.metadata, item.status
    owner_name, owner_type = _owner_of(meta)
    host_ip = host_name = zone = ""
    if isinstance(status, _Status):
        if kind == "pods":
            host_ip, host_name = status.host_ip, item.spec.node_name
        elif kind == "nodes":
            inner = (a.address for a in status.addresses or () if a.type == "InternalIP")
            host_ip, host_name = next(inner, ""), meta.name
    if kind == "nodes":
        zone = (meta.labels or {}).get(_ZONE, "")
    return KubernetesObject(
        name=meta.name,
        type=_TYPES[kind],
        namespace=meta.namespace,
        owner_name=owner_name,
        owner_type=owner_type,
        host_ip=host_ip,
        host_name=host_name,
        zone=zone,
    )


def _raw_addresses(kind: Kind, item: Item) -> Iterator[str]:
    spec, status = item.spec, item.status
    if kind == "services":
        yield spec.cluster_ip
        yield from spec.cluster_ips or ()
        yield from spec.external_ips or ()
    if not isinstance(status, _Status):
        return
    if kind == "pods" and not spec.host_network and status.phase not in _OVER:
        yield status.pod_ip
        yield from (each.ip for each in status.pod_ips or ())
    elif kind == "services" and status.load_balancer is not None:
        yield from (each.ip for each in status.load_balancer.ingress or ())
    elif kind == "nodes":
        yield from (each.address for each in status.addresses or ())


def _owner_of(meta: Meta) -> tuple[str, str]:
    """Give the owner that people know: the Deployment, not its ReplicaSet."""
    owners = meta.owner_references or ()
    owner = next((owner for owner in owners if owner.controller), None)
    if owner is None:
        return "", ""
    suffix = f"-{(meta.labels or {}).get(_TEMPLATE_HASH, '')}"
    if owner.kind == "ReplicaSet" and len(suffix) > 1 and owner.name.endswith(suffix):
        return owner.name[: -len(suffix)], "Deployment"
    return owner.name, owner.kind
