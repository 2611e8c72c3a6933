"""Small networks inside this machine: network namespaces, joined by virtual Ethernet pairs.

Each namespace is kept alive by one child process that waits on a pipe of ours. It ends when the
network is closed, and also when this process dies in any way, because then the pipe closes; the
kernel removes the namespace, its interfaces, rules and queues with it. Nothing has a name in the
file system, so nothing can stay behind.

Root is needed, or a user namespace of one's own: `in_user_namespace` gives the command that runs
a program as root of one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

from trireme_collector.errors import DatapathError, PrivilegeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

__all__ = [
    "Namespace",
    "Network",
    "in_user_namespace",
    "may_make_networks",
    "missing_means",
]

_T = TypeVar("_T")

_CLONE_NEWNET: Final = 0x40000000
_NEEDED_CAPABILITIES: Final = 1 << 12 | 1 << 21  # CAP_NET_ADMIN and CAP_SYS_ADMIN
_COMMAND_SECONDS: Final = 20
_LINK_SECONDS: Final = 5
_POLL_SECONDS: Final = 0.02
_PROGRAMS: Final = ("ip", "unshare", "nsenter", "cat")
_FAMILIES: Final = {4: "-4", 6: "-6"}

_libc = ctypes.CDLL(None, use_errno=True)


def in_user_namespace(command: Sequence[str]) -> list[str]:
    """Give the command that runs another one as root of a user namespace of its own."""
    return ["unshare", "--user", "--map-root-user", "--", *command]


def may_make_networks() -> bool:
    """Whether this process has the capabilities for it; root in a container may lack them."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return os.geteuid() == 0
    held = next(
        (line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0"
    )
    return int(held, 16) & _NEEDED_CAPABILITIES == _NEEDED_CAPABILITIES


def _run(command: Sequence[str], purpose: str) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(  # noqa: S603  programs of iproute2 and util-linux, no shell
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise PrivilegeError(
            f"cannot {purpose}: the program {command[0]} is not installed"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DatapathError(f"cannot {purpose}: {command[0]} does not end") from error
    if done.returncode:
        why = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise DatapathError(f"cannot {purpose}: {why}")
    return done


class Namespace:
    """One network namespace.

    Attributes:
        name: What it is called in messages.
        pid: The process that keeps it.
    """

    def __init__(self, name: str) -> None:
        """Make the namespace.

        Raises:
            PrivilegeError: It is not allowed, or a program is missing.
        """
        self.name = name
        try:
            # Two programs in one: `unshare` makes the namespace, `cat` waits for the pipe to close
            # and repeats our line, which tells that it is ready.
            self._keeper = subprocess.Popen(
                ["unshare", "--net", "--", "cat"],  # noqa: S607  found on the administrator's path
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for us; the pipe ends it
            )
        except FileNotFoundError as error:
            raise PrivilegeError(
                "cannot make a network namespace: the program unshare is not installed"
                " (package util-linux)"
            ) from error
        self.pid = self._keeper.pid
        try:
            self._wait_ready()
            descriptor = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            self._end()
            raise
        self._descriptor = descriptor
        self.ip("link", "set", "lo", "up")

    def _wait_ready(self) -> None:
        keeper = self._keeper
        if keeper.stdin is None or keeper.stdout is None or keeper.stderr is None:
            raise DatapathError("a process was started without its pipes")
        try:
            keeper.stdin.write(b"ready\n")
            keeper.stdin.flush()
            answer = keeper.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if answer != b"ready\n":
            why = keeper.stderr.read().decode(errors="replace").strip()
            raise PrivilegeError(
                f"cannot make a network namespace: {why or 'unshare failed'}."
                " Run as root, or as root of a user namespace (unshare --user --map-root-user)"
            )

    def command(self, command: Sequence[str]) -> list[str]:
        """Give the command that runs another one inside."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *command]

    def run(self, command: Sequence[str]) -> str:
        """Run a command inside and give what it prints.

        Raises:
            DatapathError: It fails, or takes longer than 20 seconds.
        """
        return _run(self.command(command), f"run {command[0]} in {self.name}").stdout

    def ip(self, *words: str) -> str:
        """Run ``ip`` inside."""
        return self.run(["ip", *words])

    def call(self, function: Callable[[], _T]) -> _T:
        """Call a function inside and give what it returns or raise what it raises.

        It runs in a thread of its own. Sockets that it opens belong to the namespace for good,
        whichever thread uses them later.
        """
        results: list[_T] = []
        errors: list[BaseException] = []

        def inside() -> None:
            try:
                self.enter()
                results.append(function())
            except BaseException as error:  # noqa: BLE001  carried to the thread that waits
                errors.append(error)

        thread = threading.Thread(target=inside, name=f"in {self.name}", daemon=True)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def enter(self) -> None:
        """Move the calling thread inside, for as long as it lives."""
        if _libc.setns(self._descriptor, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise PrivilegeError(
                f"cannot enter the network namespace {self.name}: {os.strerror(number)}"
            )

    def socket(self, family: int, kind: int) -> socket.socket:
        """Open a socket inside."""
        return self.call(lambda: socket.socket(family, kind))

    def wait_for_link(self, interface: str) -> None:
        """Wait until the kernel has noticed that an interface is up.

        It looks at most once a second, and IPv6 does not answer neighbours before.

        Raises:
            DatapathError: It does not come up within some seconds.
        """
        end = time.monotonic() + _LINK_SECONDS
        while "state UP" not in self.ip("-o", "link", "show", "dev", interface):
            if time.monotonic() > end:
                raise DatapathError(f"the interface {interface} of {self.name} does not come up")
            time.sleep(_POLL_SECONDS)

    def add_address(self, interface: str, address: str) -> None:
        """Give an interface an address with its prefix length, at once usable."""
        words = ["address", "add", address, "dev", interface]
        if ":" in address:
            words.append("nodad")  # nobody else is there to have the same address
        self.ip(*words)

    def add_route(self, destination: str, gateway: str) -> None:
        """Route a network, or ``default``, by a neighbour."""
        self.ip(_FAMILIES[6 if ":" in gateway else 4], "route", "add", destination, "via", gateway)

    def forward(self) -> None:
        """Let packets pass from one interface to another, IPv4 and IPv6."""
        for setting in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            self.set_kernel(setting, "1")

    def set_kernel(self, setting: str, value: str) -> None:
        """Write a file below /proc/sys, as seen from inside."""

        def write() -> None:
            try:
                (Path("/proc/sys") / setting).write_text(value, encoding="ascii")
            except OSError as error:
                raise DatapathError(f"cannot set {setting} in {self.name}: {error}") from error

        self.call(write)

    def close(self) -> None:
        """Let go of the namespace; the kernel removes it when nothing else is inside."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._end()

    _descriptor = -1

    def _end(self) -> None:
        keeper = self._keeper
        for pipe in (keeper.stdin, keeper.stdout, keeper.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):  # it ended before it read what we wrote
                    pipe.close()
        try:
            keeper.wait(timeout=2)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()


class Network:
    """Namespaces and the links between them, removed together.

    ::

        with Network() as network:
            client, server = network.namespace("client"), network.namespace("server")
            network.link(client, "eth0", ["192.0.2.1/24"], server, "eth0", ["192.0.2.2/24"])
            client.run(["ping", "-c1", "192.0.2.2"])
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self.namespaces: list[Namespace] = []

    def namespace(self, name: str) -> Namespace:
        """Make a namespace.

        Raises:
            PrivilegeError: It is not allowed, or a program is missing.
        """
        namespace = Namespace(name)
        self.namespaces.append(namespace)
        return namespace

    def link(
        self,
        one: Namespace,
        one_interface: str,
        one_addresses: Sequence[str],
        other: Namespace,
        other_interface: str,
        other_addresses: Sequence[str],
    ) -> None:
        """Join two namespaces by a virtual Ethernet pair, with addresses, up.

        Raises:
            DatapathError: An interface exists already, or the kernel has no veth.
        """
        _run(
            [
                *one.command(["ip", "link", "add", one_interface, "type", "veth", "peer", "name"]),
                *(other_interface, "netns", str(other.pid)),
            ],
            f"link {one.name} and {other.name}",
        )
        ends = (
            (one, one_interface, one_addresses),
            (other, other_interface, other_addresses),
        )
        for namespace, interface, _ in ends:
            namespace.ip("link", "set", interface, "up")
        for namespace, interface, addresses in ends:
            for address in addresses:
                namespace.add_address(interface, address)
        for namespace, interface, _ in ends:
            namespace.wait_for_link(interface)

    def close(self) -> None:
        """Remove everything, the last namespace first."""
        while self.namespaces:
            self.namespaces.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def missing_means(*, queues: bool = True) -> list[str]:
    """Say in words what this machine lacks for a network of namespaces with packet queues.

    Everything is tried inside a namespace made for it. An empty list means: it works.

    Args:
        queues: Whether rules and packet queues are needed too.
    """
    programs = [*_PROGRAMS, *(("iptables-restore", "ip6tables-restore") if queues else ())]
    missing = [f"the program {one} is not installed" for one in programs if not shutil.which(one)]
    if missing:
        return missing
    try:
        with Network() as network:
            one, other = network.namespace("probe"), network.namespace("probe")
            try:
                network.link(one, "probe0", [], other, "probe1", [])
            except DatapathError as error:
                missing.append(f"virtual Ethernet pairs (module veth) do not work: {error}")
            if queues:
                missing += _missing_for_queues(one)
    except DatapathError as error:
        missing.append(f"network namespaces do not work: {error}")
    return missing


def _missing_for_queues(namespace: Namespace) -> list[str]:
    missing = []
    for program in ("iptables", "ip6tables"):
        try:
            namespace.run([program, "-w", "-A", "INPUT", "-j", "NFQUEUE", "--queue-num", "0"])
        except DatapathError as error:
            missing.append(f"{program} can not make rules for packet queues: {error}")
    try:
        from trireme_datapath.backends._netlink_socket import (  # noqa: PLC0415  only when asked
            NetlinkQueue,
        )

        namespace.call(lambda: NetlinkQueue.open(0)).close()
    except DatapathError as error:
        missing.append(f"packet queues (module nfnetlink_queue) do not work: {error}")
    return missing
