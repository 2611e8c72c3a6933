"""Frames are read exactly, whatever the pieces they come in; anything else is one error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector_syslog._relp_frames import (
    MAX_DATA_BYTES,
    MAX_NUMBER,
    Answer,
    Frame,
    FrameReader,
    RelpError,
    parse_answer,
    parse_offers,
    render_frame,
)

COMMANDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=32)
FRAMES = st.builds(Frame, st.integers(0, MAX_NUMBER), COMMANDS, st.binary(max_size=300))

# What rsyslog 8.2302 with librelp 1.11 answers.
OPEN_ANSWER = (
    b"1 rsp 93 200 OK\nrelp_version=0\nrelp_software=librelp,1.11.0,"
    b"http://librelp.adiscon.com\ncommands=syslog\n"
)


def test_golden_frames() -> None:
    assert render_frame(2, "syslog", b"<13>1 - - - - - - hi") == (
        b"2 syslog 20 <13>1 - - - - - - hi\n"
    )
    assert render_frame(3, "close", b"") == b"3 close 0\n"


def test_a_golden_session() -> None:
    frames = FrameReader().feed(OPEN_ANSWER + b"2 rsp 6 200 OK\n3 rsp 0\n0 serverclose 0\n")
    assert [(frame.number, frame.command) for frame in frames] == [
        (1, "rsp"),
        (2, "rsp"),
        (3, "rsp"),
        (0, "serverclose"),
    ]
    answer = parse_answer(frames[0].data)
    assert (answer.ok, answer.text) == (True, "OK")
    assert parse_offers(answer.data) == {
        "relp_version": "0",
        "relp_software": "librelp,1.11.0,http://librelp.adiscon.com",
        "commands": "syslog",
    }


@given(st.lists(FRAMES, max_size=5), st.integers(1, 40))
def test_frames_are_read_back_from_any_pieces(frames: list[Frame], step: int) -> None:
    stream = b"".join(render_frame(*frame) for frame in frames)
    reader = FrameReader()
    found = [
        frame
        for start in range(0, len(stream), step)
        for frame in reader.feed(stream[start : start + step])
    ]
    assert found == frames


@given(st.binary(max_size=200))
def test_any_bytes_give_frames_or_the_one_error(data: bytes) -> None:
    reader = FrameReader()
    try:
        for byte in data:
            reader.feed(bytes([byte]))
    except RelpError as error:
        assert str(error).isprintable()  # noqa: PT017  any bytes may raise it
    assert len(reader._data) <= MAX_DATA_BYTES + 60


@pytest.mark.parametrize(
    "wrong",
    [
        b"x rsp 0\n",
        b"1 r2 0\n",
        b"1  0\n",
        b"1 rsp x\n",
        b"-1 rsp 0\n",
        b"1 rsp 3\n",
        b"1 rsp 3 abcd",
        b"1234567890 ",
        b"1 " + b"a" * 33,
        b"1 rsp 65537 ",
        b"\xb2 rsp 0\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x50" * 9,
    ],
)
def test_what_is_no_frame_is_refused_as_soon_as_that_is_clear(wrong: bytes) -> None:
    with pytest.raises(RelpError):
        FrameReader().feed(wrong)


def test_answers() -> None:
    assert parse_answer(b"500 no \x1b[2J") == Answer(500, "no ?[2J", b"")
    assert parse_answer(b"200") == Answer(200, "", b"")
    for wrong in (b"", b"OK", b"20 OK", b"2000 OK", b"\xb2\xb2\xb2 OK"):
        with pytest.raises(RelpError, match="without a code"):
            parse_answer(wrong)


@given(st.binary(max_size=200))
def test_offers_are_read_from_anything(data: bytes) -> None:
    for name, value in parse_offers(data).items():
        assert "=" not in name
        assert "\n" not in name + value
