"""Every item of the Hubble Recorder's interface is there, with its number, and documented.

The table is that of cilium v1.16.2, api/v1/recorder/recorder.proto.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trireme_datapath.recorder import (
    ActiveRecording,
    CaptureFilter,
    Protocol,
    Recorder,
    RecordingRequest,
    RecordingStatistics,
    StopCondition,
)
from trireme_datapath.recorder.protocol import recorder_schema

if TYPE_CHECKING:
    from trireme_datapath.grpc_server import MessageSchema

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "recorder.md"
TIME, DURATION = "google.protobuf.Timestamp", "google.protobuf.Duration"

# message: field, number, type, whether it is a list, oneof
FIELDS: dict[str, list[tuple[str, int, str, bool, str]]] = {
    "RecordRequest": [
        ("start", 1, "recorder.StartRecording", False, "request_type"),
        ("stop", 2, "recorder.StopRecording", False, "request_type"),
    ],
    "StartRecording": [
        ("filesink", 1, "recorder.FileSinkConfiguration", False, ""),
        ("include", 2, "recorder.Filter", True, ""),
        ("max_capture_length", 3, "uint32", False, ""),
        ("stop_condition", 4, "recorder.StopCondition", False, ""),
    ],
    "StopCondition": [
        ("bytes_captured_count", 1, "uint64", False, ""),
        ("packets_captured_count", 2, "uint64", False, ""),
        ("time_elapsed", 3, DURATION, False, ""),
    ],
    "FileSinkConfiguration": [("file_prefix", 1, "string", False, "")],
    "Filter": [
        ("source_cidr", 1, "string", False, ""),
        ("source_port", 2, "uint32", False, ""),
        ("destination_cidr", 3, "string", False, ""),
        ("destination_port", 4, "uint32", False, ""),
        ("protocol", 5, "recorder.Protocol", False, ""),
    ],
    "StopRecording": [],
    "RecordResponse": [
        ("node_name", 1, "string", False, ""),
        ("time", 2, TIME, False, ""),
        ("running", 3, "recorder.RecordingRunningResponse", False, "response_type"),
        ("stopped", 4, "recorder.RecordingStoppedResponse", False, "response_type"),
    ],
    "RecordingStatistics": [
        ("bytes_captured", 1, "uint64", False, ""),
        ("packets_captured", 2, "uint64", False, ""),
        ("packets_lost", 3, "uint64", False, ""),
        ("bytes_lost", 4, "uint64", False, ""),
    ],
    "RecordingRunningResponse": [("stats", 1, "recorder.RecordingStatistics", False, "")],
    "RecordingStoppedResponse": [
        ("stats", 1, "recorder.RecordingStatistics", False, ""),
        ("filesink", 2, "recorder.FileSinkResult", False, ""),
    ],
    "FileSinkResult": [("file_path", 1, "string", False, "")],
}


def ours() -> dict[str, MessageSchema]:
    return {
        name.removeprefix("recorder."): message
        for name, message in recorder_schema().messages.items()
        if name.startswith("recorder.")
    }


def test_there_are_these_messages_and_no_others() -> None:
    assert ours().keys() == FIELDS.keys()


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_its_number_and_type(name: str) -> None:
    found = [
        (one.name, one.number, one.type, one.repeated, one.oneof)
        for one in ours()[name].fields.values()
    ]
    assert found == FIELDS[name]


def test_the_enum_and_the_service_are_those_of_cilium() -> None:
    schema = recorder_schema()
    assert schema.enums["recorder.Protocol"].numbers == {
        "PROTOCOL_ANY": 0,
        "PROTOCOL_TCP": 6,
        "PROTOCOL_UDP": 17,
        "PROTOCOL_SCTP": 132,
    }
    file = schema.files[0]
    assert (file.name, file.package) == ("recorder/recorder.proto", "recorder")
    (service,) = file.services
    (method,) = service.methods
    assert (service.name, method.name) == ("recorder.Recorder", "Record")
    assert (method.request, method.response) == (
        "recorder.RecordRequest",
        "recorder.RecordResponse",
    )
    assert method.request_stream
    assert method.response_stream


def table() -> list[tuple[str, str]]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(
        r"^\| (`[^|]+`) \| ([^|]+) \|$", text.partition("### Filters")[0], re.MULTILINE
    )


def test_every_item_is_in_the_table_of_the_reference() -> None:
    described = " ".join(item for item, _ in table())
    for message, fields in FIELDS.items():
        for name, *_ in fields:
            short = rf"`{message}\.[^|]*{name}`|`{message}\.[^`]*`, `\.{name}`"
            assert re.search(short, described), f"{message}.{name}"
    for word in ("Recorder.Record", "StopRecording", *(one.name for one in Protocol)):
        assert f"`{word}`" in described


def test_the_python_names_in_the_table_exist() -> None:
    classes = {
        one.__name__: one
        for one in (
            *(ActiveRecording, CaptureFilter, Protocol, Recorder, RecordingRequest),
            *(RecordingStatistics, StopCondition),
        )
    }
    named = [
        (kind, name)
        for _, where in table()
        for kind, name in re.findall(r"`(\w+)\.(\w+)`", where)
        if kind in classes
    ]
    assert len(named) > 20
    missing = [(kind, name) for kind, name in named if not hasattr(classes[kind], name)]
    assert missing == []
