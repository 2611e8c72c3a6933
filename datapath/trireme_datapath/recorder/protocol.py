"""The interface of the Hubble Recorder, and that of ours beside it.

The first is that of Cilium 1.10 to 1.18: its package, names and numbers. The second says what
the first has no words for: looking at recordings, ending them and fetching their files.
"""

from __future__ import annotations

import functools
from typing import Final

from trireme_datapath.grpc_server import Schema, parse_schema

__all__ = ["FILE_KEY", "OPTIONS_KEY", "OWN", "REASON_KEY", "RECORDER", "recorder_schema"]

RECORDER: Final = "recorder.Recorder"
OWN: Final = "trireme.recorder.v1"
"""The package of our own service, ``Recordings``."""
OPTIONS_KEY: Final = "trireme-recording-options-bin"
"""Metadata of a call of ``Record``: a ``RecordingOptions``, for what the original lacks."""
FILE_KEY: Final = "trireme-file"
"""Metadata of its answer: the file at the beginning, all files that are left at the end."""
REASON_KEY: Final = "trireme-stop-reason"
"""Metadata at its end: why it ended."""

_RECORDER: Final = """\
file recorder/recorder.proto
package recorder
import google/protobuf/duration.proto
import google/protobuf/timestamp.proto
service Recorder
  Record stream RecordRequest -> stream RecordResponse
message RecordRequest
  start 1 StartRecording @request_type
  stop 2 StopRecording @request_type
message StartRecording
  filesink 1 FileSinkConfiguration
  include 2 Filter*
  max_capture_length 3 uint32
  stop_condition 4 StopCondition
message StopCondition
  bytes_captured_count 1 uint64
  packets_captured_count 2 uint64
  time_elapsed 3 google.protobuf.Duration
message FileSinkConfiguration
  file_prefix 1 string
message Filter
  source_cidr 1 string
  source_port 2 uint32
  destination_cidr 3 string
  destination_port 4 uint32
  protocol 5 Protocol
message StopRecording
message RecordResponse
  node_name 1 string
  time 2 google.protobuf.Timestamp
  running 3 RecordingRunningResponse @response_type
  stopped 4 RecordingStoppedResponse @response_type
message RecordingStatistics
  bytes_captured 1 uint64
  packets_captured 2 uint64
  packets_lost 3 uint64
  bytes_lost 4 uint64
message RecordingRunningResponse
  stats 1 RecordingStatistics
message RecordingStoppedResponse
  stats 1 RecordingStatistics
  filesink 2 FileSinkResult
message FileSinkResult
  file_path 1 string
enum Protocol
  PROTOCOL_ANY 0
  PROTOCOL_TCP 6
  PROTOCOL_UDP 17
  PROTOCOL_SCTP 132
"""

_OWN: Final = """\
file trireme/recorder/v1/recordings.proto
package trireme.recorder.v1
import google/protobuf/duration.proto
import google/protobuf/timestamp.proto
import recorder/recorder.proto
service Recordings
  List ListRequest -> ListResponse
  Stop StopRequest -> StopResponse
  Fetch FetchRequest -> stream FetchResponse
message RecordingOptions
  capture_format 1 string
  rotate_bytes 2 uint64
  rotate_every 3 google.protobuf.Duration
  ring_files 4 uint32
  interfaces 5 string*
  from_queue 6 bool
message ListRequest
message ListResponse
  recordings 1 Entry*
message Entry
  name 1 string
  path 2 string
  running 3 bool
  size_bytes 4 uint64
  modified 5 google.protobuf.Timestamp
  who 6 string
  stats 7 recorder.RecordingStatistics
message StopRequest
  name 1 string
message StopResponse
  path 1 string
  stats 2 recorder.RecordingStatistics
message FetchRequest
  name 1 string
  follow 2 bool
message FetchResponse
  data 1 bytes
"""


@functools.cache
def recorder_schema() -> Schema:
    """Give both."""
    return parse_schema((_RECORDER, _OWN))
