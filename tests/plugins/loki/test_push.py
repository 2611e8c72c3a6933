"""Pushes say what the entries say, for decoders by hand and for those of protobuf."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plugins.loki.decoding import Line, decode_json_push, decode_protobuf_push, parse_labels
from trireme_collector_loki._entries import Entry
from trireme_collector_loki._push import arrange, json_push, label_text, protobuf_push

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector_loki._push import Streams

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
PAIRS = st.dictionaries(NAMES, TEXT, min_size=1, max_size=3).map(lambda d: tuple(sorted(d.items())))
TIMES = st.integers(0, 2**63 - 1) | st.sampled_from([0, 1, 999_999_999, 1_000_000_000])
ENTRIES = st.builds(
    Entry,
    labels=st.sampled_from([(("a", "1"),), (("a", "2"), ("b", "x"))]) | PAIRS,
    time_ns=TIMES | st.integers(5, 8),
    line=TEXT.map(str.encode) | st.just(b"{}"),
    metadata=PAIRS | st.just(()),
)


def lines(streams: Streams, *, metadata: bool = True) -> list[Line]:
    """Say what is to be found in a push."""
    return [
        Line(labels, e.time_ns, e.line.decode(), dict(e.metadata) if metadata else {})
        for labels, entries in streams.items()
        for e in entries
    ]


@given(st.lists(ENTRIES, max_size=20), st.booleans())
def test_what_is_pushed_can_be_read(entries: list[Entry], metadata: bool) -> None:
    streams = arrange(entries)
    expected = lines(streams, metadata=metadata)
    assert decode_protobuf_push(protobuf_push(streams, metadata=metadata)) == expected
    assert decode_json_push(json_push(streams, metadata=metadata)) == expected


@given(st.lists(ENTRIES, max_size=10))
def test_protobuf_itself_reads_it(entries: list[Entry]) -> None:
    request_type = push_request_type()
    streams = arrange(entries)
    request = request_type()
    request.ParseFromString(protobuf_push(streams, metadata=True))
    found = [
        Line(
            tuple(sorted(parse_labels(stream.labels).items())),
            entry.timestamp.seconds * 1_000_000_000 + entry.timestamp.nanos,
            entry.line,
            {pair.name: pair.value for pair in entry.structuredMetadata},
        )
        for stream in request.streams
        for entry in stream.entries
    ]
    assert found == lines(streams)


@given(st.lists(ENTRIES, max_size=20))
def test_nothing_is_lost_when_entries_are_arranged(entries: list[Entry]) -> None:
    found = [(labels, e) for labels, members in arrange(entries).items() for e in members]
    assert all(labels == entry.labels for labels, entry in found)

    def content(some: Sequence[Entry]) -> list[tuple[object, ...]]:
        return sorted((e.labels, e.line, e.metadata) for e in some)

    assert content([entry for _, entry in found]) == content(entries)
    keys = [(e.labels, e.time_ns, e.line) for _, e in found]
    assert len(keys) == len(set(keys)), "Loki would take two of them for one"
    for members in arrange(entries).values():
        times = [entry.time_ns for entry in members]
        assert times == sorted(times)


def test_equal_lines_are_told_apart_in_a_row() -> None:
    labels = (("a", "1"),)
    streams = arrange(
        [Entry(labels, 5, b"x", (("n", str(n)),)) for n in range(3)]
        + [Entry(labels, 6, b"x", (("n", "3"),)), Entry(labels, 5, b"y")]
    )
    found = [(e.time_ns, e.line, dict(e.metadata).get("n")) for e in streams[labels]]
    assert found == [
        (5, b"x", "0"),
        (5, b"y", None),
        (6, b"x", "1"),
        (7, b"x", "2"),
        (8, b"x", "3"),
    ]


def test_many_equal_lines_take_no_longer() -> None:
    def seconds(count: int) -> float:
        entries = [Entry((("a", "1"),), 5, b"x")] * count
        begin = time.process_time()
        arrange(entries)
        return time.process_time() - begin

    seconds(1000)
    assert seconds(40_000) < max(40 * 20 * seconds(1000), 1.0)


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("plain ü 字", '"plain ü 字"'),
        ('a"b\\c', r'"a\"b\\c"'),
        ("\n\r\t\0\x1b\x7f", r'"\n\r\t\x00\x1b\x7f"'),
        ("\x9b\u202e\U000e0001", r'"\u009b\u202e\U000e0001"'),
        ("", '""'),
    ],
)
def test_label_values_are_quoted_as_go_does(value: str, quoted: str) -> None:
    assert label_text((("a", "1"), ("b", value))) == f'{{a="1", b={quoted}}}'
    assert parse_labels(label_text((("b", value),))) == {"b": value}


def test_a_push_to_the_byte() -> None:
    streams = arrange([Entry((("a", "1"),), 1_000_000_002, b"{}", (("n", "7"),))])
    expected = (
        b"\x0a\x1c" + b'\x0a\x07{a="1"}' + b"\x12\x11" + b"\x0a\x04\x08\x01\x10\x02"
        b"\x12\x02{}" + b"\x1a\x06\x0a\x01n\x12\x017"
    )
    expected = expected.replace(b"\x12\x11", b"\x12\x12").replace(b"\x0a\x1c", b"\x0a\x1d")
    assert protobuf_push(streams, metadata=True) == expected
    assert json_push(streams, metadata=False) == (
        b'{"streams":[{"stream":{"a":"1"},"values":[["1000000002","{}"]]}]}'
    )


@functools.cache
def push_request_type() -> type:
    """Build the message with the library, from the numbers that Loki publishes."""
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    pool_module = pytest.importorskip("google.protobuf.descriptor_pool")
    factory = pytest.importorskip("google.protobuf.message_factory")
    pytest.importorskip("google.protobuf.timestamp_pb2")
    file = descriptor_pb2.FileDescriptorProto(
        name="trireme_test_push.proto",
        package="trireme_test",
        syntax="proto3",
        dependency=["google/protobuf/timestamp.proto"],
    )
    text, message, many, one = 9, 11, 3, 1
    for name, fields in {
        "LabelPair": [("name", 1, text, "", one), ("value", 2, text, "", one)],
        "Entry": [
            ("timestamp", 1, message, ".google.protobuf.Timestamp", one),
            ("line", 2, text, "", one),
            ("structuredMetadata", 3, message, ".trireme_test.LabelPair", many),
        ],
        "Stream": [
            ("labels", 1, text, "", one),
            ("entries", 2, message, ".trireme_test.Entry", many),
        ],
        "PushRequest": [("streams", 1, message, ".trireme_test.Stream", many)],
    }.items():
        described = file.message_type.add(name=name)
        for field, number, form, of, label in fields:
            added = described.field.add(name=field, number=number, type=form, label=label)
            if of:
                added.type_name = of
    pool = pool_module.Default()
    pool.Add(file)
    kind: type = factory.GetMessageClass(pool.FindMessageTypeByName("trireme_test.PushRequest"))
    return kind
