"""A request is read, refused or not whole yet; never anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.metrics._requests import (
    MAX_HEAD_BYTES,
    Request,
    read_request,
    write_response,
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Request(0, "/metrics")),
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\nbody", Request(0, "/metrics")),
        (
            b"HEAD / HTTP/1.1\r\nACCEPT: Text/Plain\r\naccept:, a/b\r\n\r\n",
            Request(0, "/", " text/plain, a/b", is_head=True),
        ),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n", None),
        (b"", None),
        (b"POST /metrics HTTP/1.1\r\n\r\n", Request(405)),
        (b"GET /metrics HTTP/2.0\r\n\r\n", Request(400)),
        (b"GET http://x/ HTTP/1.1\r\n\r\n", Request(400)),
        (b"GET /a b HTTP/1.1\r\n\r\n", Request(400)),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", Request(400)),
        (b"\x16\x03\x01\r\n\r\n", Request(400)),
        (b"G" * (MAX_HEAD_BYTES - 1), None),
        (b"G" * MAX_HEAD_BYTES, Request(431)),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * MAX_HEAD_BYTES + b"\r\n\r\n", Request(431)),
    ],
)
def test_requests_are_read(data: bytes, expected: Request | None) -> None:
    assert read_request(data) == expected


@given(st.binary(max_size=300))
def test_any_bytes_have_one_outcome(data: bytes) -> None:
    request = read_request(data + b"\r\n\r\n")
    assert request is not None
    assert request.status in {0, 400, 405}


@given(st.binary(max_size=60), st.integers(0, 60))
def test_the_pieces_do_not_matter(data: bytes, cut: int) -> None:
    whole = b"GET /" + data + b" HTTP/1.1\r\n\r\n"
    early = read_request(whole[:cut])
    assert early is None or early == read_request(whole)


def test_an_answer_has_no_body_where_none_is_wanted() -> None:
    answer = write_response(405, "text/plain", b"no\n", is_head=True)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert b"Content-Length: 3" in head
    assert b"Allow: GET, HEAD" in head
    assert body == b""
