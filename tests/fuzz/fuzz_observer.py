"""Fuzz what observers read: ``python -m tests.fuzz.fuzz_observer --seconds 60 --seed 1``.

The bytes are a line of a file, a filter, and, where protobuf is installed, a request.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import TYPE_CHECKING

import msgspec

from tests.fuzz.harness import Target, main
from trireme_datapath.observer import (
    FieldMask,
    FilterError,
    FlowsRequest,
    RequestError,
    compile_filters,
    filter_fields,
    read_filter,
)
from trireme_datapath.observer.json_form import RESPONSE, encode_json, read_message
from trireme_datapath.observer.lines import read_responses
from trireme_datapath.observer.printer import FlowPrinter, OutputForm

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_HAS_PROTOBUF = importlib.util.find_spec("google") is not None and (
    importlib.util.find_spec("grpc") is not None
)
_FLOW = {
    "time": "2026-01-01T00:00:00Z",
    "verdict": "FORWARDED",
    "IP": {"source": "192.0.2.1", "destination": "2001:db8::1", "ipVersion": "IPv4"},
    "l4": {"TCP": {"source_port": 1, "destination_port": 2, "flags": {"SYN": True}}},
    "source": {"identity": 2, "labels": ["k8s:app=web"], "namespace": "a", "pod_name": "b"},
    "event_type": {"type": 5},
    "node_name": "host",
    "is_reply": True,
    "interface": {"index": 1, "name": "eth0"},
    "l7": {"type": "REQUEST", "http": {"code": 404, "method": "GET"}},
}
_FILTER = {
    "source_ip": ["192.0.2.0/24", "2001:db8::1"],
    "source_port": ["1"],
    "source_label": ["app in (web, x), !y"],
    "source_pod": ["a/b"],
    "source_fqdn": ["*.example.org"],
    "protocol": ["tcp", "http"],
    "event_type": [{"type": 5, "match_sub_type": True, "sub_type": 0}],
    "tcp_flags": [{"SYN": True}],
    "node_name": ["c/h*"],
    "verdict": ["FORWARDED", 2],
    "http_status_code": ["4+"],
    "interface": [{"name": "eth0"}],
    "reply": [True],
}
_SEEDS = (
    json.dumps({"flow": _FLOW, "node_name": "host", "time": "2026-01-01T00:00:00.5Z"}).encode(),
    json.dumps(_FILTER).encode(),
    b'{"lost_events":{"source":3,"num_events_lost":"7","cpu":1}}',
    b'{"node_status":{"state_change":"NODE_ERROR","node_names":["a"],"message":"\\u001b"}}',
    b'{"type":"flow","source":{"ip":"::1","port":5},"l4_protocol":17}',
    # Requests: `--last 20`, `--follow`, a port on either side, times, a field mask.
    b"\x08\x14",
    b"\x18\x01",
    b"\x32\x04\x6a\x02\x31\x37\x32\x04\x72\x02\x31\x37",
    b"\x3a\x06\x08\x80\xa4\xe8\xc1\x06\x42\x02\x10\x01",
    b"\x52\x0f\x0a\x0dsource.labels\xba\x3e\x06\x0a\x04\x0a\x02IP",
    b"\x2a\x08\xba\x01\x02\x10\x01\xca\x01\x01\x01",
)


def run(data: bytes) -> Hashable:
    """Read the bytes in every way; what was read is used."""
    return _line(data), _filter(data), _request(data) if _HAS_PROTOBUF else None


def _line(data: bytes) -> Hashable:
    try:
        responses = read_responses(data)
    except ValueError as error:
        return str(error)[:12]
    return tuple(_use(response) for response in responses)


def _use(response: dict[str, object]) -> Hashable:
    again = read_message(RESPONSE, json.loads(encode_json(response)))
    assert again == response
    for form in OutputForm:
        said: list[str] = []
        printer = FlowPrinter(
            said.append, said.append, form=form, node_name=True, policy_names=True
        )
        printer.put(response)
        printer.close()
        text = "".join(said)
        assert "\x1b" not in text
        if form is OutputForm.COMPACT:
            assert text.count("\n") <= 1
    flow = response.get("flow")
    # A status of HTTP and the events of a datapath do not go together.
    chosen = {**_FILTER, "source_label": ["app"], "http_status_code": []}
    test = compile_filters([read_filter(chosen)])
    assert test is not None
    return tuple(response), isinstance(flow, dict) and test(flow)


def _filter(data: bytes) -> Hashable:
    try:
        wanted = read_filter(msgspec.json.decode(data))
        test = compile_filters([wanted])
    except (ValueError, RecursionError) as error:
        return str(error)[:12]
    assert read_filter(filter_fields(wanted)) == wanted
    return tuple(filter_fields(wanted)), test is not None and test(_FLOW)


def _request(data: bytes) -> Hashable:
    from google.protobuf.message import DecodeError  # noqa: PLC0415  belongs to an extra

    from trireme_datapath.observer._grpc_forms import messages  # noqa: PLC0415
    from trireme_datapath.observer._grpc_service import read_request  # noqa: PLC0415

    try:
        request, mask = read_request(messages()["observer.GetFlowsRequest"].FromString(data))
        compile_filters(request.allow, request.deny)
    except DecodeError:
        return "no message"
    except (FilterError, RequestError) as error:
        return str(error)[:12]
    assert isinstance(request, FlowsRequest)
    assert mask is None or isinstance(mask, FieldMask)
    return request.follow, request.first, len(request.allow), len(request.deny), mask is None


TARGET = Target(name="observer", seeds=_SEEDS, run=run, max_bytes=2048, max_seconds=0.1)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
