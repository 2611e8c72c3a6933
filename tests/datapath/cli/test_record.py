"""The commands of `record`, against a recorder whose packets a test makes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.datapath.recorder.sources import ScriptedSource, frames
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.backends.pcap import CaptureReader
from trireme_datapath.cli._record_progress import RecordProgress
from trireme_datapath.cli._record_quantities import duration_text, size_text
from trireme_datapath.recorder import (
    RecorderConfig,
    RecordingRequest,
    RecordingStatistics,
    StopCondition,
    StoreLimits,
)
from trireme_datapath.recorder.server import RecorderServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_grpc = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("grpc"), reason="needs the extra grpc"
)


def command(*words: str) -> list[str]:
    code = "import sys; from trireme_collector.cli import main; sys.exit(main())"
    return [sys.executable, "-c", code, *words]


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "NO_COLOR": "1", **environment},
    )


class Server:
    """A recorder with packets that come as soon as somebody records."""

    def __init__(self, directory: Path) -> None:
        self.address = f"unix://{directory}/s"
        self.requests: list[RecordingRequest] = []
        self.packets = 5
        config = RecorderConfig(
            directory=str(directory / "r"),
            listen=[self.address],
            limits=StoreLimits(min_free_bytes=0),
            node_name="n",
        )
        self.server = RecorderServer(config, open_source=self.open_source)
        self.server.open()

    def open_source(self, config: RecorderConfig, request: RecordingRequest) -> ScriptedSource:
        del config
        self.requests.append(request)
        return ScriptedSource(frames(self.packets))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run("record", *words, TRIREME_RECORDER=self.address)

    @property
    def names(self) -> list[str]:
        return [one.name for one in self.server.recorder.entries()]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    pytest.importorskip("grpc")
    made = Server(tmp_path)
    yield made
    made.server.close()


def count(path: Path | str) -> int:
    with CaptureReader(str(path)) as reader:
        assert list(reader) == []
        return reader.frames


def test_start_says_what_was_recorded_and_where(server: Server) -> None:
    done = server.run("start", "-c", "3", "--file-prefix", "web", "10.0.0.0/8:443 tcp")
    assert (done.returncode, done.stdout) == (
        0,
        f"3 packets (180 B) written\n{server.server.recorder.store.path}/{server.names[0]}\n",
    )
    assert "3 packets left" in done.stderr
    (request,) = server.requests
    assert [str(one) for one in request.include] == [
        "10.0.0.0/8 443 0.0.0.0/0 0 TCP",
        "0.0.0.0/0 0 10.0.0.0/8 443 TCP",
    ]
    assert server.names[0].startswith("web_")


def test_all_options_reach_the_recorder(server: Server) -> None:
    done = server.run(
        *("start", "--json", "-s", "96", "--bytes-limit", "1k", "--time-limit", "1h"),
        *("-c", "2", "--format", "pcapng", "-i", "eth0", "-i", "eth1", "--from-queue"),
        *("--rotate-size", "1M", "--rotate-every", "1m30s", "--ring", "4", "icmp", ":53"),
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["version"] == 1
    assert answer["reason"] == "packets"
    assert answer["statistics"]["packets_captured"] == 2
    (request,) = server.requests
    assert request.max_capture_length == 96
    assert request.stop_condition == StopCondition(
        bytes_captured_count=1024,
        packets_captured_count=2,
        time_elapsed_ns=3_600_000_000_000,
    )
    assert request.interfaces == ("eth0", "eth1")
    assert request.from_queue
    assert (request.rotate_bytes, request.rotate_ns) == (1_048_576, 90_000_000_000)
    assert (request.ring_files, len(request.include)) == (4, 5)


def test_packets_are_brought_here(server: Server, tmp_path: Path) -> None:
    here = tmp_path / "here.pcap"
    assert server.run("start", "-c", "4", "any", "-w", str(here)).returncode == 0
    assert count(here) == 4
    done = subprocess.run(
        command("record", "start", "-c", "4", "any", "-w", "-"),
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, "TRIREME_RECORDER": server.address},
    )
    assert done.stdout == here.read_bytes()
    assert b"4 packets" in done.stderr


def test_list_stop_and_fetch(server: Server, tmp_path: Path) -> None:
    started = subprocess.Popen(
        command("record", "start", "any"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TRIREME_RECORDER": server.address},
    )
    end = time.monotonic() + 30
    while not server.names and time.monotonic() < end:
        time.sleep(0.02)
    (name,) = server.names
    listed = server.run("list")
    assert "running" in listed.stdout
    assert f"uid {os.getuid()} (process {started.pid})" in listed.stdout
    assert json.loads(server.run("list", "--json").stdout)["recordings"][0]["name"] == name
    stopped = server.run("stop", name)
    assert stopped.stdout.startswith("5 packets (300 B) written\n")
    output, _ = started.communicate(timeout=30)
    assert (started.returncode, output) == (0, stopped.stdout)
    assert "finished" in server.run("list").stdout
    here = tmp_path / "here.pcap"
    fetched = server.run("fetch", name, "-w", str(here))
    assert fetched.stdout == f"{24 + 5 * 76:,} bytes written to {here}\n"
    assert count(here) == 5
    again = server.run("fetch", name, "-w", str(here))
    assert again.returncode == ExitCode.OUTPUT
    assert "file exists; choose another name" in again.stderr
    assert (
        json.loads(server.run("fetch", name, "-w", str(tmp_path / "b"), "--json").stdout)[
            "size_bytes"
        ]
        == 24 + 5 * 76
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_recording_in_good_order(server: Server, number: signal.Signals) -> None:
    started = subprocess.Popen(
        command("record", "start", "any"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TRIREME_RECORDER": server.address},
    )
    assert started.stderr is not None
    lines = iter(started.stderr.readline, "")
    assert any("5 packets" in line for line in lines)
    started.send_signal(number)
    output, _ = started.communicate(timeout=30)
    assert started.returncode == 0
    assert output.startswith("5 packets (300 B) written\n")


def test_refusals_and_mistakes_have_their_exit_codes(server: Server) -> None:
    refused = server.run("start", "--file-prefix", "Bad", "any")
    assert refused.returncode == ExitCode.FAILURE
    assert 'invalid file sink prefix: "Bad" (INVALID_ARGUMENT)' in refused.stderr
    assert server.run("stop", "nobody.pcap").returncode == ExitCode.FAILURE
    assert "there is no recording" in server.run("fetch", "x_1.pcap", "-w", "-").stderr
    wrong = server.run("start", "10.0.0.0/255.0.0.0")
    assert wrong.returncode == ExitCode.USAGE
    assert "is no network" in wrong.stderr
    for words in (["--time-limit", "5"], ["--bytes-limit", "1x"], ["-w", "x", "--ring", "2"]):
        assert server.run("start", *words, "any").returncode == ExitCode.USAGE


@needs_grpc
def test_no_recorder_is_a_code_of_its_own(tmp_path: Path) -> None:
    done = run("record", "list", "--server", f"unix://{tmp_path}/none")
    assert done.returncode == ExitCode.NOT_RUNNING
    assert "record serve" in done.stderr


@needs_grpc
def test_tcp_needs_certificates() -> None:
    done = run("record", "list", "--server", "127.0.0.1:4244")
    assert done.returncode == ExitCode.FAILURE
    assert "TLS" in done.stderr
    done = run("record", "list", "--server", "127.0.0.1:4244", "--tls-client-key-file", "k")
    assert done.returncode == ExitCode.USAGE


def test_recording_here_needs_a_file() -> None:
    done = run("record", "start", "--local", "any")
    assert done.returncode == ExitCode.USAGE
    assert "needs -w" in done.stderr


@needs_grpc
def test_serve_listens_until_it_is_told_to_end(tmp_path: Path) -> None:
    config = tmp_path / "recorder.toml"
    config.write_text(
        f'[recorder]\ndirectory = "{tmp_path}/r"\nlisten = ["unix://{tmp_path}/s"]\n'
        "limits = { min_free_bytes = 0 }\n"
    )
    served = subprocess.Popen(
        command("record", "serve", "-c", str(config), "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert served.stderr is not None
    assert "grpc_listening" in served.stderr.readline()
    assert (tmp_path / "s").is_socket()
    done = run("record", "list", "--json", "--server", f"unix://{tmp_path}/s")
    assert json.loads(done.stdout)["recordings"] == []
    served.terminate()
    output, _ = served.communicate(timeout=30)
    assert served.returncode == 0
    assert json.loads(output) == {"version": 1, "report": {"recordings": 0}}
    assert not (tmp_path / "s").exists()


def test_serve_tells_mistakes_with_their_place(tmp_path: Path) -> None:
    config = tmp_path / "recorder.toml"
    config.write_text('[recorder]\ndirectory = "x"\n')
    done = run("record", "serve", "-c", str(config))
    assert done.returncode == ExitCode.CONFIG
    assert "recorder.toml:2:13" in done.stderr


class Terminal:
    """A stream that says whether it is a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        self.text = ""
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_one_line(terminal: bool) -> None:
    stream = Terminal(terminal=terminal)
    times = iter([0, 61_000_000_000, 62_000_000_000])
    stop = StopCondition(
        packets_captured_count=5000, bytes_captured_count=4096, time_elapsed_ns=3_600_000_000_000
    )
    progress = RecordProgress(stop, stream, lambda: next(times))  # type: ignore[arg-type]
    progress.show(
        RecordingStatistics(
            packets_captured=1200, bytes_captured=2048, packets_lost=3, bytes_lost=99
        )
    )
    progress.show(RecordingStatistics())
    progress.finish()
    line = (
        "1,200 packets (2.0 KiB) written, 3 lost (99 B);"
        " 01:01 of 1:00:00, 3,800 packets left, 2.0 KiB left"
    )
    assert line in stream.text
    assert stream.text.endswith("\r" if terminal else "\n")
    assert ("\r" in stream.text) is terminal


def test_quantities_are_written_for_people() -> None:
    assert [size_text(n) for n in (0, 1023, 1024, 1536, 5 * 1024**3)] == [
        *("0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 GiB"),
    ]
    assert size_text(2 * 1024**4) == "2.0 TiB"
    assert [duration_text(n * 10**9) for n in (0, 61, 3661)] == ["00:00", "01:01", "1:01:01"]
