"""Every decoder reads what was written, and says the same about what is too short."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.monitor import (
    DebugCapture,
    DebugMsg,
    DropNotify,
    MessageError,
    PolicyVerdictNotify,
    RecorderCapture,
    TraceNotify,
    TraceSockNotify,
    decode_message,
)

if TYPE_CHECKING:
    from trireme_datapath.monitor import Message

# Each message as a struct of the datapath: the first byte, the class, the layout of the rest.
LAYOUTS = [
    (1, "1.16", DropNotify, "BHIIIIIIHBbI", ()),
    (1, "1.9", DropNotify, "BHIIIIIII", ("line", "file", "ext_error", "ifindex")),
    (2, "1.16", DebugMsg, "BHIIII", ()),
    (3, "1.16", DebugCapture, "BHIIIII", ()),
    (5, "1.16", PolicyVerdictNotify, "BHIIHHIiHBBBBH", ()),
    (6, "1.16", RecorderCapture, "BHIqII", ()),
    (7, "1.16", TraceSockNotify, "B16sHQQBB", ()),
]
RANGES = {
    "B": st.integers(0, 0xFF),
    "b": st.integers(-0x80, 0x7F),
    "H": st.integers(0, 0xFFFF),
    "I": st.integers(0, 0xFFFFFFFF),
    "i": st.integers(-0x80000000, 0x7FFFFFFF),
    "Q": st.integers(0, (1 << 64) - 1),
    "q": st.integers(-(1 << 63), (1 << 63) - 1),
    "16s": st.binary(min_size=16, max_size=16),
}


def values_of(layout: str) -> st.SearchStrategy[tuple[object, ...]]:
    codes = layout.replace("16s", "s").replace("s", "S")
    return st.tuples(*(RANGES["16s" if code == "S" else code] for code in codes))


@pytest.mark.parametrize(("number", "profile", "kind", "layout", "absent"), LAYOUTS)
@given(data=st.data())
def test_round_trip(
    number: int,
    profile: str,
    kind: type[Message],
    layout: str,
    absent: tuple[str, ...],
    data: st.DataObject,
) -> None:
    values = (number, *data.draw(values_of(layout)))
    packet = data.draw(st.binary(max_size=8))
    message = struct.pack("<B" + layout, *values) + packet
    names = [name for name in kind.__struct_fields__ if name not in absent]
    decoded = decode_message(message, profile)
    assert isinstance(decoded, kind)
    fields = msgspec.structs.asdict(decoded)
    assert [fields[name] for name in names[: len(values)]] == list(values)
    header = len(message) - len(packet)
    for size in range(1, header):
        with pytest.raises(MessageError, match=rf"expected {header} but got {size}"):
            decode_message(message[:size], profile)


@given(values_of("BHIIH"), values_of("IIHBBI"), st.binary(min_size=16, max_size=16))
def test_traces(head: tuple[object, ...], tail: tuple[object, ...], original: bytes) -> None:
    names = TraceNotify.__struct_fields__[:13]
    for version, rest, offset in ((0, b"", 32), (1, original, 48)):
        values = (4, *head, version, *tail)
        message = struct.pack("<BBHIIHHIIHBBI", *values) + rest
        decoded = decode_message(message)
        assert isinstance(decoded, TraceNotify)
        fields = msgspec.structs.asdict(decoded)
        assert tuple(fields[name] for name in names) == values
        assert decoded.orig_ip == (rest or bytes(16))
        assert decoded.data_offset() == offset
        address = original if decoded.is_ipv6() else original[:4]
        assert decoded.original_ip().packed == (address if version else bytes(len(address)))


def test_a_trace_of_another_version_has_no_packet() -> None:
    assert TraceNotify(version=2).data_offset() == 0


def test_messages_do_not_change() -> None:
    with pytest.raises(AttributeError):
        DropNotify().hash = 1  # type: ignore[misc]  # that is the point
