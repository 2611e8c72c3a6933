"""The strategies make what they say, of every kind."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from trireme_collector import RECORD_TYPES, FlowRecord, Record, decode_msgpack, encode_msgpack
from trireme_collector.records import EndPoint, PacketReport
from trireme_collector.testing import strategies


@pytest.mark.parametrize("tag", RECORD_TYPES)
def test_every_kind_is_drawn_and_survives_the_wire(tag: str) -> None:
    kind = RECORD_TYPES[tag]

    @given(strategies.records(kind))
    def check(record: Record) -> None:
        assert type(record) is kind
        assert decode_msgpack(encode_msgpack(record)) == record

    check()


def test_all_kinds_are_drawn_together() -> None:
    seen: set[type] = set()

    @settings(max_examples=200)
    @given(strategies.records())
    def look(record: Record) -> None:
        seen.add(type(record))

    look()
    assert seen == set(RECORD_TYPES.values())


@given(
    strategies.structs(FlowRecord, count=st.integers(1, 9), destination=st.just(EndPoint(port=5)))
)
def test_fields_can_be_chosen(record: FlowRecord) -> None:
    assert 1 <= record.count <= 9
    assert record.destination.port == 5


def test_absent_and_present_fields_are_drawn() -> None:
    seen: set[type] = set()

    @given(strategies.structs(PacketReport))
    def look(report: PacketReport) -> None:
        seen.add(type(report.interface))

    look()
    assert seen == {str, msgspec.UnsetType}


@pytest.mark.parametrize("nasty", ["\x1b", "\n", "\ud800"])
def test_nasty_text_is_as_nasty_as_it_says(nasty: str) -> None:
    assert find(strategies.NASTY_TEXT, lambda text: nasty in text) == nasty


def test_a_field_that_is_not_there_is_refused() -> None:
    with pytest.raises(TypeError, match="FlowRecord has no field cuont"):
        strategies.structs(FlowRecord, cuont=st.integers())


@pytest.mark.parametrize(
    "module", ["trireme_collector.testing.strategies", "trireme_datapath.testing.strategies"]
)
def test_without_hypothesis_the_extra_is_named(module: str) -> None:
    code = f"import sys; sys.modules['hypothesis'] = None; import {module}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert 'pip install "trireme-collector[testing]"' in done.stderr.splitlines()[-1]
