"""The typed record has every field of the format, and the documentation says so."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trireme_collector.netobserv import (
    FLOW_FIELDS,
    LABELS,
    SEED_FIELDS,
    Flow,
    FlowReader,
    encode_flow,
    flow_fields,
)

ROOT = Path(__file__).parents[3]
# The published format, in its order.
PUBLISHED_TEXT = """
SrcK8S_Namespace DstK8S_Namespace SrcK8S_OwnerName DstK8S_OwnerName FlowDirection _RecordType
SrcAddr DstAddr SrcMac DstMac SrcK8S_Name DstK8S_Name SrcK8S_Type DstK8S_Type SrcPort DstPort
SrcK8S_OwnerType DstK8S_OwnerType SrcK8S_HostIP DstK8S_HostIP SrcK8S_HostName DstK8S_HostName
Proto Interface Packets Packets_AB Packets_BA Bytes Bytes_AB Bytes_BA TimeFlowStartMs
TimeFlowEndMs TimeReceived _HashId _IsFirst numFlowLogs
"""
PUBLISHED = PUBLISHED_TEXT.split()


def test_the_published_fields() -> None:
    assert list(SEED_FIELDS) == PUBLISHED
    assert list(LABELS) == PUBLISHED[:6]
    assert list(FLOW_FIELDS[: len(PUBLISHED)]) == PUBLISHED
    assert len(set(FLOW_FIELDS)) == len(FLOW_FIELDS)


def test_every_field_is_documented_in_its_order() -> None:
    page = (ROOT / "docs/reference/netobserv.md").read_text(encoding="utf-8")
    part = page.partition("## Fields")[2].partition("`Packets` and `Bytes`")[0]
    assert re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE) == list(FLOW_FIELDS)


def test_absent_is_absent() -> None:
    assert encode_flow(Flow()) == b"{}"
    assert encode_flow(Flow(bytes=0, src_addr="x")) == b'{"SrcAddr":"x","Bytes":0}'


@given(
    st.builds(
        Flow,
        src_addr=st.text(),
        src_port=st.integers(0, 65535),
        bytes=st.one_of(st.integers(0, 2**63), st.floats(0, 1e15)),
        is_first=st.booleans(),
        flags=st.one_of(st.integers(0, 2047), st.lists(st.text(), max_size=2).map(tuple)),
        interfaces=st.lists(st.text(), max_size=2).map(tuple),
        network_events=st.lists(st.dictionaries(st.text(), st.text(), max_size=2), max_size=2).map(
            tuple
        ),
    )
)
def test_what_is_written_is_read(flow: Flow) -> None:
    assert FlowReader().read_flow(encode_flow(flow)) == flow
    assert FlowReader().read(encode_flow(flow)) == flow_fields(flow)
    strict = FlowReader().read_flow(encode_flow(flow, profile="strict"))
    assert strict is not None
    assert strict.src_addr == flow.src_addr
    assert strict.bytes == float(flow.bytes or 0)
