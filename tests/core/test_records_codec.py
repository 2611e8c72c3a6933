"""The JSON form and the MessagePack form give back what they were given."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given

from trireme_collector import (
    RECORD_TYPES,
    ActionType,
    EndPoint,
    EndPointType,
    FlowRecord,
    PacketReport,
    Record,
    decode_json,
    decode_msgpack,
    encode_json,
    encode_msgpack,
    json_schema,
)
from trireme_collector.testing.strategies import NASTY_TEXT, records


@given(records())
def test_json_round_trip(record: Record) -> None:
    assert decode_json(encode_json(record)) == record


@given(records())
def test_msgpack_round_trip(record: Record) -> None:
    assert decode_msgpack(encode_msgpack(record)) == record


@given(records(text=NASTY_TEXT))
def test_any_text_can_be_encoded_on_one_line(record: Record) -> None:
    encoded = encode_json(record)
    assert b"\n" not in encoded
    assert type(decode_json(encoded)) is type(record)
    assert decode_msgpack(encode_msgpack(record)) == decode_json(encoded)


def test_lone_surrogates_become_the_replacement_character() -> None:
    record = FlowRecord(destination=EndPoint(uri="a\ud800b"), packets=1)
    for decoded in (decode_json(encode_json(record)), decode_msgpack(encode_msgpack(record))):
        assert isinstance(decoded, FlowRecord)
        assert decoded.destination.uri == "a\ufffdb"
        assert decoded.packets == 1


def test_golden_json_of_a_flow() -> None:
    record = FlowRecord(
        context_id="web",
        source=EndPoint(ip="10.0.0.1", port=4000),
        destination=EndPoint(id="pu", ip="10.0.0.2", port=80, type=EndPointType.PU),
        tags=("app=web",),
        count=1,
        action=ActionType.ACCEPT_LOG,
        l4_protocol=6,
        packets=3,
    )
    assert json.loads(encode_json(record)) == {
        "type": "flow",
        "context_id": "web",
        "namespace": "",
        "source": {
            "id": "",
            "ip": "10.0.0.1",
            "uri": "",
            "http_method": "",
            "user_id": "",
            "type": "ext",
            "port": 4000,
        },
        "destination": {
            "id": "pu",
            "ip": "10.0.0.2",
            "uri": "",
            "http_method": "",
            "user_id": "",
            "type": "pu",
            "port": 80,
        },
        "tags": ["app=web"],
        "drop_reason": "",
        "policy_id": "",
        "observed_policy_id": "",
        "service_type": "L3",
        "service_id": "",
        "count": 1,
        "action": "accept|log",
        "observed_action": "none",
        "l4_protocol": 6,
        "packets": 3,
    }


@pytest.mark.parametrize("tag", RECORD_TYPES)
def test_the_type_alone_makes_an_empty_record(tag: str) -> None:
    record = decode_json(json.dumps({"type": tag}))
    assert record == RECORD_TYPES[tag]()


def test_unknown_fields_are_those_of_a_newer_version() -> None:
    assert decode_json('{"type":"packet","colour":"green"}') == PacketReport()


@pytest.mark.parametrize("text", ["{}", '{"type":"nothing"}', '{"type":"flow","count":"x"}'])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_json(text)


@pytest.mark.parametrize("text", ["", "{", "[1", "\x00"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_json(text)


def test_the_schema_names_every_kind() -> None:
    schema = json.dumps(json_schema())
    assert all(f'"{tag}"' in schema for tag in RECORD_TYPES)
    assert "2020-12" in schema
