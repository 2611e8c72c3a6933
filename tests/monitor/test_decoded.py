"""Every message: its fields, and what it says about itself, are those that Cilium reads."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

import msgspec
import pytest

from tests.monitor.cilium_vectors import Case, cases
from trireme_datapath.monitor import (
    DEBUG_CAPTURE_LEN,
    DEBUG_MSG_LEN,
    DROP_NOTIFY_LEN,
    POLICY_VERDICT_NOTIFY_LEN,
    TRACE_SOCK_NOTIFY_LEN,
    MessageError,
    PolicyVerdictNotify,
    TraceNotify,
    auth_type_name,
    decode_message,
    find_profile,
)

# Only 1.16 has a decoder for every kind of message.
DECODED = [
    (profile, case)
    for profile, case in cases("drop", "debug", "capture", "trace", "policy-verdict", "trace-sock")
    if "decoded" in case
]
OFFSETS = {
    "drop": DROP_NOTIFY_LEN,
    "debug": DEBUG_MSG_LEN,
    "capture": DEBUG_CAPTURE_LEN,
    "policy-verdict": POLICY_VERDICT_NOTIFY_LEN,
    "trace-sock": TRACE_SOCK_NOTIFY_LEN,
}


def name(value: object) -> str | None:
    return value["id"] if isinstance(value, dict) else None


def python_name(go_name: str) -> str:
    """Turn `SrcLabel` into `src_label`, and `DstID` into `dst_id`."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", go_name).lower()
    return {"l4proto": "l4_proto"}.get(text, text)


def unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Give the IPv4 address in an IPv6 one, as Go writes it."""
    mapped = None if isinstance(address, IPv4Address) else address.ipv4_mapped
    return mapped or address


def traced(message: TraceNotify) -> dict[str, object]:
    """Ask a trace what the names with an underscore stand for."""
    return {
        "_encrypted": message.is_encrypted(),
        "_is_decap": message.trace_reason_is_decap(),
        "_is_encap": message.trace_reason_is_encap(),
        "_is_known": message.trace_reason_is_known(),
        "_is_reply": message.trace_reason_is_reply(),
        "_original_ip": str(unmapped(message.original_ip())),
        "_trace_reason": message.trace_reason(),
    }


def judged(message: PolicyVerdictNotify) -> dict[str, object]:
    """Ask a verdict what the names with an underscore stand for."""
    match = message.policy_match_type()
    return {
        "_action": message.action(),
        "_audited": message.is_traffic_audited(),
        "_auth_type_str": auth_type_name(message.auth_type),
        "_ingress": message.is_traffic_ingress(),
        "_ipv6": message.is_traffic_ipv6(),
        "_match_type": match,
        "_match_type_str": find_profile("1.16").match_types.get(match, "unknown"),
    }


@pytest.mark.parametrize(("profile", "case"), DECODED, ids=name)
def test_fields(profile: str, case: Case) -> None:
    data = bytes.fromhex(case["hex"])
    expected = case["decoded"]
    if "error" in expected:
        with pytest.raises(MessageError) as raised:
            decode_message(data, profile)
        assert str(raised.value) == expected["error"]
        return
    message = decode_message(data, profile)
    asked: dict[str, object] = {}
    offset = OFFSETS.get(case["type"])
    if isinstance(message, TraceNotify):
        asked = traced(message)
        offset = message.data_offset()
    elif isinstance(message, PolicyVerdictNotify):
        asked = judged(message)
    fields = msgspec.structs.asdict(message)
    found = {
        go_name: asked[go_name] if go_name.startswith("_") else fields[python_name(go_name)]
        for go_name in expected["fields"]
    }
    found = {k: v.hex() if isinstance(v, bytes) else v for k, v in found.items()}
    assert found == expected["fields"]
    assert offset == expected["data_offset"]


def test_there_is_something_to_compare() -> None:
    assert len(DECODED) > 600
    assert sum("error" in case["decoded"] for _, case in DECODED) > 25
