"""Gob streams of Go programs: what they say, in any pieces, and damaged in every place."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.monitor.gob import (
    Basic,
    Field,
    GobError,
    GobLimits,
    GobSchema,
    GobStream,
    GobStreamError,
    GobStruct,
    GobType,
    GobValue,
    MapType,
    SliceType,
    StructType,
    decode_gob,
    number_field,
    struct_field,
    text_field,
    texts_field,
)

DATA = Path(__file__).parents[3] / "data" / "monitor"
SESSION = (DATA / "session.gob").read_bytes()
PAYLOADS = json.loads((DATA / "session.json").read_bytes())
INNER = json.loads((DATA / "inner_streams.json").read_bytes())

PAYLOAD = StructType(
    "Payload",
    (
        Field("Data", Basic.BYTES),
        Field("CPU", Basic.INT),
        Field("Lost", Basic.UINT),
        Field("Type", Basic.INT),
    ),
)


def expected() -> list[GobStruct]:
    full = [
        {"Data": bytes.fromhex(p["data"]), "CPU": p["cpu"], "Lost": p["lost"], "Type": p["type"]}
        for p in PAYLOADS
    ]
    return [{name: value for name, value in struct.items() if value} for struct in full]


def test_a_recorded_session() -> None:
    stream = GobStream()
    assert stream.receive(SESSION) == expected()
    assert stream.end() is None
    assert not stream.inside_message


def test_the_same_session_is_written() -> None:
    schema = GobSchema({86: PAYLOAD}, root=86)
    assert schema.definitions + b"".join(map(schema.encode, expected())) == SESSION


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60))
def test_pieces_of_any_size_give_the_same(sizes: list[int]) -> None:
    stream = GobStream()
    found = []
    start = 0
    for size in (*sizes, len(SESSION)):
        found += stream.receive(SESSION[start : start + size])
        start += size
    assert found == expected()


@pytest.mark.parametrize("end", range(0, len(SESSION), 3))
def test_a_session_that_is_cut(end: int) -> None:
    stream = GobStream()
    found = stream.receive(SESSION[:end])
    assert found == expected()[: len(found)]
    error = stream.end()
    assert (error is None) is not stream.inside_message
    if error is not None:
        assert "the stream ends inside a message" in str(error)


def test_every_flipped_byte_is_one_error_or_another_value() -> None:
    for place in range(len(SESSION)):
        for mask in (0x01, 0x80, 0xFF):
            damaged = bytearray(SESSION)
            damaged[place] ^= mask
            stream = GobStream()
            found = stream.receive(bytes(damaged))
            errors = [value for value in found if isinstance(value, GobStreamError)]
            assert errors == (found[-1:] if stream.lost else [])
            if stream.lost:
                assert stream.receive(SESSION) == []


def test_a_damaged_message_leaves_the_others() -> None:
    # The third byte of a value is the number of a field that does not exist.
    definitions = GobSchema({86: PAYLOAD}, root=86).definitions
    damaged = bytearray(SESSION)
    assert damaged[len(definitions) + 3] == 1
    damaged[len(definitions) + 3] = 0x70
    found = GobStream().receive(bytes(damaged))
    assert isinstance(found[0], GobError)
    assert "has no field" in str(found[0])
    assert found[1:] == expected()[1:]


@pytest.mark.parametrize("case", INNER, ids=lambda case: case["type"])
def test_inner_streams(case: dict[str, object]) -> None:
    data = bytes.fromhex(str(case["hex"]))[1:]
    value = decode_gob(data)
    assert isinstance(value, dict)
    if case["type"] == "agent":
        assert number_field(value, "Type") == case["agent_type"]
        assert text_field(value, "Text") == case["agent_text"]
        return
    record = case["record"]
    assert isinstance(record, dict)
    log = value if record["bare"] else struct_field(value, "LogRecord")
    assert log is not None
    assert text_field(log, "Type") == record["type"]
    source = struct_field(log, "SourceEndpoint") or {}
    assert number_field(source, "ID") == record["src_id"]
    if case["profile"] == "1.9.18":
        assert texts_field(source, "Labels") == (record["src_labels"] or [])
    for part in ("HTTP", "Kafka", "DNS", "L7"):
        assert (struct_field(log, part) is not None) == (part.lower() in record)


@pytest.mark.parametrize("case", INNER[:30:3], ids=lambda case: case["type"])
def test_every_damage_of_an_inner_stream_is_an_error_or_a_value(case: dict[str, object]) -> None:
    data = bytes.fromhex(str(case["hex"]))[1:]
    for end in range(0, len(data) - 1, 5):
        with pytest.raises(GobError, match="gob"):
            decode_gob(data[:end])
    for place in range(0, len(data), 3):
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        try:
            decode_gob(bytes(damaged))
        except GobError:
            continue


@given(st.binary(max_size=300))
def test_any_bytes_are_values_or_errors(data: bytes) -> None:
    stream = GobStream()
    for value in stream.receive(data):
        assert not isinstance(value, GobStreamError) or stream.lost
    try:
        decode_gob(data)
    except GobError:
        return


# Bombs.


def nested(levels: int) -> bytes:
    """A list in a list in a list, defined by itself."""
    schema = GobSchema({65: SliceType("Deep", 65)}, root=65)
    body = b"\xff\x82\x00" + b"\x01" * levels + b"\x00"
    length = bytes((len(body),)) if len(body) < 128 else b"\xfe" + len(body).to_bytes(2)
    return schema.definitions + length + body


def test_depth_is_bounded() -> None:
    assert decode_gob(nested(20))
    with pytest.raises(GobError, match="nested deeper than 24 levels"):
        decode_gob(nested(40))
    with pytest.raises(GobError, match="nested deeper"):
        decode_gob(nested(60_000))


def test_lengths_are_bounded() -> None:
    schema = GobSchema({65: SliceType("List", Basic.UINT)}, root=65)
    with pytest.raises(GobError, match="1152921504606846976 elements are announced in 0 bytes"):
        decode_gob(schema.definitions + b"\x0c\xff\x82\x00\xf8\x10" + bytes(7))
    stream = GobStream(GobLimits(max_message_bytes=100))
    (error,) = stream.receive(b"\x65")
    assert isinstance(error, GobStreamError)
    assert "a message of 101 bytes is announced" in str(error)
    assert stream.receive(SESSION) == []


def test_the_number_of_values_and_types_is_bounded() -> None:
    schema = GobSchema({65: SliceType("List", Basic.UINT)}, root=65)
    many = schema.definitions + schema.encode(cast("GobValue", [1] * 9000))
    with pytest.raises(GobError, match="more values than are taken"):
        decode_gob(many)
    types = {65 + n: SliceType("", Basic.UINT) for n in range(300)}
    found = GobStream().receive(GobSchema(types, root=65).definitions)
    assert len(found) == 300 - 256
    assert "more than 256 types" in str(found[0])


def test_the_same_type_is_not_defined_twice() -> None:
    definitions = GobSchema({65: PAYLOAD}, root=65).definitions
    (error,) = GobStream().receive(definitions * 2)
    assert "type 65 is defined a second time" in str(error)


def test_gobs_own_types_are_not_redefined() -> None:
    with pytest.raises(GobError, match="belongs to gob itself"):
        decode_gob(GobSchema({6: PAYLOAD}, root=6).definitions)


def test_two_kilobytes_are_read_in_a_moment() -> None:
    types: dict[int, GobType] = {65: SliceType("x", 66), 66: StructType("s", ())}
    schema = GobSchema(types, root=65)

    worst = schema.definitions + schema.encode(cast("GobValue", [{}] * 1990))
    took = []
    for _ in range(5):
        start = time.perf_counter()
        decode_gob(worst)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.02  # a millisecond here; a busy machine may take its time


def test_a_long_message_in_single_bytes_is_copied_once() -> None:
    schema = GobSchema({65: PAYLOAD}, root=65)
    stream = GobStream()
    stream.receive(schema.definitions)
    message = schema.encode({"Data": bytes(100_000)})
    found = [value for byte in message for value in stream.receive(bytes((byte,)))]
    assert found == [{"Data": bytes(100_000)}]


def test_maps_with_structs_as_keys_are_refused() -> None:
    types: dict[int, GobType] = {65: MapType("m", 66, Basic.UINT), 66: StructType("k", ())}
    data = GobSchema(types, root=65).definitions + b"\x04\xff\x82\x00\x00"
    with pytest.raises(GobError, match="keys that are no texts"):
        decode_gob(data)
