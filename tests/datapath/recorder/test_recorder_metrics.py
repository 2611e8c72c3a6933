"""What a recorder counts, read as a scraper reads it."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.datapath.recorder.sources import ScriptedSource, frames

pytest.importorskip("grpc")
pytest.importorskip("prometheus_client")

import grpc

from trireme_collector.metrics import MetricsConfig
from trireme_datapath.recorder import (
    RecorderConfig,
    RecordingRequest,
    StoreLimits,
    build_filter,
)
from trireme_datapath.recorder.server import RecorderServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REQUEST = RecordingRequest(include=(build_filter("0.0.0.0/0", "0.0.0.0/0"),))


class Lab:
    """A recorder that can be measured."""

    def __init__(self, directory: Path) -> None:
        self.sources: list[ScriptedSource] = []
        self.path = f"{directory}/m"
        self.place = f"unix://{directory}/s"
        config = RecorderConfig(
            directory=str(directory / "r"),
            listen=[self.place],
            limits=StoreLimits(min_free_bytes=0),
            metrics=MetricsConfig(listen=f"unix:{self.path}"),
        )
        self.server = RecorderServer(config, open_source=self.open_source)
        self.server.open()

    def open_source(self, config: object, request: object) -> ScriptedSource:
        del config, request
        self.sources.append(ScriptedSource())
        return self.sources[-1]

    def ask(self, path: str) -> tuple[int, str]:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(self.path)
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while chunk := client.recv(65536):
                data += chunk
        head, _, body = data.decode().partition("\r\n\r\n")
        return int(head.split()[1]), body

    def scrape(self) -> dict[str, float]:
        _, body = self.ask("/metrics")
        rows = [line.rpartition(" ") for line in body.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in rows}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.server.close()


def test_what_recordings_counted_is_shown_once(lab: Lab) -> None:
    first = lab.server.recorder.start(REQUEST, "a")
    lab.sources[0].put(frames(3))
    lab.sources[0].lost = (7, 700)
    first.stop()
    assert first.ended.wait(5)
    second = lab.server.recorder.start(REQUEST, "b")
    found = lab.scrape()
    assert found["trireme_recorder_recordings_total"] == 2
    assert found["trireme_recorder_recordings_running"] == 1
    assert found['trireme_recorder_recordings_ended_total{reason="asked"}'] == 1
    assert found["trireme_recorder_packets_total"] == 3
    assert found["trireme_recorder_bytes_total"] == first.statistics.bytes_captured
    assert found['trireme_recorder_packets_lost_total{cause="kernel"}'] == 7
    assert found["trireme_recorder_clients"] == 0
    second.stop()
    assert second.ended.wait(5)


def test_clients_and_refusals_are_counted(lab: Lab) -> None:
    with grpc.insecure_channel(lab.place) as channel:
        method: grpc.StreamStreamMultiCallable[bytes, bytes]
        method = channel.stream_stream("/recorder.Recorder/Record")
        call = method(iter([b"\x12\x00"]), timeout=10)
        with pytest.raises(grpc.RpcError):
            list(call)
    deadline = time.monotonic() + 10  # the client knows of its end before the server is done
    while (found := lab.scrape())["trireme_recorder_clients"] and time.monotonic() < deadline:
        pass
    assert found['trireme_recorder_recordings_refused_total{reason="invalid"}'] == 1
    assert found["trireme_recorder_clients"] == 0


def test_health_tells_whether_there_is_room(lab: Lab) -> None:
    assert lab.ask("/healthz")[0] == 200
    status, body = lab.ask("/readyz")
    assert status == 200
    assert "space" in body
