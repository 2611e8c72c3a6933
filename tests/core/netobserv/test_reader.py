"""What can be kept of broken input is kept; the rest is counted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.netobserv import FLOW_FIELDS, FlowReader

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[1]",
        b'"x"',
        b"{}{}",
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        b'{"Bytes":1e999}',
    ],
)
def test_what_is_no_object_is_lost(line: bytes) -> None:
    reader = FlowReader()
    assert reader.read(line) is None
    assert (reader.lines, reader.broken) == (1, 1)


def test_what_is_too_long_is_lost() -> None:
    reader = FlowReader(max_line_bytes=20)
    assert reader.read(b'{"SrcAddr":"1"}') is not None
    assert reader.read(b'{"SrcAddr":"' + b"1" * 20 + b'"}') is None
    assert reader.broken == 1


def test_a_wrong_type_costs_the_field_alone() -> None:
    reader = FlowReader()
    line = {"SrcAddr": 5, "SrcPort": "80", "Bytes": [1], "Proto": 6.0, "FlowDirection": "1"}
    assert reader.read(json.dumps(line)) == {"FlowDirection": 1, "SrcPort": 80, "Proto": 6}
    assert reader.wrong == {"SrcAddr": 1, "SrcPort": 1, "Bytes": 1, "FlowDirection": 1, "Proto": 1}


def test_a_field_that_nests_deeply_is_left_out() -> None:
    reader = FlowReader()
    line = b'{"Bytes":1,"a":%b1%b,"b":[[{"c":[]}]],"NetworkEvents":%b%b}'
    deep = line % (b"[" * 300, b"]" * 300, b"[" * 32, b"]" * 32)
    assert reader.read(deep) == {"Bytes": 1, "b": [[{"c": []}]]}
    assert reader.wrong == {"a": 1, "NetworkEvents": 1}


def test_unknown_fields_are_kept_behind_the_others() -> None:
    line = b'{"zoo":1,"Bytes":2,"app":null,"ant":[3]}'
    reader = FlowReader()
    assert list((reader.read(line) or {}).items()) == [("Bytes", 2), ("ant", [3]), ("zoo", 1)]
    assert reader.unknown.total() == 3
    assert FlowReader(unknown_fields="drop").read(line) == {"Bytes": 2}


def test_counting_names_is_bounded() -> None:
    reader = FlowReader()
    for number in range(1000):
        reader.read(json.dumps({f"x{number}": 1}))
    assert len(reader.unknown) == 257
    assert reader.unknown.total() == 1000


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert FlowReader().read(b'{"SrcAddr":"\xff"}') == {"SrcAddr": "\ufffd"}


@given(st.dictionaries(st.sampled_from(FLOW_FIELDS), JSON, max_size=6))
def test_anything_becomes_something_typed(flow: dict[str, object]) -> None:
    reader = FlowReader()
    fields = reader.read(json.dumps(flow))
    assert fields is not None
    assert None not in fields.values()
    assert FlowReader().read_flow(json.dumps(fields)) is not None
    assert reader.read(json.dumps(fields)) == fields, "reading again changes nothing"
