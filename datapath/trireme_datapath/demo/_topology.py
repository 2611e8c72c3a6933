"""The small network of the demo: a client, an enforcer that forwards, and two servers behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from trireme_datapath.kernel.namespaces import Network

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from trireme_datapath.kernel.namespaces import Namespace

__all__ = ["CLIENT", "DATABASE", "HOSTS", "WEB", "Host", "Topology"]


class Host(NamedTuple):
    """A host beside the enforcer; addresses are those set aside for documentation."""

    name: str
    ipv4: str
    ipv6: str
    prefix_lengths: tuple[int, int]
    gateways: tuple[str, str]

    def address(self, version: int) -> str:
        """Give the address of an IP version."""
        return self.ipv4 if version == 4 else self.ipv6


CLIENT: Final = Host(
    "client", "192.0.2.10", "2001:db8:1::10", (24, 64), ("192.0.2.1", "2001:db8:1::1")
)
WEB: Final = Host(
    "web", "198.51.100.20", "2001:db8:2::20", (29, 127), ("198.51.100.17", "2001:db8:2::21")
)
DATABASE: Final = Host(
    "database", "198.51.100.30", "2001:db8:2::30", (29, 127), ("198.51.100.25", "2001:db8:2::31")
)
HOSTS: Final = (CLIENT, WEB, DATABASE)


class Topology:
    """The namespaces of the demo.

    Attributes:
        enforcer: Where packets are queued and judged.
        hosts: The namespace of each host by its name.
    """

    def __init__(self) -> None:
        """Build everything; on any failure, remove what was built.

        Raises:
            PrivilegeError: Namespaces cannot be made.
            DatapathError: A link or an address cannot be made.
        """
        self._network = Network()
        try:
            self.enforcer = self._namespace("enforcer")
            self.hosts: dict[str, Namespace] = {host.name: self._attach(host) for host in HOSTS}
            self.enforcer.forward()
        except BaseException:
            self._network.close()
            raise

    def _namespace(self, name: str) -> Namespace:
        namespace = self._network.namespace(name)
        # Nobody else has our addresses, and looking for duplicates takes two seconds.
        for scope in ("all", "default"):
            namespace.set_kernel(f"net/ipv6/conf/{scope}/accept_dad", "0")
        return namespace

    def _attach(self, host: Host) -> Namespace:
        namespace = self._namespace(host.name)
        lengths = host.prefix_lengths
        self._network.link(
            self.enforcer,
            f"to-{host.name}",
            [f"{gateway}/{length}" for gateway, length in zip(host.gateways, lengths, strict=True)],
            namespace,
            "eth0",
            [f"{host.ipv4}/{lengths[0]}", f"{host.ipv6}/{lengths[1]}"],
        )
        for gateway in host.gateways:
            namespace.add_route("default", gateway)
        return namespace

    def close(self) -> None:
        """Remove the namespaces, and with them every interface, rule and queue."""
        self._network.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
