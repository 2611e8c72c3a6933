"""The formatter: what it does with bytes that are no message, and what it counts."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.monitor.cilium_vectors import cases
from trireme_datapath.monitor import (
    EventFilter,
    Formatter,
    MessageError,
    Mode,
    decode_message,
    find_profile,
    render,
    render_stream,
)
from trireme_datapath.monitor.sources import PAYLOAD_SCHEMA

DEBUG = struct.pack("<BBHIIII", 2, 19, 7, 0xAB, 1, 0, 0)
DEBUG_LINE = "CPU 03: MARK 0xab FROM 7 DEBUG: Going to host, policy-skip=1\n"
MESSAGES = [
    bytes.fromhex(case["hex"])
    for _, case in cases(
        "agent", "capture", "debug", "drop", "l7", "policy-verdict", "recorder", "trace"
    )[::9]
]


def session(*payloads: dict[str, object]) -> bytes:
    """Write a session as an agent does: fields that are zero are not sent."""
    whole = ({"Data": b"", "CPU": 0, "Lost": 0, "Type": 9} | payload for payload in payloads)
    return PAYLOAD_SCHEMA.definitions + b"".join(
        PAYLOAD_SCHEMA.encode(payload)  # type: ignore[arg-type]  # values are of the schema
        for payload in whole
    )


def test_a_message_without_a_byte_prints_nothing_and_is_counted() -> None:
    formatter = Formatter()
    assert formatter.message(b"") == ""
    assert formatter.seen.malformed == 1
    with pytest.raises(MessageError, match="without a byte"):
        decode_message(b"")


def test_an_unknown_type_is_shown_as_it_is() -> None:
    assert render(b"\x08\xf9\x74", cpu=123) == "CPU 123: Unknown event: [8 249 116]\n"
    with pytest.raises(MessageError, match="unknown message type 8"):
        decode_message(b"\x08\xf9\x74")


@pytest.mark.parametrize("number", [6, 7])
def test_1_9_does_not_know_later_types(number: int) -> None:
    message = bytes([number]) + bytes(63)
    assert "Unknown event" in render(message, profile="1.9")
    assert "Unknown event" not in render(message, profile="1.16", mode="debug")


def test_what_is_seen_is_counted() -> None:
    formatter = Formatter(mode="debug", filter={"from": ["7"]})
    assert formatter.message(DEBUG, 3) == DEBUG_LINE
    assert formatter.message(DEBUG[:2] + b"\x08" + DEBUG[3:], 3) == ""
    assert formatter.message(b"\x02", 3) == "Error while parsing debug message: unexpected EOF\n"
    assert formatter.message(b"\xc8", 3) == "CPU 03: Unknown event: [200]\n"
    assert formatter.lost(17, 3) == "CPU 03: Lost 17 events\n"
    seen = formatter.seen
    assert seen.messages == {"debug": 3, "200": 1}
    assert (seen.filtered, seen.malformed, seen.lost) == (2, 1, 17)


def test_a_filter_may_be_an_object() -> None:
    wanted = EventFilter(types=frozenset({2}))
    assert Formatter(mode="debug", filter=wanted).message(DEBUG, 3) == DEBUG_LINE


@pytest.mark.parametrize(
    "arguments", [{"profile": "1.17"}, {"mode": "loud"}, {"profile": ""}], ids=str
)
def test_what_does_not_exist_is_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"1\.17|loud|''"):
        Formatter(**arguments)  # type: ignore[arg-type]  # that is the point


def test_options_and_modes_say_the_same() -> None:
    drop = bytes.fromhex("01850000" + "00" * 12 + "0100000002000000" + "00" * 40)
    assert Formatter(numeric=True).message(drop) == render(drop, mode="info_numeric")
    assert Formatter(mode="verbose", hexadecimal=True).message(drop) == render(
        drop, mode="verbose_hex"
    )


def test_an_event_of_processor_0_is_shown_with_the_last_other_number() -> None:
    data = session({"Data": DEBUG, "CPU": 3}, {"Data": DEBUG}, {"Data": DEBUG, "CPU": 1})
    line = DEBUG_LINE.replace("CPU 03", "CPU {}")
    assert render_stream(data, mode="debug") == "".join(map(line.format, ("03", "03", "01")))
    assert render_stream(data, mode="debug", fixed=True) == "".join(
        map(line.format, ("03", "00", "01"))
    )


def test_a_stream_goes_on_after_a_payload_that_cannot_be_read() -> None:
    whole = session({"Data": DEBUG, "CPU": 3}, {"Data": DEBUG, "CPU": 3})
    one = PAYLOAD_SCHEMA.encode({"Data": DEBUG, "CPU": 3, "Lost": 0, "Type": 9})
    damaged = bytearray(whole)
    damaged[len(whole) - 2 * len(one) + 3] = 0x7F  # a field that the struct does not have
    assert render_stream(bytes(damaged), mode="debug") == DEBUG_LINE
    assert render_stream(whole[:-1], mode="debug") == DEBUG_LINE
    assert render_stream(b"", mode="debug") == ""


@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda message, cut, at, bit: (
                message[: at % len(message)]
                + bytes([message[at % len(message)] ^ 1 << bit])
                + message[at % len(message) + 1 :]
            )[: max(cut, 1)],
            st.sampled_from(MESSAGES),
            st.integers(1, 2000),
            st.integers(0, 2000),
            st.integers(0, 7),
        ),
    ),
    st.sampled_from(["1.16", "1.9"]),
)
def test_any_bytes_have_a_text_in_every_mode(data: bytes, profile: str) -> None:
    known = bool(data) and data[0] in find_profile(profile).message_names.values()
    try:
        decode_message(data, profile)
        malformed = 0
    except MessageError:
        malformed = 1 if known or not data else 0
    for mode in Mode:
        for fixed in (False, True):
            formatter = Formatter(profile=profile, mode=mode, fixed=fixed)
            text = formatter.message(data, 2)
            text.encode()
            assert formatter.seen.malformed == malformed
            if fixed:
                assert not text or text.endswith("\n")
            if fixed and mode is Mode.JSON:
                (line,) = text.splitlines()
                assert isinstance(json.loads(line), dict)
