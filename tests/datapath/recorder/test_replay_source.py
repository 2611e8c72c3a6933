"""A capture file as a source, with and without a policy that judges it."""

from __future__ import annotations

import gzip
import importlib.resources
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import pytest

from trireme_datapath.backends.pcap import CaptureError, CaptureReader
from trireme_datapath.engine import Engine
from trireme_datapath.policy import compile_policy, load_policy
from trireme_datapath.recorder import CaptureFilter, build_filter
from trireme_datapath.recorder._awaited_input import AwaitedInput
from trireme_datapath.recorder.capture_formats import LinkType
from trireme_datapath.recorder.replay_source import ReplaySource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATA = Path(str(importlib.resources.files("trireme_datapath.data")))
DEMO = DATA / "demo.pcap"
ANY = (build_filter("0.0.0.0/0", "0.0.0.0/0"), build_filter("::/0", "::/0"))


def source_of(*filters: CaptureFilter, judged: bool = False, size: int = 0) -> ReplaySource:
    engine = Engine(compile_policy(load_policy(DATA / "demo.toml"))) if judged else None
    return ReplaySource(CaptureReader(DEMO), filters or ANY, capture_bytes=size, engine=engine)


def drain(source: ReplaySource) -> list[tuple[bytes, str]]:
    found = []
    while not source.is_over():
        for frames, _, comments in source.read(0):
            assert comments is not None
            found += [(frame[4], comment) for frame, comment in zip(frames, comments, strict=True)]
    source.close()
    return found


def test_packets_come_as_they_were_captured() -> None:
    with CaptureReader(DEMO) as reader:
        packets = list(reader)
    source = source_of()
    assert source.interfaces[0].link_type is LinkType.RAW
    frames = [frame for batch in source.read(0) for frame in batch.frames]
    assert [frame[4] for frame in frames] == [one.data for one in packets]
    assert [frame[0] * 10**9 + frame[1] for frame in frames] == [one.time_ns for one in packets]
    assert [frame[3] for frame in frames] == [one.original_length for one in packets]
    assert source.losses() == (0, 0)
    source.close()


def test_only_what_fits_comes_and_is_cut() -> None:
    udp = build_filter("0.0.0.0/0", "0.0.0.0/0", protocol=17)
    everything, fitting = drain(source_of()), drain(source_of(udp, size=24))
    assert 0 < len(fitting) < len(everything)
    assert {len(data) for data, _ in fitting} == {24}
    assert {comment for _, comment in fitting} == {""}


def test_a_policy_judges_every_packet_also_those_that_do_not_fit() -> None:
    """A flow is judged from its first packet on, whichever packets are recorded."""
    comments = [comment for _, comment in drain(source_of(judged=True))]
    assert {"verdict=accept rule=http", "verdict=drop rule=default"} <= set(comments)
    answers = build_filter("198.51.100.20/32", "0.0.0.0/0", 80)
    found = drain(source_of(answers, judged=True))
    assert found
    assert {comment for _, comment in found} == {"verdict=accept rule=http"}


def test_ending_leaves_the_rest() -> None:
    source = source_of()
    source.register(0)
    source.end()
    assert source.is_over()
    source.close()


