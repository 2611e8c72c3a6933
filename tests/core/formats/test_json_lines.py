"""A record is one line of JSON that no terminal obeys."""

from __future__ import annotations

from hypothesis import given

from trireme_collector import EndPoint, FlowRecord, Record, decode_json, encode_json
from trireme_collector.formats import render_json_line, render_json_lines
from trireme_collector.testing.strategies import NASTY_TEXT, records


@given(records())
def test_a_line_is_read_back_equal(record: Record) -> None:
    assert decode_json(render_json_line(record)) == record


@given(records(text=NASTY_TEXT))
def test_a_line_is_one_printable_line(record: Record) -> None:
    line = render_json_line(record)
    assert line[-1:] == b"\n"
    assert line[:-1].decode().isprintable()
    assert decode_json(line) == decode_json(encode_json(record))


def test_golden() -> None:
    record = FlowRecord(destination=EndPoint(uri="é\x1b\u202e\x7f\U000e0001\u2028"))
    line = render_json_line(record)
    assert '"uri":"é\\u001b\\u202e\\u007f\\udb40\\udc01\\u2028"'.encode() in line


def test_many_lines_are_the_lines() -> None:
    batch = [FlowRecord(count=1), FlowRecord(count=2)]
    assert render_json_lines(batch) == b"".join(map(render_json_line, batch))
    assert render_json_lines([]) == b""
