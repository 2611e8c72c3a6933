"""Frames can be told apart again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.formats import frame_lf, frame_octet_counting


def split_octet_counting(stream: bytes) -> list[bytes]:
    messages = []
    while stream:
        length, _, rest = stream.partition(b" ")
        messages.append(rest[: int(length)])
        stream = rest[int(length) :]
    return messages


@given(st.lists(st.binary(max_size=300)))
def test_octet_counting_takes_any_content(messages: list[bytes]) -> None:
    stream = b"".join(map(frame_octet_counting, messages))
    assert split_octet_counting(stream) == messages


@given(st.lists(st.binary().filter(lambda m: b"\n" not in m)))
def test_line_ends_part_what_has_none(messages: list[bytes]) -> None:
    stream = b"".join(map(frame_lf, messages))
    assert stream.split(b"\n")[:-1] == messages


def test_golden() -> None:
    assert frame_octet_counting(b"<14>1 - - - - - -") == b"17 <14>1 - - - - - -"
    assert frame_lf(b"<14>1") == b"<14>1\n"
