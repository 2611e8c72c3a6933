"""What the hosts of the demo try, with real sockets, and how that looks from their side."""

from __future__ import annotations

import enum
import errno
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Final

import msgspec

from trireme_datapath.demo._topology import CLIENT, DATABASE, WEB

if TYPE_CHECKING:
    from collections.abc import Callable

    from trireme_datapath.demo._topology import Host, Topology

__all__ = ["ATTEMPTS", "Attempt", "Outcome", "Result", "try_out"]

_TIMEOUT_SECONDS: Final = 0.4  # a handshake in one machine takes well under a millisecond
_IPPROTO_ICMPV6: Final = 58
_ECHO: Final = {4: 8, 6: 128}
_ECHO_REPLY: Final = {4: 0, 6: 129}
_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


class Outcome(enum.StrEnum):
    """What came of an attempt, as its client saw it."""

    CONNECTED = "connected"
    ANSWERED = "answered"
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"

    @property
    def got_through(self) -> bool:
        """Whether the server was reached."""
        return self in {Outcome.CONNECTED, Outcome.ANSWERED}


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to try.

    Attributes:
        source: The name of the host that tries.
        destination: The name of the host that is tried.
        address: The address that is tried.
        protocol: ``tcp``, ``udp`` or ``icmp``.
        version: The IP version.
        port: The destination port, 0 for ICMP.
        allowed: Whether the policy lets it through.
    """

    source: str
    destination: str
    address: str
    protocol: str
    version: int
    port: int
    allowed: bool

    @property
    def what(self) -> str:
        """Name it on one line."""
        kind = "ping" if self.protocol == "icmp" else f"{self.protocol} {self.port}"
        return f"{self.source} -> {self.destination} {kind}, IPv{self.version}"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attempt.

    Attributes:
        attempt: What was tried.
        outcome: How it looked to the client.
        milliseconds: How long it took to know.
    """

    attempt: Attempt
    outcome: Outcome
    milliseconds: float

    @property
    def as_expected(self) -> bool:
        """Whether it got through exactly if the policy allows it."""
        return self.outcome.got_through is self.attempt.allowed


def _attempts() -> tuple[Attempt, ...]:
    plan: tuple[tuple[Host, Host, str, int, bool], ...] = (
        (CLIENT, WEB, "tcp", 80, True),
        (CLIENT, WEB, "tcp", 22, False),
        (CLIENT, WEB, "udp", 53, True),
        (CLIENT, WEB, "udp", 161, False),
        (CLIENT, WEB, "icmp", 0, True),
        (CLIENT, DATABASE, "icmp", 0, False),
        (WEB, DATABASE, "tcp", 5432, True),
        (CLIENT, DATABASE, "tcp", 5432, False),
    )
    return tuple(
        Attempt(
            source=source.name,
            destination=destination.name,
            address=destination.address(version),
            protocol=protocol,
            version=version,
            port=port,
            allowed=allowed,
        )
        for version in (4, 6)
        for source, destination, protocol, port, allowed in plan
    )


ATTEMPTS: Final = _attempts()
"""Everything that the demo tries, in order."""


def try_out(topology: Topology, attempt: Attempt) -> Result:
    """Try one thing from the namespace of its client, and measure."""
    functions = {"tcp": _try_tcp, "udp": _try_udp, "icmp": _try_ping}
    function = functions[attempt.protocol]
    start = time.perf_counter()
    outcome = topology.hosts[attempt.source].call(lambda: _outcome(function, attempt))
    return Result(
        attempt=attempt,
        outcome=outcome,
        milliseconds=round((time.perf_counter() - start) * 1000, 1),
    )


def _outcome(function: Callable[[Attempt], Outcome], attempt: Attempt) -> Outcome:
    try:
        return function(attempt)
    except TimeoutError:
        return Outcome.TIMED_OUT
    except ConnectionError:
        return Outcome.REFUSED
    except OSError as error:
        if error.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES}:
            return Outcome.UNREACHABLE
        raise


def _try_tcp(attempt: Attempt) -> Outcome:
    with socket.socket(_FAMILIES[attempt.version], socket.SOCK_STREAM) as opened:
        opened.settimeout(_TIMEOUT_SECONDS)
        opened.connect((attempt.address, attempt.port))
    return Outcome.CONNECTED


def _try_udp(attempt: Attempt) -> Outcome:
    with socket.socket(_FAMILIES[attempt.version], socket.SOCK_DGRAM) as opened:
        opened.settimeout(_TIMEOUT_SECONDS)
        opened.connect((attempt.address, attempt.port))
        opened.send(b"question")
        opened.recv(512)
    return Outcome.ANSWERED


def _try_ping(attempt: Attempt) -> Outcome:
    """Send one echo request; only its own reply is the answer."""
    protocol = socket.IPPROTO_ICMP if attempt.version == 4 else _IPPROTO_ICMPV6
    identifier = os.getpid() & 0xFFFF
    request = struct.pack(">BBHHH", _ECHO[attempt.version], 0, 0, identifier, 1) + b"trireme "
    if attempt.version == 4:  # the kernel fills in the checksum of ICMPv6 only
        request = request[:2] + struct.pack(">H", _checksum(request)) + request[4:]
    with socket.socket(_FAMILIES[attempt.version], socket.SOCK_RAW, protocol) as opened:
        opened.connect((attempt.address, 0))
        opened.send(request)
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return Outcome.TIMED_OUT
            opened.settimeout(left)
            message = opened.recv(512)
            if attempt.version == 4:  # raw IPv4 sockets give the header too
                message = message[(message[0] & 0x0F) * 4 :]
            kind, _, _, answered, _ = struct.unpack_from(">BBHHH", message)
            if kind == _ECHO_REPLY[attempt.version] and answered == identifier:
                return Outcome.ANSWERED


def _checksum(data: bytes) -> int:
    """Compute the Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
