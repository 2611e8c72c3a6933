"""What was begun is known message by message, whatever part of it is given again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from tests.plugins.kafka.test_errors import Fault
from trireme_collector import PacketReport
from trireme_collector_kafka._messages import Message
from trireme_collector_kafka._window import State, Window

if TYPE_CHECKING:
    from trireme_collector import Record


def render(record: Record) -> tuple[Message, ...]:
    assert isinstance(record, PacketReport)
    return tuple(Message(b"%d" % n, None) for n in range(record.packet_id % 3))


def reports(count: int, first: int = 0) -> list[PacketReport]:
    return [PacketReport(packet_id=n) for n in range(first, first + count)]


def test_equal_records_go_on_and_others_do_not() -> None:
    window = Window()
    window.admit(reports(5), render)
    assert window.common(reports(5)) == 5  # as they come from a disk: equal, not the same
    assert window.common(reports(3)) == 3
    assert window.common(reports(9)) == 5
    assert window.common(reports(5, 1)) == 0
    assert window.common([*reports(2), *reports(3, 7)]) == 2


def test_a_longer_batch_renders_what_is_new_only() -> None:
    window = Window()
    first = window.admit(reports(3), render)
    again = window.admit(reports(5), render)
    assert again[:3] == first
    assert len(window.entries) == 5
    assert window.admit(reports(2), render) == again[:2]


def test_a_record_is_taken_with_all_its_messages() -> None:
    window = Window()
    nothing, _, two = window.admit(reports(3), render)
    assert nothing.is_taken
    assert not two.is_taken
    two.shipments[0].settle(None, object())
    assert not two.is_taken
    two.shipments[1].settle(None, object())
    assert two.is_taken


@given(
    st.lists(st.sampled_from(["new", "waiting", "taken", "failed", "refused"]), max_size=12),
    st.integers(0, 12),
)
def test_starting_anew_keeps_what_is_known_to_be_taken(states: list[str], kept: int) -> None:
    window = Window()
    entries = window.admit([PacketReport(packet_id=1)] * len(states), render)
    for entry, state in zip(entries, states, strict=True):
        (shipment,) = entry.shipments
        match state:
            case "waiting":
                shipment.state = State.WAITING
            case "taken":
                shipment.settle(None, object())
            case "failed":
                shipment.settle(Fault(6), object())
            case "refused":
                shipment.refuse(Fault(10))
            case _:
                pass
    window.start_anew(kept)
    assert len(window.entries) == min(kept, len(states))
    for entry, state in zip(window.entries, states, strict=False):
        (shipment,) = entry.shipments
        assert shipment.state is (State.TAKEN if state == "taken" else State.NEW)
        assert shipment.fault is None
