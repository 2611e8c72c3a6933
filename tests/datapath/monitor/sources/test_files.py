"""Messages in files: the four forms, finding out which, damage, and following a file."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.monitor.sources import (
    MAX_MESSAGE_BYTES,
    Event,
    FileSource,
    InputError,
    InputForm,
    Payload,
    SourceError,
    SourceFault,
    decoder_for,
    detect_form,
)

DATA = Path(__file__).parents[3] / "data" / "monitor"
SESSION = DATA / "session.gob"
MESSAGES = [
    bytes.fromhex(payload["data"])
    for payload in json.loads((DATA / "session.json").read_bytes())
    if payload["data"]
]
PLAIN = [Payload(data=message) for message in MESSAGES]


def hex_lines() -> bytes:
    return b"# recorded\n\n" + b"".join(m.hex().encode() + b"\n" for m in MESSAGES)


def lengths() -> bytes:
    return b"".join(struct.pack("<I", len(m)) + m for m in MESSAGES)


def read(form: InputForm, data: bytes, sizes: list[int] | None = None) -> list[Event]:
    decoder = decoder_for(form)
    found: list[Event] = []
    start = 0
    for size in (*(sizes or []), len(data)):
        found += decoder.receive(data[start : start + size])
        start += size
    return found + decoder.end()


@pytest.mark.parametrize("form", [InputForm.AUTO, InputForm.HEX])
def test_lines_of_hex(form: InputForm) -> None:
    assert read(form, hex_lines()) == PLAIN
    assert read(form, hex_lines().rstrip()) == PLAIN
    spaced = b"01 02:03\t04\r\n"
    assert read(form, spaced) == [Payload(data=b"\x01\x02\x03\x04")]


@pytest.mark.parametrize("form", [InputForm.AUTO, InputForm.LENGTH])
def test_lengths_in_front(form: InputForm) -> None:
    assert read(form, lengths()) == PLAIN


@pytest.mark.parametrize("form", [InputForm.AUTO, InputForm.RAW])
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message[:2].hex())
def test_one_raw_message(form: InputForm, message: bytes) -> None:
    assert read(form, message) == [Payload(data=message)]


@pytest.mark.parametrize("form", [InputForm.AUTO, InputForm.SESSION])
def test_a_session(form: InputForm) -> None:
    found = read(form, SESSION.read_bytes())
    written = json.loads((DATA / "session.json").read_bytes())
    assert found == [
        Payload(data=bytes.fromhex(p["data"]), cpu=p["cpu"], lost=p["lost"], type=p["type"])
        for p in written
    ]


def test_an_empty_input() -> None:
    for form in InputForm:
        assert read(form, b"") == []


@given(st.lists(st.integers(1, 200), max_size=40), st.sampled_from(["hex", "length", "auto"]))
def test_pieces_of_any_size_give_the_same(sizes: list[int], form: str) -> None:
    data = lengths() if form == "length" else hex_lines()
    assert read(InputForm(form), data, sizes) == PLAIN


@given(st.binary(max_size=200), st.sampled_from(InputForm))
def test_any_bytes_are_messages_or_errors(data: bytes, form: InputForm) -> None:
    for event in read(form, data, [7, 30]):
        assert isinstance(event, Payload) or event.message


def test_a_line_that_is_no_hex_is_one_error() -> None:
    found = read(InputForm.HEX, b"# first\n0102\nxyz\n010\n0304\n05 # a drop\n")
    assert [event.data for event in found if isinstance(event, Payload)] == [b"\1\2", b"\3\4"]
    errors = [event for event in found if isinstance(event, SourceError)]
    assert [error.fault for error in errors] == [SourceFault.DAMAGED] * 3
    assert [error.message for error in errors] == [
        "line 3 is passed over: 'x' is no hexadecimal digit",
        "line 4 is passed over: 3 hexadecimal digits are no whole bytes",
        "line 6 is passed over: '#' is no hexadecimal digit",
    ]


def test_hex_may_be_written_in_several_ways() -> None:
    lines = b"0x08AB\n08 ab\r\n08:Ab\n\t08 AB \n0x\n"
    for form in (InputForm.HEX, InputForm.AUTO):
        assert [event.data for event in read(form, lines) if isinstance(event, Payload)] == [
            b"\x08\xab"
        ] * 4


@pytest.mark.parametrize("start", [b"zz\n", b"0x08\n", b"hello", b"-vv\n08"])
def test_text_is_taken_for_hex_even_if_it_begins_with_a_mistake(start: bytes) -> None:
    assert detect_form(start) is InputForm.HEX
    assert detect_form(start + b"\0") is not InputForm.HEX


def test_a_line_without_end_is_passed_over() -> None:
    decoder = decoder_for(InputForm.HEX)
    piece = b"00" * (1 << 19)
    found = [event for _ in range(9) for event in decoder.receive(piece)]
    assert len(found) == 1
    assert isinstance(found[0], SourceError)
    assert found[0].message.startswith("line 1 is passed over: it is longer than")
    assert decoder.receive(b"00\n0102\n") == [Payload(data=b"\1\2")]


def test_a_length_that_cannot_be_right_ends_the_input() -> None:
    found = read(InputForm.LENGTH, lengths() + struct.pack("<I", MAX_MESSAGE_BYTES + 1) + bytes(90))
    assert found[:-1] == PLAIN
    assert isinstance(found[-1], SourceError)
    assert found[-1].fault is SourceFault.UNREADABLE


def test_an_input_that_ends_inside_a_message() -> None:
    for form, data in ((InputForm.LENGTH, lengths()), (InputForm.SESSION, SESSION.read_bytes())):
        error = read(form, data[:-3])[-1]
        assert isinstance(error, SourceError)
        assert error.fault is SourceFault.CUT


def test_a_raw_message_that_is_too_long() -> None:
    (error,) = read(InputForm.RAW, bytes(MAX_MESSAGE_BYTES + 1))
    assert isinstance(error, SourceError)
    assert error.fault is SourceFault.UNREADABLE


def test_forms_are_told_apart() -> None:
    assert detect_form(b"0185ff\n") is InputForm.HEX
    assert detect_form(b"# anything \xff\n") is InputForm.HEX
    assert detect_form(lengths()[:64]) is InputForm.LENGTH
    assert detect_form(SESSION.read_bytes()[:32]) is InputForm.SESSION
    assert detect_form(b"\x01\x85") is InputForm.RAW


# Files.


def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "messages.hex"
    path.write_bytes(hex_lines())
    source = FileSource(str(path)).open()
    assert [event for events in source.events() for event in events] == PLAIN
    source.close()


def test_a_file_that_grows_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "messages.hex"
    path.write_bytes(b"0101\n")
    more = [b"0202\n03", b"03\n"]

    def pause(_: float) -> None:
        with path.open("ab") as file:
            file.write(more.pop(0))

    source = FileSource(str(path), follow=True, pause=pause).open()
    found: list[Event] = []
    for events in source.events():
        found += events
        if len(found) == 3:
            break
    source.close()
    assert found == [Payload(data=bytes((n, n))) for n in (1, 2, 3)]


@pytest.mark.parametrize("how", ["replaced", "shortened"])
def test_a_file_that_begins_anew_is_read_anew(tmp_path: Path, how: str) -> None:
    path = tmp_path / "messages.hex"
    path.write_bytes(b"0101\n0101\n")
    steps: list[str] = []

    def pause(_: float) -> None:
        steps.append(how)
        if how == "shortened":
            path.write_bytes(b"0202\n")
        else:
            (tmp_path / "next").write_bytes(b"0202\n0303\n0404\n")
            (tmp_path / "next").rename(path)

    source = FileSource(str(path), follow=True, pause=pause).open()
    found: list[Event] = []
    for events in source.events():
        found += events
        if len(found) > 2:
            break
    source.close()
    assert found[2] == Payload(data=b"\2\2")
    assert steps == [how]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing cannot be opened: No such file"):
        FileSource(str(tmp_path / "nothing")).open()
    source = FileSource(str(tmp_path)).open()
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        list(source.events())
    source.close()


# A recorded session, damaged in every place.


def messages_of(data: bytes) -> list[tuple[int, int, int]]:
    """Find the messages of a session: where each begins, its body begins, and it ends."""
    found = []
    position = 0
    while position < len(data):
        # A length of 128 and more stands behind the number of its bytes, here always one.
        long = data[position] == 0xFF
        body = position + 1 + long
        stop = body + data[position + long]
        found.append((position, body, stop))
        position = stop
    return found


def test_every_truncation_of_a_session_is_at_most_one_error() -> None:
    data = SESSION.read_bytes()
    whole = read(InputForm.SESSION, data)
    messages = messages_of(data)
    for end in range(len(data)):
        found = read(InputForm.SESSION, data[:end])
        begun = max(start for start, _, _ in messages if start <= end)
        if end > begun:
            message = f"gob: the stream ends inside a message, after {end - begun} bytes"
            assert found.pop() == SourceError(fault=SourceFault.CUT, message=message)
        assert found == whole[: len(found)]
        assert len(found) == max(0, sum(stop <= end for _, _, stop in messages) - 1)


def test_every_flipped_byte_of_a_message_costs_that_message_only() -> None:
    data = SESSION.read_bytes()
    whole = read(InputForm.SESSION, data)
    for number, (_, body, stop) in enumerate(messages_of(data)[1:]):
        others = whole[:number] + whole[number + 1 :]
        for place in range(body, stop):
            for mask in (0x01, 0x55, 0xFF):
                damaged = bytearray(data)
                damaged[place] ^= mask
                found = read(InputForm.SESSION, bytes(damaged))
                if len(found) == len(whole):  # else it has become a definition that nobody uses
                    spoilt = found.pop(number)
                    assert isinstance(spoilt, Payload) or spoilt.fault is SourceFault.DAMAGED
                assert found == others
