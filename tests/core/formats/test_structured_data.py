"""The quick way to write parameters gives what the plain one does."""

from __future__ import annotations

from hypothesis import given

from trireme_collector import (
    ContainerRecord,
    FlowRecord,
    IPTablesTrace,
    IPTablesTraceRecord,
    Record,
)
from trireme_collector.formats._structured_data import (
    _KEPT,
    _MAX_KEPT,
    parameter_value,
    parameters,
    render_parameters,
)
from trireme_collector.testing.strategies import NASTY_TEXT, records


def plainly(record: Record) -> str:
    return "".join(f' {name}="{parameter_value(value)}"' for name, value in parameters(record))


@given(records(text=NASTY_TEXT))
def test_both_ways_agree(record: Record) -> None:
    assert render_parameters(record) == plainly(record)
    assert render_parameters(record) == plainly(record)


def test_a_field_of_a_wrong_type_costs_itself_alone() -> None:
    record = FlowRecord(context_id=5, policy_id="p1")  # type: ignore[arg-type]  # nobody checks it
    assert render_parameters(record) == plainly(record)


def test_what_is_kept_is_bounded() -> None:
    for number in range(_MAX_KEPT + 10):
        record = FlowRecord(tags=(str(number),))
        assert render_parameters(record) == plainly(record)
    assert 0 < len(_KEPT) <= _MAX_KEPT


def test_a_long_list_is_not_kept() -> None:
    record = ContainerRecord(tags=("long" * 1_000,))
    assert render_parameters(record) == plainly(record)
    assert all(kept != record.tags for _, _, kept in _KEPT)


def test_half_a_surrogate_pair_in_a_step_of_a_trace_is_replaced() -> None:
    step = IPTablesTraceRecord(chain="a\ud800b", ttl=7)
    rendered = render_parameters(IPTablesTrace(records=(step,)))
    assert '\\"chain\\":\\"a\ufffdb\\"' in rendered
    assert '\\"ttl\\":7' in rendered
