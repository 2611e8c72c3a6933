"""The look-up ``kubernetes-file``: what stands behind addresses, read from a file."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from trireme_collector import EnricherSpec, Stability, hookimpl
from trireme_collector.netobserv import KubernetesObject
from trireme_collector.strict_toml import Unfit, load_document

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ObjectFile", "ObjectFileOptions", "trireme_register_enrichers"]

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def _check_network(value: object) -> None:
    try:
        ipaddress.ip_network(str(value))
    except ValueError as error:
        raise Unfit("an address or a network without host bits") from error


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    addresses: list[
        Annotated[
            str,
            msgspec.Meta(extra={"validate": _check_network, "expected": "an address or a network"}),
        ]
    ]
    name: str
    type: str
    namespace: str | UnsetType = UNSET
    owner_name: str | UnsetType = UNSET
    owner_type: str | UnsetType = UNSET
    host_ip: str | UnsetType = UNSET
    host_name: str | UnsetType = UNSET
    zone: str | UnsetType = UNSET
    network_name: str | UnsetType = UNSET


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    object: list[_Entry] = []


class ObjectFileOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the look-up ``kubernetes-file``.

    Attributes:
        path: The file: TOML with one ``[[object]]`` for each object.
    """

    path: str


class ObjectFile:
    """Knows the objects of a file, by address and by network; the smallest network wins.

    Args:
        objects: The objects by the text of an address or of a network.
    """

    def __init__(self, objects: Mapping[str, KubernetesObject]) -> None:
        """Sort them by the size of their networks."""
        self._by_network: dict[tuple[int, int], dict[int, KubernetesObject]] = {}
        for text, found in objects.items():
            network: _Network = ipaddress.ip_network(text)
            key = (network.version, network.max_prefixlen - network.prefixlen)
            first = int(network.network_address) >> key[1]
            self._by_network.setdefault(key, {})[first] = found
        self._sizes = sorted(self._by_network, key=lambda key: key[1])

    @classmethod
    def load(cls, options: ObjectFileOptions) -> ObjectFile:
        """Read the file.

        Raises:
            ConfigError: It cannot be read or has mistakes; each is listed with its place.
        """
        document = load_document(options.path)
        read = document.convert((), _File)
        document.raise_problems()
        objects: dict[str, KubernetesObject] = {}
        for entry in read.object if read else []:
            fields = {
                name: value
                for name in entry.__struct_fields__
                if name != "addresses" and (value := getattr(entry, name)) is not UNSET
            }
            found = msgspec.convert(fields, KubernetesObject)
            objects |= dict.fromkeys(entry.addresses, found)
        return cls(objects)

    def find(self, address: str) -> KubernetesObject | None:
        """Give the object of an address, or None."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return None
        number, version = int(parsed), parsed.version
        for key in self._sizes:
            if key[0] == version:
                found = self._by_network[key].get(number >> key[1])
                if found is not None:
                    return found
        return None


@hookimpl
def trireme_register_enrichers() -> list[EnricherSpec[ObjectFileOptions]]:
    """Offer the look-up."""
    return [
        EnricherSpec(
            name="kubernetes-file",
            factory=ObjectFile.load,
            config_type=ObjectFileOptions,
            summary="Names addresses after the objects that a file lists.",
            stability=Stability.BETA,
        )
    ]
