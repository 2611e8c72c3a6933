"""Recordings side by side: limits, audit, and what is left behind."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.datapath.recorder.sources import ScriptedSource, frames
from trireme_datapath.recorder import (
    CaptureFormat,
    Recorder,
    RecorderConfig,
    RecorderError,
    RecordingRequest,
    RecordingStore,
    Refusal,
    StopCondition,
    StopReason,
    StoreLimits,
    build_filter,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERYTHING = (build_filter("0.0.0.0/0", "0.0.0.0/0"), build_filter("::/0", "::/0"))
REQUEST = RecordingRequest(include=EVERYTHING)


class Lab:
    """A recorder whose sources a test feeds."""

    def __init__(self, directory: Path, **settings: object) -> None:
        self.sources: list[ScriptedSource] = []
        self.requests: list[RecordingRequest] = []
        self.config = RecorderConfig(directory=str(directory), **settings)  # type: ignore[arg-type]
        self.store = RecordingStore(directory, node_name="n", limits=StoreLimits(min_free_bytes=0))
        self.recorder = Recorder(self.config, self.store, open_source=self.open_source)

    def open_source(self, config: RecorderConfig, request: RecordingRequest) -> ScriptedSource:
        del config
        self.requests.append(request)
        self.sources.append(ScriptedSource())
        return self.sources[-1]

    def audit(self) -> list[dict[str, object]]:
        path = self.store.path / "audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "r", max_recordings=2)
    yield made
    made.recorder.close()


def test_a_recording_from_start_to_stop(lab: Lab) -> None:
    active = lab.recorder.start(REQUEST, "uid 7")
    assert active in lab.recorder.active
    lab.sources[0].put(frames(3))
    active.stop()
    assert active.ended.wait(5)
    active.raise_error()
    assert active.statistics.packets_captured == 3
    assert active.reason is StopReason.ASKED
    assert Path(active.path).stat().st_size == 24 + 3 * 76
    assert lab.recorder.active == ()
    assert lab.recorder.begun == 1


def test_a_packet_goes_into_every_recording(lab: Lab) -> None:
    first, second = lab.recorder.start(REQUEST, "a"), lab.recorder.start(REQUEST, "b")
    for source in lab.sources:
        source.put(frames(4))
    for one in (first, second):
        one.stop()
        assert one.ended.wait(5)
        assert one.statistics.packets_captured == 4
    assert first.path != second.path


def test_recordings_are_limited_and_places_come_back(lab: Lab) -> None:
    running = [lab.recorder.start(REQUEST, "a") for _ in range(2)]
    with pytest.raises(RecorderError, match=r"^unable to allocate capture rule id: 2 ") as caught:
        lab.recorder.start(REQUEST, "a")
    assert caught.value.refusal is Refusal.EXHAUSTED
    running[0].stop()
    assert running[0].ended.wait(5)
    lab.recorder.start(REQUEST, "a")


def test_a_refused_source_leaves_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_config: object, _request: object) -> ScriptedSource:
        raise RecorderError("no such interface", Refusal.UNFIT)

    monkeypatch.setattr(lab.recorder, "_open_source", refuse)
    for _ in range(5):
        with pytest.raises(RecorderError, match="no such interface"):
            lab.recorder.start(REQUEST, "a")
    assert lab.store.files() == []
    assert not (lab.store.path / "audit.jsonl").exists()


def test_what_cannot_be_written_down_is_not_recorded(lab: Lab) -> None:
    (lab.store.path / "audit.jsonl").mkdir()
    with pytest.raises(RecorderError, match="failed to create pcap file"):
        lab.recorder.start(REQUEST, "a")
    assert lab.store.files() == []
    assert lab.sources[0].closed


def test_a_disk_that_is_full_at_once_leaves_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, _parts: list[bytes]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.writev", full)
    with pytest.raises(RecorderError, match="no space left on device") as caught:
        lab.recorder.start(REQUEST, "a")
    assert caught.value.refusal is Refusal.EXHAUSTED
    assert lab.store.files() == []


def test_a_broken_recording_says_why(lab: Lab) -> None:
    active = lab.recorder.start(REQUEST, "a")
    lab.sources[0].lost = "nonsense"  # type: ignore[assignment]  # a source that breaks
    active.stop()
    assert active.ended.wait(5)
    with pytest.raises(RecorderError, match=r"^recorder recording error: ") as caught:
        active.raise_error()
    assert caught.value.refusal is Refusal.FAILED
    assert lab.recorder.active == ()
    assert lab.audit()[-1]["reason"] == "failed"


def test_who_recorded_what_is_written_down(lab: Lab) -> None:
    request = RecordingRequest(
        include=(build_filter("10.0.0.0/8", "0.0.0.0/0", 0, 443, 6),),
        file_prefix="web",
        max_capture_length=96,
        stop_condition=StopCondition(packets_captured_count=2),
    )
    active = lab.recorder.start(request, "uid 1000 (process 77)")
    lab.sources[0].put(frames(5))
    assert active.ended.wait(5)
    started, stopped = lab.audit()
    assert started["event"] == "started"
    assert started["who"] == "uid 1000 (process 77)"
    assert started["request"] == {
        "include": ["10.0.0.0/8 0 0.0.0.0/0 443 TCP"],
        "file_prefix": "web",
        "max_capture_length": 96,
        "stop_condition": {"packets_captured_count": 2},
    }
    assert stopped["files"] == [active.name]
    assert (stopped["reason"], stopped["packets_captured"]) == ("packets", 2)
    assert re.fullmatch(r"web_\d+_\d+_n\.pcap", active.name)


def test_a_recorder_has_a_longest_time(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "r", max_seconds=3600)
    limited = lab.recorder._limited
    hour = 3600 * 1_000_000_000
    assert limited(StopCondition()).time_elapsed_ns == hour
    assert limited(StopCondition(time_elapsed_ns=5)).time_elapsed_ns == 5
    assert limited(StopCondition(time_elapsed_ns=2 * hour)).time_elapsed_ns == hour
    assert limited(StopCondition(time_elapsed_ns=-5)).time_elapsed_ns == -5
    lab.recorder.close()


def test_a_ring_of_files(lab: Lab) -> None:
    request = RecordingRequest(include=EVERYTHING, rotate_bytes=50, ring_files=2)
    active = lab.recorder.start(request, "a")
    for _ in range(3):
        lab.sources[0].put(frames(4000))  # more than is held back
    active.stop()
    assert active.ended.wait(5)
    assert active.statistics.packets_captured == 12_000
    assert len(active.names) == 2
    assert sorted(one.name for one in lab.store.files()) == sorted(active.names)
    assert active.name == active.names[-1]


def test_recordings_are_listed_and_stopped_by_name(lab: Lab) -> None:
    active = lab.recorder.start(REQUEST, "uid 7")
    (entry,) = lab.recorder.entries()
    assert (entry.name, entry.path, entry.running) == (active.name, active.path, True)
    assert entry.who == "uid 7"
    assert lab.recorder.stop(active.name, "uid 8") is active
    assert active.ended.wait(5)
    (entry,) = lab.recorder.entries()
    assert (entry.running, entry.statistics) == (False, None)
    with pytest.raises(RecorderError, match="ask for the list"):
        lab.recorder.stop(active.name, "uid 8")


def test_shutting_down_ends_everything_well(lab: Lab) -> None:
    active = lab.recorder.start(REQUEST, "a")
    lab.sources[0].put(frames(2))
    lab.recorder.shut_down()
    assert active.ended.wait(5)
    assert active.reason is StopReason.SHUTDOWN
    assert active.statistics.packets_captured == 2
    with pytest.raises(RecorderError, match="shutting down") as caught:
        lab.recorder.start(REQUEST, "a")
    assert caught.value.refusal is Refusal.CLOSING


def test_callbacks_come_once_also_after_the_end(lab: Lab) -> None:
    active = lab.recorder.start(REQUEST, "a")
    called: list[str] = []
    active.when_ended(lambda: called.append("before"))
    active.stop()
    assert active.ended.wait(5)
    active.when_ended(lambda: called.append("after"))
    assert sorted(called) == ["after", "before"]


def test_the_format_is_that_of_the_request_or_of_the_recorder(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "r", capture_format=CaptureFormat.PCAPNG)
    assert lab.recorder.start(REQUEST, "a").name.endswith(".pcapng")
    plain = RecordingRequest(include=EVERYTHING, capture_format=CaptureFormat.PCAP)
    assert lab.recorder.start(plain, "a").name.endswith(".pcap")
    lab.recorder.close()
