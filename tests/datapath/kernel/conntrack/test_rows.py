"""Rows read by a learned layout are the rows read attribute by attribute."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from tests.datapath.kernel.conntrack.golden import golden, little
from tests.datapath.kernel.conntrack.test_messages import connections, written
from trireme_datapath.backends._netlink_codec import MessageError
from trireme_datapath.kernel.conntrack import (
    DELETE_MESSAGE,
    NEW_MESSAGE,
    Connection,
    Control,
    RowReader,
    messages,
    parse_connection,
    row_of,
)

GOLDEN = golden()
ENDED = [data for name, data in GOLDEN.items() if name.startswith("ended")]


def spans_of(parts: list[bytes]) -> tuple[bytes, list[tuple[int, int]]]:
    spans, start = [], 0
    for part in parts:
        spans.append((start, start + len(part)))
        start += len(part)
    return b"".join(parts), spans


def slowly(data: bytes) -> object:
    found = parse_connection(data)
    assert isinstance(found, Connection)
    return row_of(found)


@little
def test_captured_ends_are_read_alike_again_and_again() -> None:
    reader = RowReader(DELETE_MESSAGE)
    data, spans = spans_of(ENDED * 3)
    kept: list[int] = []
    assert reader.read(memoryview(data), spans, kept) == [slowly(one) for one in ENDED] * 3
    assert kept == [start for start, _ in spans]
    assert reader.malformed == 0


@little
def test_the_row_of_a_translated_connection_has_what_a_judged_packet_had() -> None:
    (row,) = RowReader(DELETE_MESSAGE).read(
        GOLDEN["ended udp nat"], [(0, len(GOLDEN["ended udp nat"]))]
    )
    client, server = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
    assert row[:5] == (17, client, server, struct.pack("!H", 40_002), struct.pack("!H", 9_090))
    assert row[5:9] == (1, 43, 1, 58)
    assert row[11:] == (0x01000000, 0)


@little
def test_a_list_becomes_rows_and_its_end_is_told() -> None:
    data = GOLDEN["list both"] + struct.pack("=IHHIIi", 20, 3, 2, 5, 0, 0)
    reader = RowReader(NEW_MESSAGE)
    rows = reader.read(data, messages(data))
    assert len(rows) == 2
    assert reader.controls == [Control(5, 0, done=True)]


@little
def test_other_messages_are_left_out() -> None:
    data, spans = spans_of([GOLDEN["new tcp"], GOLDEN["ended tcp"], b"short"])
    reader = RowReader(DELETE_MESSAGE)
    assert len(reader.read(data, spans)) == 1
    assert reader.malformed == 1


@given(st.lists(connections(), max_size=12))
def test_any_connections_are_read_alike(many: list[Connection]) -> None:
    reader = RowReader(DELETE_MESSAGE)
    data, spans = spans_of([written(one) for one in many * 2])
    expected = [row_of(one) for one in many * 2 if one.kind.name == "ENDED"]
    assert reader.read(data, spans) == expected


@given(connections(), st.data())
def test_a_layout_takes_nothing_for_what_it_is_not(
    connection: Connection, data: st.DataObject
) -> None:
    """Learn from a message, then damage it: the row is that of the damaged message, or none."""
    message = bytearray(written(connection))
    message[4:6] = struct.pack("=H", DELETE_MESSAGE)
    reader = RowReader(DELETE_MESSAGE)
    reader.read(bytes(message), [(0, len(message))])
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(message)
    try:
        found = parse_connection(damaged)
    except MessageError:
        expected = []
    else:
        ended = isinstance(found, Connection) and found.kind.name == "ENDED"
        expected = [row_of(found)] if ended and isinstance(found, Connection) else []
    assert reader.read(damaged, [(0, len(damaged))]) == expected


def test_layouts_do_not_pile_up() -> None:
    reader = RowReader(DELETE_MESSAGE)
    good = bytearray(GOLDEN["ended tcp"])
    for length in range(200):
        extra = struct.pack("=HH", 4 + length, 99) + bytes(length) + bytes(-length % 4)
        whole = struct.pack("=I", len(good) + len(extra)) + bytes(good[4:]) + extra
        assert len(reader.read(whole, [(0, len(whole))])) == 1
    assert sum(map(len, reader._layouts.values())) <= 64
