"""Every kind of value, written and read again, and the bytes that Go writes for some."""

from __future__ import annotations

import math
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.monitor.gob import (
    ArrayType,
    Basic,
    Field,
    GobError,
    GobSchema,
    GobStruct,
    GobType,
    GobValue,
    MapType,
    OpaqueKind,
    OpaqueType,
    SliceType,
    StructType,
    bytes_field,
    decode_gob,
    list_field,
    number_field,
    struct_field,
    text_field,
    texts_field,
)

TYPES: dict[int, GobType] = {
    65: StructType(
        "All",
        (
            Field("Flag", Basic.BOOL),
            Field("Signed", Basic.INT),
            Field("Unsigned", Basic.UINT),
            Field("Real", Basic.FLOAT),
            Field("Raw", Basic.BYTES),
            Field("Text", Basic.STRING),
            Field("Plane", Basic.COMPLEX),
            Field("List", 66),
            Field("Pair", 67),
            Field("Map", 68),
            Field("Inner", 69),
            Field("Url", 70),
            Field("Self", 65),
        ),
    ),
    66: SliceType("[]string", Basic.STRING),
    67: ArrayType("[2]uint", Basic.UINT, 2),
    68: MapType("map[string][]string", Basic.STRING, 66),
    69: StructType("Inner", (Field("ID", Basic.UINT),)),
    70: OpaqueType("URL", OpaqueKind.BINARY),
}
SCHEMA = GobSchema(TYPES, root=65)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LISTS: st.SearchStrategy[object] = st.lists(TEXTS, min_size=1, max_size=4)
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "Flag": st.just(value=True),
    "Signed": st.integers(-(1 << 63), (1 << 63) - 1).filter(bool),
    "Unsigned": st.integers(1, (1 << 64) - 1),
    "Real": st.floats(allow_nan=False).filter(bool),
    "Raw": st.binary(min_size=1, max_size=20),
    "Text": TEXTS.filter(bool),
    "Plane": st.complex_numbers(allow_nan=False).filter(bool),
    "List": LISTS,
    "Pair": st.lists(st.integers(0, 255), min_size=2, max_size=2),
    "Map": st.dictionaries(TEXTS, LISTS, min_size=1, max_size=3),
    "Inner": st.fixed_dictionaries({"ID": st.integers(1, 9)}),
    "Url": st.binary(min_size=1, max_size=20),
}
VALUES: st.SearchStrategy[dict[str, object]] = st.recursive(
    st.fixed_dictionaries({}, optional=FIELDS),
    lambda inner: st.fixed_dictionaries({"Self": inner}, optional=FIELDS),
    max_leaves=4,
)


@given(VALUES)
def test_what_is_written_is_read_again(made: dict[str, object]) -> None:
    value = cast("GobStruct", made)
    assert decode_gob(SCHEMA.definitions + SCHEMA.encode(value)) == value


# What Go's own documentation of the encoding gives as examples.
def test_the_bytes_of_go() -> None:
    types = {65: StructType("Point", (Field("X", Basic.INT), Field("Y", Basic.INT)))}
    schema = GobSchema(types, root=65)
    assert schema.definitions.hex() == (
        "1fff8103010105506f696e7401ff820001020101580104000101590104000000"
    )
    assert schema.encode({"X": 22, "Y": 33}).hex() == "07ff82012c014200"


@pytest.mark.parametrize(
    ("kind", "value", "encoded"),
    [
        (Basic.UINT, 7, "03060007"),
        (Basic.UINT, 256, "050600fe0100"),
        (Basic.INT, -129, "050400fe0101"),
        (Basic.FLOAT, 17.0, "050800fe3140"),
        (Basic.STRING, "hé", "06 0c00 03 68c3a9"),
        (Basic.BOOL, True, "03020001"),
        (Basic.INT, 0, "03040000"),
    ],
)
def test_values_that_stand_alone(kind: Basic, value: GobValue, encoded: str) -> None:
    data = bytes.fromhex(encoded)
    assert GobSchema({}, root=kind).encode(value) == data
    assert decode_gob(data) == value


def test_infinity_and_nan() -> None:
    schema = GobSchema({}, root=Basic.FLOAT)
    assert decode_gob(schema.encode(-math.inf)) == -math.inf
    value = decode_gob(schema.encode(math.nan))
    assert isinstance(value, float)
    assert math.isnan(value)


def test_interfaces() -> None:
    types = {65: StructType("Box", (Field("Any", Basic.INTERFACE), Field("ID", Basic.UINT)))}
    definitions = GobSchema(types, root=65).definitions
    five = bytes.fromhex("0e ff82 01 03 696e74 04 02 000a 01 09 00")
    assert decode_gob(definitions + five) == {"Any": 5, "ID": 9}
    with pytest.raises(GobError, match="another length than announced"):
        decode_gob(definitions + five.replace(b"\x04\x02", b"\x04\x03"))
    assert decode_gob(definitions + bytes.fromhex("05ff82010000")) == {"Any": None}


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"Nothing": 1}, "struct 'All' has no field 'Nothing'"),
        ({"Signed": 1 << 63}, "does not fit 64 bits with a sign"),
        ({"Unsigned": -1}, "does not fit 64 bits without a sign"),
        ({"Text": 3}, "found int, expected a value of type 6"),
        ({"List": 3}, "found int, expected a value for SliceType"),
        ({"Pair": [1]}, "1 elements for an array of 2"),
        ({"Url": "x"}, "found str, expected a value for OpaqueType"),
        ([], "found list, expected a value for StructType"),
    ],
)
def test_values_that_do_not_fit_their_type(value: GobValue, complaint: str) -> None:
    with pytest.raises(GobError, match=complaint):
        SCHEMA.encode(value)


def test_fields_are_checked() -> None:
    struct: GobStruct = {"n": 1, "t": "x", "b": b"y", "l": ["z"], "s": {"k": 1}}
    assert (number_field(struct, "n"), number_field(struct, "-")) == (1, 0)
    assert (text_field(struct, "t"), text_field(struct, "-")) == ("x", "")
    assert (bytes_field(struct, "b"), bytes_field(struct, "-")) == (b"y", b"")
    assert (texts_field(struct, "l"), list_field(struct, "-")) == (["z"], [])
    assert (struct_field(struct, "s"), struct_field(struct, "-")) == ({"k": 1}, None)
    for read in (number_field, bytes_field, list_field, texts_field, struct_field):
        with pytest.raises(GobError, match="field 't' is of type str, expected"):
            read(struct, "t")
    with pytest.raises(GobError, match="field 'n' is of type int, expected a text"):
        text_field(struct, "n")
