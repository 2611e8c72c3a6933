"""A running agent shows what it counts, and says when it does not enforce."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.datapath.agent.test_agent import HTTP, SSH, Bench
from trireme_collector.errors import ConfigError, DatapathError
from trireme_collector.metrics import MetricsConfig
from trireme_datapath.agent._watch import DATAPATH_METRICS, AgentWatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def ask(path: Path, what: str) -> str:
    """Ask like a scraper, with patience for the server's thread."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(f"GET {what} HTTP/1.1\r\n\r\n".encode())
        found = b""
        while data := client.recv(65536):
            found += data
    return found.decode()


def test_a_running_agent_is_measured(bench: Bench, tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    path = tmp_path / "m.sock"
    bench.packets = (HTTP, SSH)
    agent = bench.agent(f'[metrics]\nlisten = "unix:{path}"')
    agent.start()
    assert ask(path, "/readyz").startswith("HTTP/1.1 200 OK")
    text = ask(path, "/metrics")
    assert 'trireme_agent_info{instance="test",version="' in text
    assert 'trireme_queue_dropped_packets_total{full="socket"} 3.0' in text
    assert f'trireme_policy_info{{revision="{agent.engine.policy.revision}"}} 1.0' in text
    agent.stop()
    report = agent.run()
    assert report.counters["packets"] == 2
    assert not path.exists()


def test_an_address_that_is_taken_stops_the_start_before_the_queue(
    bench: Bench, tmp_path: Path
) -> None:
    pytest.importorskip("prometheus_client")
    path = tmp_path / "m.sock"
    path.write_text("not a socket")
    agent = bench.agent(f'[metrics]\nlisten = "unix:{path}"')
    with pytest.raises(ConfigError, match="cannot listen on unix:"):
        agent.start()
    assert bench.calls == ["output", "output closed"]
    assert path.read_text() == "not a socket"


def test_nothing_stays_when_the_rules_are_refused(bench: Bench, tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    path = tmp_path / "m.sock"
    bench.rules.error = DatapathError("no")
    agent = bench.agent(f'[metrics]\nlisten = "unix:{path}"')
    with pytest.raises(DatapathError, match="no"):
        agent.start()
    assert not path.exists()


def test_without_a_configuration_nothing_listens(bench: Bench) -> None:
    agent = bench.agent()
    assert agent._watch.server is None
    agent.start()
    agent.stop()
    agent.run()


def watch_of(bench: Bench, clock: Callable[[], int]) -> AgentWatch:
    agent = bench.agent()
    watch = AgentWatch(MetricsConfig(), agent.pipeline, agent.engine, clock)
    watch.start(bench.open_queue(agent._settings, agent.engine))
    return watch


def test_a_loop_that_hangs_is_not_healthy(bench: Bench) -> None:
    now_ns = [5_000_000_000]
    watch = watch_of(bench, lambda: now_ns[0])
    assert [check.ok for check in watch.health()] == [True, True]
    now_ns[0] += 10_000_000_000
    loop, queue = watch.health()
    assert (loop.ok, loop.vital, queue.ok) == (False, True, True)
    assert loop.detail == "turned 10.0 s ago"
    watch.turn()
    assert next(watch.health()).ok


def test_an_agent_that_has_ended_is_not_ready(bench: Bench) -> None:
    watch = watch_of(bench, lambda: 1)
    watch.close()
    assert [(check.name, check.ok) for check in watch.health()] == [
        ("loop", True),
        ("queue", False),
    ]


def test_every_metric_is_in_the_catalogue(bench: Bench) -> None:
    bench.packets = (HTTP,)
    watch = watch_of(bench, lambda: 1)
    assert bench.queue is not None
    bench.queue.drain(1)
    metrics = list(watch.metrics())
    assert tuple(metric.spec for metric in metrics) == DATAPATH_METRICS
    assert dict(metrics[0].samples)["packets",] == 1
