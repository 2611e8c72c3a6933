"""Messages of connection tracking: captured ones, made ones, and any bytes."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.datapath.kernel.conntrack.golden import golden, little
from trireme_datapath.backends._netlink_codec import MessageError
from trireme_datapath.kernel.conntrack import (
    Connection,
    ConnectionKind,
    ConnectionStatus,
    ConnectionTuple,
    Control,
    Counters,
    TcpState,
    delete_request,
    dump_request,
    messages,
    parse_connection,
)
from trireme_datapath.kernel.conntrack._requests import hold_request

GOLDEN = golden()
CLIENT, SERVER = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
CLIENT_6 = bytes.fromhex("20010db8000000000000000000000001")
SERVER_6 = bytes.fromhex("20010db8000000000000000000000002")


def ports(one: int, other: int) -> bytes:
    return struct.pack("!HH", one, other)


def read(name: str) -> Connection:
    found = parse_connection(GOLDEN[name])
    assert isinstance(found, Connection)
    return found


@little
def test_the_end_of_a_tcp_connection_as_the_kernel_tells_it() -> None:
    assert read("ended tcp") == Connection(
        kind=ConnectionKind.ENDED,
        original=ConnectionTuple(
            source=CLIENT, destination=SERVER, protocol=6, ports=ports(40_000, 8_080)
        ),
        reply=ConnectionTuple(
            source=SERVER, destination=CLIENT, protocol=6, ports=ports(8_080, 40_000)
        ),
        status=910,
        mark=0x01000000,
        id=2_197_523_255,
        tcp_state=TcpState.TIME_WAIT,
        sent=Counters(6, 420),
        answered=Counters(4, 516),
        start_ns=1_795_281_436_351_445_457,
        stop_ns=1_795_281_437_349_418_523,
    )


@little
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("new tcp", {"kind": ConnectionKind.NEW, "tcp_state": 1, "sent": None, "start_ns": 0}),
        ("new udp", {"kind": ConnectionKind.NEW, "tcp_state": None, "timeout_seconds": 1}),
        ("changed tcp established", {"kind": ConnectionKind.CHANGED, "timeout_seconds": 432_000}),
        ("changed tcp ipv6 last-ack", {"tcp_state": TcpState.LAST_ACK}),
        ("ended udp zone", {"zone": 5, "sent": Counters(1, 32), "answered": Counters(1, 32)}),
        ("ended udp ipv6 bare", {"sent": None, "answered": None, "start_ns": 0, "stop_ns": 0}),
        ("ended udp ipv6", {"sent": Counters(1, 98), "answered": Counters(1, 118)}),
    ],
)
def test_what_the_kernel_tells(name: str, expected: dict[str, Any]) -> None:
    found = read(name)
    assert {key: getattr(found, key) for key in expected} == expected


@little
def test_translated_addresses_show_in_the_answers() -> None:
    found = read("ended udp nat")
    assert (found.original.ports, found.reply.ports) == (ports(40_002, 53), ports(9_090, 40_002))
    assert found.status & ConnectionStatus.DESTINATION_NAT
    assert not found.status & ConnectionStatus.SOURCE_NAT


@little
def test_icmp_has_identifier_type_and_code_for_ports() -> None:
    assert read("ended icmp").original.ports == bytes((0, 77, 8, 0))
    assert read("ended icmp").reply.ports == bytes((0, 77, 0, 0))
    found = read("ended icmpv6 ipv6")
    assert found.original == ConnectionTuple(
        source=CLIENT_6, destination=SERVER_6, protocol=58, ports=bytes((0, 77, 128, 0))
    )
    assert found.reply.ports == bytes((0, 77, 129, 0))


@little
def test_one_datagram_lists_many() -> None:
    data = GOLDEN["list both"]
    found = [parse_connection(data, start, end) for start, end in messages(data)]
    assert [type(one) for one in found] == [Connection, Connection]
    assert {one.kind for one in found if isinstance(one, Connection)} == {ConnectionKind.LISTED}
    assert [one.tcp_state for one in found if isinstance(one, Connection)] == [7, None]


def test_answers_to_requests() -> None:
    done = struct.pack("=IHHIIi", 20, 3, 2, 9, 0, 0)
    assert parse_connection(done) == Control(9, 0, done=True)
    error = struct.pack("=IHHIIi", 36, 2, 0, 4, 0, -2) + bytes(16)
    assert parse_connection(error) == Control(4, 2)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no header"),
        (bytes(15), "no header"),
        (struct.pack("=IHHII", 40, 0x100, 0, 0, 0), "says 40 bytes, 16 arrived"),
        (struct.pack("=IHHII", 15, 0x100, 0, 0, 0), "says 15 bytes"),
        (struct.pack("=IHHII", 16, 0x100, 0, 0, 0), "lacks its netfilter header"),
        (struct.pack("=IHHII", 16, 0x300, 0, 0, 0), "not about a connection"),
        (struct.pack("=IHHII", 18, 2, 0, 0, 0) + b"xx", "only 18 bytes"),
        (struct.pack("=IHHII", 20, 0x100, 0, 0, 0) + bytes(4), "lacks one of its two directions"),
    ],
)
def test_what_is_no_connection_is_one_error(data: bytes, problem: str) -> None:
    with pytest.raises(MessageError, match=problem):
        parse_connection(data)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def direction(one: ConnectionTuple) -> bytes:
    pair = (1, 2) if len(one.source) == 4 else (3, 4)
    addresses = attribute(pair[0], one.source) + attribute(pair[1], one.destination)
    protocol = attribute(1, bytes([one.protocol]))
    kinds = {1: (4, 5, 6), 58: (7, 8, 9)}.get(one.protocol)
    if kinds:
        protocol += attribute(kinds[0], one.ports[:2])
        protocol += attribute(kinds[1], one.ports[2:3]) + attribute(kinds[2], one.ports[3:])
    else:
        protocol += attribute(2, one.ports[:2]) + attribute(3, one.ports[2:])
    return attribute(0x8001, addresses) + attribute(0x8002, protocol)


def written(connection: Connection) -> bytes:
    """Write a connection the way the kernel does."""
    body = attribute(0x8001, direction(connection.original))
    body += attribute(0x8002, direction(connection.reply))
    if connection.zone:
        body += attribute(18, struct.pack("!H", connection.zone))
    if connection.id is not None:
        body += attribute(12, struct.pack("!I", connection.id))
    body += attribute(3, struct.pack("!I", connection.status))
    if connection.timeout_seconds is not None:
        body += attribute(7, struct.pack("!I", connection.timeout_seconds))
    for kind, counters in ((9, connection.sent), (10, connection.answered)):
        if counters is not None:
            values = (counters.packets, counters.bytes)
            pair = [attribute(i, struct.pack("!Q", v)) for i, v in enumerate(values, 1)]
            body += attribute(0x8000 | kind, b"".join(pair))
    if connection.start_ns or connection.stop_ns:
        times = attribute(1, struct.pack("!Q", connection.start_ns))
        times += attribute(2, struct.pack("!Q", connection.stop_ns)) if connection.stop_ns else b""
        body += attribute(0x8014, times)
    if connection.tcp_state is not None:
        state = attribute(1, bytes([connection.tcp_state]))
        body += attribute(0x8004, attribute(0x8001, state))
    if connection.mark:
        body += attribute(8, struct.pack("!I", connection.mark))
    kind, flags = {
        ConnectionKind.LISTED: (0x100, 2),
        ConnectionKind.NEW: (0x100, 0x600),
        ConnectionKind.CHANGED: (0x100, 0),
        ConnectionKind.ENDED: (0x102, 0),
    }[connection.kind]
    family = 2 if len(connection.original.source) == 4 else 10
    head = struct.pack("=IHHII", 20 + len(body), kind, flags, 0, 0)
    return head + bytes((family, 0, 0, 0)) + body


U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)


@st.composite
def connections(draw: st.DrawFn) -> Connection:
    size = draw(st.sampled_from((4, 16)))
    protocol = draw(st.sampled_from((6, 17, 132, 136, 1, 58, 47)))

    def one() -> ConnectionTuple:
        return ConnectionTuple(
            source=draw(st.binary(min_size=size, max_size=size)),
            destination=draw(st.binary(min_size=size, max_size=size)),
            protocol=protocol,
            ports=draw(st.binary(min_size=4, max_size=4)),
        )

    counters = st.none() | st.builds(Counters, U64, U64)
    return Connection(
        kind=draw(st.sampled_from(ConnectionKind)),
        original=one(),
        reply=one(),
        zone=draw(st.integers(0, 0xFFFF)),
        status=draw(U32),
        mark=draw(U32),
        id=draw(st.none() | U32),
        timeout_seconds=draw(st.none() | U32),
        tcp_state=draw(st.none() | st.integers(0, 255)) if protocol == 6 else None,
        sent=draw(counters),
        answered=draw(counters),
        start_ns=draw(U64),
        stop_ns=draw(U64),
    )


@given(connections())
def test_what_was_written_is_read(connection: Connection) -> None:
    assert parse_connection(written(connection)) == connection


@given(st.binary(max_size=400))
def test_any_bytes_give_a_result_or_the_one_error(data: bytes) -> None:
    try:
        parse_connection(data)
        list(messages(data))
    except MessageError:
        pass


@given(connections(), st.data())
def test_a_damaged_message_gives_a_result_or_the_one_error(
    connection: Connection, data: st.DataObject
) -> None:
    message = bytearray(written(connection))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MessageError):
        parse_connection(bytes(message[: data.draw(st.integers(0, len(message)))]))


@given(connections())
def test_a_connection_is_deleted_by_what_tells_it_from_all_others(connection: Connection) -> None:
    request = delete_request(connection, 7)
    length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", request)
    assert (length, kind, flags & 1, sequence) == (len(request), 0x102, 1, 7)
    # The kernel reads a request as we read an event; it needs one direction only.
    reply = attribute(0x8002, direction(connection.original))
    again = struct.pack("=I", length + len(reply)) + request[4:] + reply
    found = parse_connection(again)
    assert isinstance(found, Connection)
    assert (found.original, found.zone, found.id) == (
        connection.original,
        connection.zone,
        connection.id,
    )


@given(connections(), st.integers(0, 0xFFFFFFFF))
def test_an_entry_that_is_held_is_the_connection_again_with_another_mark(
    connection: Connection, mark: int
) -> None:
    request = hold_request(connection, 7, mark)
    length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", request)
    # One that is there by now is no error: it gets the mark.
    assert (length, kind, flags, sequence) == (len(request), 0x100, 0x401, 7)
    found = parse_connection(request)
    assert isinstance(found, Connection)
    assert (found.kind, found.mark, found.id) == (ConnectionKind.NEW, mark, None)
    assert found.timeout_seconds
    assert (found.original, found.reply, found.zone) == (
        connection.original,
        connection.reply,
        connection.zone,
    )


@little
def test_the_requests_for_a_list() -> None:
    assert dump_request(5).hex() == "1400000001010103050000000000000000000000"
    assert dump_request(6, 0x01000000, 0x03000000).hex(" ", 4) == (
        "24000000 01010103 06000000 00000000 00000000 08000800 01000000 08001500 03000000"
    )
