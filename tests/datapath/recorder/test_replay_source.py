"""A capture file as a source, with and without a policy that judges it."""

from __future__ import annotations

import importlib.resources
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trireme_datapath.backends.pcap import CaptureError, CaptureReader
from trireme_datapath.engine import Engine
from trireme_datapath.policy import compile_policy, load_policy
from trireme_datapath.recorder import CaptureFilter, build_filter
from trireme_datapath.recorder.capture_formats import LinkType
from trireme_datapath.recorder.replay_source import ReplaySource

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
    source = ReplaySource(CaptureReader(cut), ANY)
    with pytest.raises(CaptureError):
        drain(source)
    source.close()


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
