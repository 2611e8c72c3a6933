"""Takes pods, namespaces and network policies out of the objects of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, cast

import msgspec
from msgspec import Meta

from trireme_collector.strict_toml import nearest, quote
from trireme_datapath.policy import spellings as spell
from trireme_datapath.policy._kubernetes_types import (
    ContainerPort,
    Labels,
    Name,
    PolicySpec,
    Settings,
    check_address,
)
from trireme_datapath.policy.model import Prefix  # noqa: TC001  msgspec reads the annotation

if TYPE_CHECKING:
    from trireme_collector.strict_toml import KeyPath
    from trireme_datapath.policy._yaml import YamlDocument

__all__ = ["NAME_LABEL", "SETTINGS_VERSION", "Cluster", "NetworkPolicy", "Pod", "read_cluster"]

NAME_LABEL: Final = "kubernetes.io/metadata.name"
"""The label that every namespace has: its own name."""
SETTINGS_VERSION: Final = "trireme-collector/v1"
_POLICY_VERSION: Final = "networking.k8s.io/v1"
_INTERFACE: Final = "trireme-collector/interface"
_CGROUP: Final = "trireme-collector/cgroup"
_KINDS: Final = ("Pod", "Namespace", "NetworkPolicy", "List", "PolicySettings")
_VERSIONS: Final = {
    "Pod": "v1",
    "Namespace": "v1",
    "List": "v1",
    "NetworkPolicy": _POLICY_VERSION,
    "PolicySettings": SETTINGS_VERSION,
}
_OBJECT_DEPTHS: Final = (2, 4)  # document[0], and document[0].items[0]
_OVER: Final = frozenset({"Succeeded", "Failed"})  # phases in which the address may be another's

Address = Annotated[str, Meta(extra={"validate": check_address, "expected": "an address"})]
Interface = Annotated[
    str, Meta(extra={"validate": spell.parse_interface, "expected": "the name of an interface"})
]
Cgroup = Annotated[
    str, Meta(extra={"validate": spell.parse_cgroup, "expected": "the path of a control group"})
]


class Pod(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A pod that has its own addresses.

    Attributes:
        ports: The numbers of the ports that its containers name, by protocol and name.
        path: Where it stands in the file.
    """

    name: str
    namespace: str
    labels: dict[str, str]
    addresses: tuple[Prefix, ...]
    interfaces: tuple[str, ...]
    cgroups: tuple[str, ...]
    node: str
    ports: dict[tuple[str, str], tuple[int, ...]]
    path: KeyPath

    @property
    def id(self) -> str:
        """Name it in the whole cluster."""
        return f"{self.namespace}/{self.name}"


