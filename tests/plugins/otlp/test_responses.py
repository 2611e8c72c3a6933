"""What a receiver answers is read, and what is no answer rejects nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plugins.otlp.decoding import message_type
from trireme_collector.http_client import Answer
from trireme_collector_otlp._responses import PartialSuccess, read_response

JSON = "application/json; charset=utf-8"
PROTOBUF = "application/x-protobuf"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def read(kind: str, body: bytes) -> PartialSuccess:
    return read_response(Answer(200, {"content-type": kind}, body))


@given(st.integers(0, 2**63 - 1), TEXT)
def test_both_encodings_are_read(rejected: int, message: str) -> None:
    expected = PartialSuccess(rejected, message)
    partial = {"rejectedLogRecords": str(rejected), "errorMessage": message}
    assert read(JSON, json.dumps({"partialSuccess": partial}).encode()) == expected
    response = message_type("ExportLogsServiceResponse")()
    response.partial_success.rejected_log_records = rejected
    response.partial_success.error_message = message
    assert read(PROTOBUF, response.SerializeToString()) == expected


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, b""),
        (JSON, b"{}"),
        (JSON, b"[]"),
        (JSON, b'{"partialSuccess":{}}'),
        (JSON, b'{"partialSuccess":null}'),
        (JSON, b'{"partialSuccess":{"rejectedLogRecords":"-1"}}'),
        (JSON, b'{"partialSuccess":{"rejectedLogRecords":-1}}'),
        (JSON, b'{"partialSuccess":{"rejectedLogRecords":"1e5"}}'),
        (JSON, b'{"partialSuccess":{"rejectedLogRecords":true}}'),
        (JSON, b"[" * 10_000),
        (PROTOBUF, b""),
        (PROTOBUF, b"\x0a\x05\x08"),
        (PROTOBUF, b"\x0a\x02\x08\xff"),
        (PROTOBUF, b"\x0b"),
        (PROTOBUF, b"\xff" * 20),
        (PROTOBUF, b"\x0a\x0b\x08" + b"\xff" * 9 + b"\x01"),
        ("text/html", b"<html>"),
        ("", b'{"partialSuccess":{"rejectedLogRecords":"1"}}'),
    ],
)
def test_what_is_no_partial_success_rejects_nothing(kind: str, body: bytes) -> None:
    assert read(kind, body) == PartialSuccess()


def test_unknown_fields_are_passed_over() -> None:
    body = b"\x11" + bytes(8) + b"\x1d" + bytes(4) + b"\x20\x07\x0a\x04\x08\x03\x18\x01"
    assert read(PROTOBUF, body) == PartialSuccess(3, "")


@given(st.sampled_from([JSON, PROTOBUF, "", "x"]), st.binary(max_size=200))
def test_any_bytes_are_read(kind: str, body: bytes) -> None:
    partial = read(kind, body)
    assert 0 <= partial.rejected < 2**63
