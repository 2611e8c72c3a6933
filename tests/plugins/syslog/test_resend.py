"""What was sent last is kept, within bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trireme_collector_syslog._resend import _OVERHEAD_BYTES, ResendWindow


def test_the_last_messages_are_kept_in_order() -> None:
    window = ResendWindow(10_000, 0)
    window.add([b"1", b"2"], 1.0)
    window.add([b"3"], 2.0)
    assert window.messages(1e9) == [b"1", b"2", b"3"]
    window.clear()
    assert (len(window), window.size_bytes) == (0, 0)


@given(st.lists(st.binary(max_size=300)), st.integers(1, 5_000))
def test_it_keeps_as_many_of_the_last_as_have_room(messages: list[bytes], limit: int) -> None:
    window = ResendWindow(limit, 0)
    for message in messages:
        window.add([message], 0.0)
    kept = list(window.messages(0.0))
    assert kept == messages[len(messages) - len(kept) :]
    assert sum(len(message) + _OVERHEAD_BYTES for message in kept) == window.size_bytes <= limit
    if len(kept) < len(messages):
        left_out = messages[-len(kept) - 1]
        assert window.size_bytes + len(left_out) + _OVERHEAD_BYTES > limit


def test_old_messages_are_let_go() -> None:
    window = ResendWindow(10_000, 5.0)
    window.add([b"old"], 10.0)
    window.add([b"new"], 14.0)
    assert window.messages(15.0) == [b"old", b"new"]
    assert window.messages(15.1) == [b"new"]


def test_without_room_nothing_is_kept() -> None:
    window = ResendWindow(0, 0)
    window.add([b"x"], 0.0)
    assert len(window) == 0
