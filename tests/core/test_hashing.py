"""The hashes of the seed and of HEAD, against values that upstream's own code produced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_collector import (
    ActionType,
    ConnectionExceptionReport,
    EndPoint,
    FlowRecord,
    UserRecord,
    connection_exception_report_hash,
    fnv32_hash,
    hash_hash_with_namespace,
    stats_flow_content_hash,
    stats_flow_hash,
    stats_flow_hashes,
    stats_user_hash,
)
from trireme_collector.hashing import user_claims_hash

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "trireme_hashes.json").read_text(encoding="utf-8")
)


def flow(given_input: dict[str, Any]) -> FlowRecord:
    return FlowRecord(
        context_id=given_input["ContextID"],
        namespace=given_input["Namespace"],
        count=given_input["Count"],
        source=EndPoint(id=given_input["SourceID"], ip=given_input["SourceIP"]),
        destination=EndPoint(
            id=given_input["DestinationID"],
            ip=given_input["DestinationIP"],
            uri=given_input["DestinationURI"],
            port=given_input["DestinationPort"],
        ),
        drop_reason=given_input["DropReason"],
        policy_id=given_input["PolicyID"],
        action=ActionType.from_bits(given_input["Action"]),
        observed_action=ActionType.from_bits(given_input["ObservedAction"]),
    )


def test_every_group_of_vectors_has_a_test_or_a_reason() -> None:
    tested = {
        "StatsFlowHash",
        "StatsUserHash",
        "HashHashWithNamespace",
        "ConnectionExceptionReportHash_head",
        "Fnv32Hash",
        "enums",
        "upstream_golden",
    }
    explanations = {"about", "algorithms"}
    # Formats of the packet filter's log and of the identity tokens, which no record carries.
    elsewhere = {"FlowPolicy_log_prefix", "EncodedStringToAction", "claims_header_bytes"}
    assert set(VECTORS) == tested | explanations | elsewhere


@pytest.mark.parametrize("vector", VECTORS["StatsFlowHash"], ids=lambda v: str(v["name"]))
def test_flow_hashes(vector: dict[str, Any]) -> None:
    record = flow(vector["input"])
    assert stats_flow_hash(record) == vector["StatsFlowHash"]
    assert stats_flow_hashes(record) == (
        int(vector["head_flowhash"]),
        int(vector["head_contenthash"]),
    )
    assert stats_flow_content_hash(record) == int(vector["head_contenthash"])
    assert str(record.action) == vector["action_string"]
    assert str(record.observed_action) == vector["observed_action_string"]
    assert str(record) == vector["FlowRecord_String"]


@pytest.mark.parametrize("vector", VECTORS["StatsUserHash"], ids=lambda v: str(v["name"]))
def test_user_hashes(vector: dict[str, Any]) -> None:
    record = UserRecord(claims=tuple(vector["Claims"]), namespace=vector["Namespace"])
    hashed = stats_user_hash(record)
    assert user_claims_hash(record.claims) == vector["inner_claims_hash"]
    assert hashed.id == vector["ID"]
    assert list(hashed.claims) == vector["claims_after_call"]


def test_upstream_golden_values() -> None:
    golden = VECTORS["upstream_golden"]
    record = FlowRecord(
        drop_reason="none",
        policy_id="default",
        action=ActionType.ACCEPT,
        observed_action=ActionType.ACCEPT,
    )
    flow_hash, content_hash = stats_flow_hashes(record)
    assert str(flow_hash) == golden["StatsFlowHash_head_flowhash"]
    assert str(content_hash) == golden["StatsFlowHash_head_contenthash"]
    ids = {vector["ID"] for vector in VECTORS["StatsUserHash"]}
    assert set(golden["StatsUserHash"]) <= ids


@pytest.mark.parametrize("vector", VECTORS["HashHashWithNamespace"])
def test_hash_with_namespace(vector: dict[str, Any]) -> None:
    given_input = vector["input"]
    output = hash_hash_with_namespace(given_input["ClaimsHash"], given_input["Namespace"])
    assert output == vector["output"]


@pytest.mark.parametrize("vector", VECTORS["ConnectionExceptionReportHash_head"])
def test_connection_exception_hash(vector: dict[str, Any]) -> None:
    given_input = vector["input"]
    report = ConnectionExceptionReport(
        puid=given_input["PUID"],
        source_ip=given_input["SourceIP"],
        destination_ip=given_input["DestinationIP"],
        reason=given_input["Reason"],
        state=given_input["State"],
        destination_port=given_input["DestinationPort"],
    )
    assert connection_exception_report_hash(report) == int(vector["output"])


@pytest.mark.parametrize("vector", [v for v in VECTORS["Fnv32Hash"] if v["input"]])
def test_fnv32(vector: dict[str, Any]) -> None:
    assert fnv32_hash(*vector["input"]) == vector["output"]


def test_fnv32_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no data to hash"):
        fnv32_hash()


@given(st.text(), st.text())
def test_any_text_can_be_hashed(one: str, other: str) -> None:
    record = FlowRecord(source=EndPoint(id=one), destination=EndPoint(uri=other, port=70_000))
    assert stats_flow_hash(record).isdecimal()
    assert stats_user_hash(UserRecord(claims=(one, other))).id.isdecimal()
