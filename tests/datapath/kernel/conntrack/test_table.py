"""What the kernel is asked when connections are to end."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from tests.datapath.kernel.conntrack.golden import golden, little
from trireme_datapath.kernel.conntrack import Connection, ConnectionTable, parse_connection
from trireme_datapath.kernel.conntrack._requests import delete_request, hold_request

if TYPE_CHECKING:
    from collections.abc import Iterator

MASK = 0x03000000


@pytest.fixture
def kernel() -> Iterator[tuple[ConnectionTable, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    theirs.setblocking(False)
    table = ConnectionTable(ours)
    with theirs:
        yield table, theirs
    table.close()


def connection(name: str) -> Connection:
    found = parse_connection(golden()[name])
    assert isinstance(found, Connection)
    return structs.replace(found, mark=0x0100_0005)


@little
@pytest.mark.parametrize(
    ("name", "is_held"),
    [
        ("ended udp", True),
        ("ended udp ipv6", True),
        ("ended udp zone", True),
        ("ended udp nat", False),
        ("ended tcp", False),
        ("ended icmp", False),
        ("ended icmpv6 ipv6", False),
    ],
)
def test_the_place_of_what_could_seem_begun_is_held(
    kernel: tuple[ConnectionTable, socket.socket], name: str, *, is_held: bool
) -> None:
    table, asked = kernel
    one = connection(name)
    assert table.delete([one], held=MASK) == 1
    # Bits of the mark that are not ours stay.
    held = hold_request(one, 1, 5) if is_held else b""
    assert asked.recv(4_096) == delete_request(one, 1) + held
    assert table.delete([one]) == 1
    assert asked.recv(4_096) == delete_request(one, 2)