class NetworkPolicy(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A network policy; `path` is where its spec stands."""

    name: str
    namespace: str
    spec: PolicySpec
    path: KeyPath


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """The objects of one file; `namespaces` are the labels of each by its name."""

    settings: Settings
    pods: list[Pod] = []
    policies: list[NetworkPolicy] = []
    namespaces: dict[str, dict[str, str]] = {}


def read_cluster(document: YamlDocument) -> Cluster:
    """Take the objects out of a document, noting every mistake in it."""
    return _Reader(document).cluster()


class _Reader:
    def __init__(self, document: YamlDocument) -> None:
        self._document = document
        self._owners: dict[tuple[str, str], KeyPath] = {}
        self._nulls: dict[KeyPath, list[KeyPath]] = {}
        for place in document.nulls:
            for depth in _OBJECT_DEPTHS:
                self._nulls.setdefault(place[:depth], []).append(place)
        self._settings: Settings | None = None
        self._pods: list[Pod] = []
        self._policies: list[NetworkPolicy] = []
        self._namespaces: dict[str, dict[str, str]] = {}

    def cluster(self) -> Cluster:
        for index in range(self._document.length(("document",))):
            self._object(("document", index))
        settings = self._settings or Settings(api_version=SETTINGS_VERSION, kind="PolicySettings")
        return Cluster(
            settings=settings,
            pods=self._pods,
            policies=self._policies,
            namespaces=self._namespaces,
        )

    def _object(self, path: KeyPath, *, listed: bool = False) -> None:
        document = self._document
        value = document.get(path)
        if value is None:
            return  # an empty document, as between two ---
        if not isinstance(value, dict):
            document.add_problem(path, expected="an object with apiVersion and kind")
            return
        kind = value.get("kind")
        if not isinstance(kind, str) or kind not in _KINDS or (listed and kind == "List"):
            near = nearest(kind, _KINDS) if isinstance(kind, str) else ""
            document.add_problem(
                (*path, "kind"),
                expected="one of " + ", ".join(_KINDS),
                nearest=near if near != kind else "",
            )
            return
        version = value.get("apiVersion")
        if version != _VERSIONS[kind]:
            document.add_problem((*path, "apiVersion"), expected=_VERSIONS[kind])
            return
        match kind:
            case "List":
                if not isinstance(value.get("items", []), list):
                    document.add_problem((*path, "items"), expected="an array")
                for index in range(document.length((*path, "items"))):
                    self._object((*path, "items", index), listed=True)
            case "Pod":
                self._pod(path)
            case "Namespace":
                self._namespace(path)
            case "NetworkPolicy":
                self._policy(path)
            case _:
                self._own_settings(path)

    def _own_settings(self, path: KeyPath) -> None:
        settings = None
        if self._refuse_nulls(path):
            settings = self._document.convert(path, Settings)
        if self._settings is not None:
            found = "PolicySettings again"
            self._document.add_problem((*path, "kind"), found=found, expected="it once")
        self._settings = settings or self._settings

    def _namespace(self, path: KeyPath) -> None:
        name = self._text((*path, "metadata", "name"), Name, required=True)
        if not name or not self._claim("namespace", name, path, path):
            return
        self._namespaces[name] = {**self._labels(path), NAME_LABEL: name}

    def _policy(self, path: KeyPath) -> None:
        name, namespace = self._names(path)
        place = (*path, "spec")
        spec = None
        sound = self._refuse_nulls(place)
        if sound and self._document.get(place) is None:
            self._document.add_problem(place, found="nothing", expected="a spec")
        elif sound:
            spec = self._document.convert(place, PolicySpec)
        if not self._claim("NetworkPolicy", f"{namespace}/{name}", path, path) or spec is None:
            return
        self._policies.append(NetworkPolicy(name=name, namespace=namespace, spec=spec, path=place))

    def _pod(self, path: KeyPath) -> None:
        document = self._document
        name, namespace = self._names(path)
        labels = self._labels(path)
        if document.get((*path, "spec", "hostNetwork")) is True:
            return  # its addresses are the node's, and policies do not select it
        if document.get((*path, "status", "phase")) in _OVER:
            return
        if not self._claim("Pod", f"{namespace}/{name}", path, path):
            return
        annotations = (*path, "metadata", "annotations")
        interface = self._text((*annotations, _INTERFACE), Interface)
        cgroup = self._text((*annotations, _CGROUP), Cgroup)
        if interface:
            self._claim("interface", interface, (*annotations, _INTERFACE), path)
        if cgroup:
            self._claim("control group", cgroup, (*annotations, _CGROUP), path)
        addresses = self._addresses(path)
        if not (addresses or interface or cgroup):
            return  # it does not run yet
        self._pods.append(
            Pod(
                name=name,
                namespace=namespace,
                labels=labels,
                addresses=addresses,
                interfaces=(interface,) if interface else (),
                cgroups=(spell.parse_cgroup(cgroup),) if cgroup else (),
                node=self._text((*path, "spec", "nodeName"), Name),
                ports=self._ports(path),
                path=path,
            )
        )

    def _addresses(self, path: KeyPath) -> tuple[Prefix, ...]:
        places = [(*path, "status", "podIP")]
        listed = (*path, "status", "podIPs")
        places += [(*listed, i, "ip") for i in range(self._document.length(listed))]
        found: dict[Prefix, KeyPath] = {}
        for place in places:
            text = self._text(place, Address)
            if text:
                found.setdefault(spell.parse_prefix(text), place)
        for prefix, place in found.items():
            self._claim("address", str(prefix), place, path)
        return tuple(found)

    def _ports(self, path: KeyPath) -> dict[tuple[str, str], tuple[int, ...]]:
        document = self._document
        found: dict[tuple[str, str], list[int]] = {}
        for group in ("initContainers", "containers"):
            containers = (*path, "spec", group)
            for index in range(document.length(containers)):
                ports = (*containers, index, "ports")
                for number in range(document.length(ports)):
                    port = self._port((*ports, number))
                    if port is not None and port.name:
                        found.setdefault((port.protocol, port.name), []).append(port.number)
        return {key: tuple(dict.fromkeys(numbers)) for key, numbers in found.items()}

    def _port(self, path: KeyPath) -> ContainerPort | None:
        """Read name, protocol and number; what else a port has does not concern us."""
        value = self._document.get(path)
        if not isinstance(value, dict) or "name" not in value:
            return None
        plain = {"name": value["name"], "number": value.get("containerPort")}
        if "protocol" in value:
            plain["protocol"] = value["protocol"]
        try:
            return msgspec.convert(plain, ContainerPort)
        except msgspec.ValidationError:
            self._document.add_problem(
                path, expected="a name, a containerPort from 1 to 65535, and TCP, UDP or SCTP"
            )
            return None

    def _names(self, path: KeyPath) -> tuple[str, str]:
        name = self._text((*path, "metadata", "name"), Name, required=True)
        return name, self._text((*path, "metadata", "namespace"), Name) or "default"

    def _labels(self, path: KeyPath) -> dict[str, str]:
        place = (*path, "metadata", "labels")
        if not self._refuse_nulls(place) or self._document.get(place) is None:
            return {}
        return self._document.convert(place, Labels) or {}

    def _text(self, path: KeyPath, kind: object, *, required: bool = False) -> str:
        if self._document.get(path) is None:
            if required:
                self._document.add_problem(path, found="nothing", expected="a name")
            return ""
        return self._document.convert(path, cast("type[str]", kind)) or ""  # a str with a check

    def _claim(self, kind: str, value: str, path: KeyPath, owner: KeyPath) -> bool:
        """Note a problem if another object has the value already; say whether it is free."""
        first = self._owners.setdefault((kind, value), owner)
        if first != owner:
            line, _ = self._document.position(first)
            found = f"the {kind} {quote(value)} again: the object at line {line} has it"
            self._document.add_problem(path, found=found, expected="each once")
            return False
        return True

    def _refuse_nulls(self, path: KeyPath) -> bool:
        """Note a problem for each null below a path; say whether there is none."""
        depth = len(path)
        owner = next((path[:d] for d in reversed(_OBJECT_DEPTHS) if path[:d] in self._nulls), ())
        places = [place for place in self._nulls.get(owner, ()) if place[:depth] == path]
        for place in places:
            expected = "a value, or no such key: what is empty and what is absent differ"
            self._document.add_problem(place, found="null", expected=expected)
        return not places