def test_a_capture_that_is_cut_is_an_error_after_what_was_read(tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(DEMO.read_bytes()[:-7])
    with CaptureReader(DEMO) as reader:
        whole = sum(1 for _ in reader) - 1
    source = ReplaySource(CaptureReader(cut), ANY)
    assert len(taken(source)) == whole
    with pytest.raises(CaptureError):
        drain(source)
    source.close()


def taken(source: ReplaySource) -> list[bytes]:
    return [frame[4] for batch in source.read(0) for frame in batch.frames]


class Piped:
    """A capture that somebody writes into a pipe."""

    def __init__(self, first: bytes) -> None:
        reading, self.writing = os.pipe()
        self.wake = os.eventfd(0)
        self.write(first)
        self.input = AwaitedInput(reading)
        reader = CaptureReader(cast("BinaryIO", self.input))
        self.source = ReplaySource(reader, ANY, awaited=self.input)
        self.source.register(self.wake)
        self.descriptors = [reading, self.writing, self.wake]

    def write(self, data: bytes) -> None:
        os.write(self.writing, data)

    def close_writing(self) -> None:
        os.close(self.writing)
        self.descriptors.remove(self.writing)

    def close(self) -> None:
        self.source.close()
        for descriptor in self.descriptors:
            os.close(descriptor)


@pytest.fixture
def piped() -> Iterator[Callable[[bytes], Piped]]:
    made: list[Piped] = []

    def make(first: bytes) -> Piped:
        made.append(Piped(first))
        return made[-1]

    yield make
    for one in made:
        one.close()


HEAD, FIRST = 24, 24 + 16 + 54
"""Where the first packet of the demo begins and ends."""


def test_packets_of_a_pipe_come_as_they_are_written(piped: Callable[[bytes], Piped]) -> None:
    content = DEMO.read_bytes()
    pipe = piped(content[:HEAD])
    assert taken(pipe.source) == []
    assert not pipe.source.is_over()
    pipe.write(content[HEAD:FIRST])
    assert len(taken(pipe.source)) == 1
    pipe.write(content[FIRST:])
    rest = taken(pipe.source)
    assert taken(pipe.source) == []
    assert not pipe.source.is_over()
    pipe.close_writing()
    assert taken(pipe.source) == []
    assert pipe.source.is_over()
    assert 1 + len(rest) == len(drain(source_of()))


def test_a_pipe_is_left_also_in_the_middle_of_a_packet(piped: Callable[[bytes], Piped]) -> None:
    pipe = piped(DEMO.read_bytes()[: FIRST + 20])
    os.eventfd_write(pipe.wake, 1)
    assert len(taken(pipe.source)) == 1
    assert pipe.input.is_left
    pipe.source.end()
    assert taken(pipe.source) == []
    assert pipe.source.is_over()


def test_a_pipe_that_breaks_off_is_an_error(piped: Callable[[bytes], Piped]) -> None:
    pipe = piped(DEMO.read_bytes()[: FIRST + 20])
    pipe.close_writing()
    assert len(taken(pipe.source)) == 1
    with pytest.raises(CaptureError, match="ends inside a packet"):
        drain(pipe.source)


def test_a_compressed_pipe_is_read_to_its_end(piped: Callable[[bytes], Piped]) -> None:
    pipe = piped(gzip.compress(DEMO.read_bytes()))
    pipe.close_writing()
    assert len(drain(pipe.source)) == len(drain(source_of()))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from trireme_collector.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, "record", "start", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "NO_COLOR": "1"},
    )


def test_the_command_writes_verdicts(tmp_path: Path) -> None:
    path = tmp_path / "judged.pcapng"
    words = ["--from-file", str(DEMO), "--policy", str(DATA / "demo.toml"), "--format", "pcapng"]
    done = run(*words, "-w", str(path), "--json", "any")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["reason"] == "source-end"
    with CaptureReader(path) as reader:
        assert len(list(reader)) == answer["statistics"]["packets_captured"] > 10
    content = path.read_bytes()
    assert b"verdict=drop rule=default" in content
    assert b"verdict=accept rule=http" in content
    limited = run("--from-file", str(DEMO), "-c", "3", "-w", str(tmp_path / "b"), "any")
    assert limited.stdout.startswith("3 packets")
    assert run("--policy", "p", "-w", str(tmp_path / "c"), "--local", "any").returncode == 2
    again = run("--from-file", str(DEMO), "-w", str(tmp_path / "b"), "any")
    assert again.returncode == 8
    assert "file exists; choose another name" in again.stderr
    assert run("--from-file", "none", "-w", str(tmp_path / "d"), "any").returncode == 9
