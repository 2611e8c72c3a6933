"""Bodies hold the canonical JSON of each record, the same bytes each time."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector import PacketReport, decode_json
from trireme_collector_http._bodies import BodyForm, digest, is_numbered, text_form
from trireme_collector_http._signature import sign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trireme_collector import Record

REPORTS = [PacketReport(packet_id=number, payload=b"\x00\xff") for number in range(3)]


def texts_of(records: Sequence[Record]) -> list[bytes]:
    return [text_form("json")(record) for record in records]


def test_json_is_one_array_of_records() -> None:
    form = BodyForm("json", "none")
    assert form.headers == {"Content-Type": "application/json"}
    body = form.build(texts_of(REPORTS))
    assert [decode_json(json.dumps(item)) for item in json.loads(body)] == REPORTS


def test_ndjson_is_one_record_a_line() -> None:
    form = BodyForm("ndjson", "none")
    assert form.headers == {"Content-Type": "application/x-ndjson"}
    lines = form.build(texts_of(REPORTS)).split(b"\n")
    assert [decode_json(line) for line in lines[:-1]] == REPORTS
    assert lines[-1] == b""


@pytest.mark.parametrize("layout", ["json", "ndjson"])
def test_compressed_bodies_are_the_same_bytes_each_time(layout: str) -> None:
    form = BodyForm(layout, "gzip")
    assert form.headers["Content-Encoding"] == "gzip"
    texts = texts_of(REPORTS)
    assert form.build(texts) == form.build(texts)
    assert form.build(texts)[4:8] == bytes(4), "the time in it would change"
    assert gzip.decompress(form.build(texts)) == BodyForm(layout, "none").build(texts)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=30), st.integers(1, 400))
def test_portions_fit_and_leave_nothing_out(texts: list[bytes], limit: int) -> None:
    form = BodyForm("json", "none")
    start = 0
    while start < len(texts):
        stop = form.fitting(texts, start, limit)
        assert stop > start
        assert stop == start + 1 or len(form.build(texts[start:stop])) <= limit
        # And no portion is smaller than it need be.
        assert stop == len(texts) or len(form.build(texts[start : stop + 1])) > limit - 2
        start = stop


def test_a_digest_sees_content_order_and_borders() -> None:
    assert len({digest(t) for t in ([b"a", b"b"], [b"b", b"a"], [b"ab"], [b"a"], [])}) == 5


def test_records_are_numbered_when_each_has_an_identity() -> None:
    numbered = [
        msgspec.structs.replace(report, instance="host-7", epoch=1, sequence=number)
        for number, report in enumerate(REPORTS, 1)
    ]
    assert is_numbered(numbered)
    assert not is_numbered([*numbered, REPORTS[0]])


@pytest.mark.parametrize(
    ("key", "message_id", "timestamp", "body", "expected"),
    [
        (  # The example of the Svix documentation, from which the specification grew.
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (  # The example of the Standard Webhooks specification.
            "plJ3nmyCDGBKInavdOK15jsl",
            "msg_loFOjxBNrRLzqYUf",
            1731705121,
            b'{"event_type":"ping","data":{"success":true}}',
            "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
        ),
    ],
)
def test_signatures_are_those_of_the_specification(
    key: str, message_id: str, timestamp: int, body: bytes, expected: str
) -> None:
    secret = base64.b64decode(key)
    assert sign([secret], message_id, timestamp, body) == expected
    two = sign([bytes(24), secret], message_id, timestamp, body)
    assert two.split(" ")[1] == expected
