"""Recording packets to files: filters, formats, sources, limits, and the service for it."""

from __future__ import annotations

from trireme_datapath.recorder._errors import RecorderError, Refusal
from trireme_datapath.recorder._recording import (
    RecordingRequest,
    RecordingStatistics,
    StopCondition,
    StopReason,
)
from trireme_datapath.recorder._store import RecordingStore, StoredFile, StoreLimits
from trireme_datapath.recorder.capture_formats import CaptureFormat
from trireme_datapath.recorder.config import RecorderConfig, load_recorder_config
from trireme_datapath.recorder.filters import CaptureFilter, Protocol, build_filter
from trireme_datapath.recorder.recorder import ActiveRecording, Recorder, RecordingEntry

__all__ = [
    "ActiveRecording",
    "CaptureFilter",
    "CaptureFormat",
    "Protocol",
    "Recorder",
    "RecorderConfig",
    "RecorderError",
    "RecordingEntry",
    "RecordingRequest",
    "RecordingStatistics",
    "RecordingStore",
    "Refusal",
    "StopCondition",
    "StopReason",
    "StoreLimits",
    "StoredFile",
    "build_filter",
    "load_recorder_config",
]
