"""Requests and answers as bytes: golden lines, round trips, and every kind of garbage."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.control._protocol import (
    MAX_ANSWER_BYTES,
    MAX_REQUEST_BYTES,
    ErrorKind,
    Failure,
    Request,
    read_answer,
    read_request,
    write_failure,
    write_request,
    write_result,
)


class Item(msgspec.Struct):
    """What stands in an answer."""

    text: str


def test_lines_as_they_are_documented() -> None:
    assert write_request("reload") == b'{"version":1,"command":"reload","arguments":{}}\n'
    assert write_result(Item("x")) == b'{"version":1,"ok":true,"result":{"text":"x"}}\n'
    failure = Failure(kind=ErrorKind.CONFIG, message="m", problems=("a:1:2: p",))
    assert write_failure(failure) == (
        b'{"version":1,"ok":false,"error":{"kind":"config","message":"m",'
        b'"problems":["a:1:2: p"]}}\n'
    )


@pytest.mark.parametrize(
    "line",
    [b'{"command":"status"}\n', b' {"version":1, "command":"status", "arguments": {} } \r\n'],
)
def test_what_may_be_left_out(line: bytes) -> None:
    request = read_request(line)
    assert isinstance(request, Request)
    assert request.command == "status"


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"status\n",
        b"[]\n",
        b"{}\n",
        b'{"command":1}\n',
        b'{"command":"status","version":2}\n',
        b'{"command":"status","argument":{}}\n',
        b'{"command":"\xff\xfe"}\n',
        b'{"command":"status"} {}\n',
        b"[" * 16_000 + b"\n",
        b'{"command":"status","arguments":' + b"[" * 16_000 + b"\n",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\n",
    ],
)
def test_what_is_no_request_is_refused(line: bytes) -> None:
    failure = read_request(line)
    assert isinstance(failure, Failure)
    assert failure.kind == ErrorKind.BAD_REQUEST


def test_a_line_that_is_not_whole_is_waited_for_up_to_the_limit() -> None:
    assert read_request(b"") is None
    assert read_request(b" " * (MAX_REQUEST_BYTES - 1)) is None
    assert isinstance(read_request(b" " * MAX_REQUEST_BYTES), Failure)
    assert isinstance(read_request(b" " * MAX_REQUEST_BYTES + b'{"command":"x"}\n'), Failure)


@given(st.text(), st.text())
def test_requests_come_back(command: str, text: str) -> None:
    request = read_request(write_request(command, Item(text)))
    assert isinstance(request, Request)
    assert request.command == command
    assert msgspec.json.decode(request.arguments, type=Item) == Item(text)


@given(st.text(), st.lists(st.text()))
def test_answers_come_back(text: str, problems: list[str]) -> None:
    answer = read_answer(write_result(Item(text))[:-1])
    assert answer.ok
    assert msgspec.json.decode(answer.result, type=Item) == Item(text)
    failure = Failure(kind="later", message=text, problems=tuple(problems))
    answer = read_answer(write_failure(failure)[:-1])
    assert (answer.ok, answer.error) == (False, failure)


@given(st.binary(max_size=300))
def test_reading_never_raises_anything_else(data: bytes) -> None:
    assert isinstance(read_request(data + b"\n"), (Request, Failure))
    try:
        read_answer(data)
    except ValueError:
        return


def test_an_answer_is_never_too_long() -> None:
    line = write_result(Item("x" * MAX_ANSWER_BYTES))
    assert json.loads(line)["error"]["kind"] == "internal"
    many = tuple("p" * 2000 for _ in range(2000))
    line = write_failure(Failure(kind="config", message="m" * 5000, problems=many))
    error = json.loads(line)["error"]
    assert (len(line) < MAX_ANSWER_BYTES, len(error["problems"])) == (True, 20)


def test_a_later_version_may_say_more() -> None:
    answer = read_answer(b'{"version":7,"ok":true,"result":{"text":"x"},"more":[1]}')
    assert bytes(answer.result) == b'{"text":"x"}'


def test_an_answer_that_is_nested_too_deeply() -> None:
    with pytest.raises(ValueError, match="nested"):
        read_answer(b'{"version":1,"ok":true,"result":' + b"[" * 100_000)
