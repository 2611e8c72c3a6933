"""The parts of Kubernetes objects that a policy is made of, as they are written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from trireme_collector.strict_toml import Unfit
from trireme_datapath.policy import spellings as spell

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ContainerPort",
    "EgressSpec",
    "IngressSpec",
    "IpBlockSpec",
    "Labels",
    "Name",
    "PeerSpec",
    "PolicySpec",
    "PortSpec",
    "SelectorSpec",
    "Settings",
    "check_address",
]

_MAX_LABEL = 63
_MAX_LABEL_PREFIX = 253
_MAX_PORT_NAME = 15
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")


def _checked(check: Callable[[Any], object], expected: str) -> Meta:
    return Meta(extra={"validate": check, "expected": expected})


def _check_name(text: str) -> object:
    if len(text) > _MAX_LABEL_PREFIX or not _SUBDOMAIN.fullmatch(text):
        raise Unfit("a name of lower case letters, digits, - and .")
    return text


def _check_label_key(text: str) -> object:
    prefix, slash, name = text.rpartition("/")
    if not _LABEL_NAME.fullmatch(name):
        raise Unfit('the key of a label such as "app" or "example.com/tier"')
    if slash and (len(prefix) > _MAX_LABEL_PREFIX or not _SUBDOMAIN.fullmatch(prefix)):
        raise Unfit("a DNS name before the / of a label's key")
    return text


def _check_label_value(text: str) -> object:
    if text and not _LABEL_NAME.fullmatch(text):
        raise Unfit(f"the value of a label: up to {_MAX_LABEL} letters, digits, -, _ and .")
    return text


def _check_port(value: int | str) -> object:
    if isinstance(value, int):
        if not 1 <= value <= 0xFFFF:
            raise Unfit("a port from 1 to 65535")
    elif len(value) > _MAX_PORT_NAME or not _PORT_NAME.fullmatch(value):
        near = value if value.isascii() and value.isdigit() else ""
        raise Unfit("a port from 1 to 65535, or the name of one", nearest=near)
    return value


def check_address(text: str) -> object:
    """Accept one address, no network."""
    if not spell.parse_prefix(text).is_host:
        raise Unfit("one address", found="a network")
    return text


Name: TypeAlias = Annotated[str, _checked(_check_name, "a name")]
LabelKey: TypeAlias = Annotated[str, _checked(_check_label_key, "the key of a label")]
LabelValue: TypeAlias = Annotated[
    str, _checked(_check_label_value, "the value of a label, in quotes if it looks like a number")
]
Labels: TypeAlias = dict[LabelKey, LabelValue]
Cidr: TypeAlias = Annotated[str, _checked(spell.parse_prefix, "a network such as 10.0.0.0/8")]
Address: TypeAlias = Annotated[str, _checked(check_address, "an address")]
Port: TypeAlias = Annotated[int | str, _checked(_check_port, "a port or its name")]
PortNumber: TypeAlias = Annotated[int, Meta(ge=1, le=0xFFFF)]
Protocol: TypeAlias = Literal["TCP", "UDP", "SCTP"]


class RequirementSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a selector asks of one label."""

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[LabelValue] = []


class SelectorSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A selection by labels; all of it must hold, and nothing selects everything."""

    match_labels: Labels = {}
    match_expressions: list[RequirementSpec] = []


class IpBlockSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A network without some of its parts."""

    cidr: Cidr
    without: list[Cidr] = msgspec.field(name="except", default=[])


class PeerSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The other side: selected pods, or addresses."""

    pod_selector: SelectorSpec | UnsetType = UNSET
    namespace_selector: SelectorSpec | UnsetType = UNSET
    ip_block: IpBlockSpec | UnsetType = UNSET


class PortSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Ports of one protocol."""

    protocol: Protocol = "TCP"
    port: Port | UnsetType = UNSET
    end_port: PortNumber | UnsetType = UNSET


class IngressSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who may call, and which ports."""

    peers: list[PeerSpec] = msgspec.field(name="from", default=[])
    ports: list[PortSpec] = []


class EgressSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who may be called, and which ports."""

    peers: list[PeerSpec] = msgspec.field(name="to", default=[])
    ports: list[PortSpec] = []


class PolicySpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The ``spec`` of a NetworkPolicy."""

    pod_selector: SelectorSpec
    policy_types: list[Literal["Ingress", "Egress"]] = []
    ingress: list[IngressSpec] = []
    egress: list[EgressSpec] = []


class ContainerPort(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A port that a container of a pod names."""

    name: str = ""
    protocol: Protocol = "TCP"
    number: PortNumber


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the objects of a cluster do not say; our own object."""

    api_version: str
    kind: str
    name: Annotated[str, _checked(spell.check_word, "a text")] = ""
    node: Annotated[str, _checked(_check_name, "the name of a node")] = ""
    node_addresses: list[Address] = []
    unmatched: Literal["accept", "reject"] = "reject"
    midstream: Literal["reject", "judge"] = "reject"
    observe_only: bool = False
