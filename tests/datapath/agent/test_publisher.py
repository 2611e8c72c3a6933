"""What an agent publishes: nothing by default, and its decisions where it is told to."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from trireme_collector import cli
from trireme_collector.exit_codes import ExitCode
from trireme_collector.records import FlowRecord
from trireme_collector.testing import MemoryCollector
from trireme_datapath.agent import PublishConfig
from trireme_datapath.agent._publisher import Publisher
from trireme_datapath.monitor.publishing import MonitorServer
from trireme_datapath.monitor.sources import MonitorSocket, Payload

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_an_agent_without_a_socket_publishes_nothing() -> None:
    memory = MemoryCollector()
    publisher = Publisher(PublishConfig())
    publisher.open()
    publisher.turn()
    assert publisher.before(memory) is memory
    assert publisher.counters == {}
    publisher.close()


def test_a_publisher_with_a_socket(tmp_path: Path) -> None:
    publisher = Publisher(PublishConfig(socket="watch.sock"), lambda name: tmp_path / name)
    publisher.open()
    with contextlib.closing(MonitorSocket(str(tmp_path / "watch.sock")).open()) as client:
        client.turn()
        publisher.turn()
        publisher.before(MemoryCollector()).collect_flow_event(FlowRecord())
        publisher.turn()
        messages = [event.data[0] for event in client.read() if isinstance(event, Payload)]
        assert messages == [5, 4]
    publisher.close()
    assert publisher.counters["messages"] == 2


def test_check_tries_the_socket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.toml").write_text("version = 1\n")
    path = tmp_path / "agent.toml"
    text = "[datapath]\npolicy = 'policy.toml'\n[collectors.file]\npath = '{0}/f'\n[publish]\n"
    path.write_text(text.format(tmp_path) + "socket = 'watch.sock'\n")
    assert cli.main(["check", "-c", str(path)]) == ExitCode.OK
    assert not (tmp_path / "watch.sock").exists()
    with contextlib.closing(MonitorServer(tmp_path / "watch.sock").open()):
        assert cli.main(["check", "-c", str(path)]) == ExitCode.OK
        assert "another process has" in capsys.readouterr().out
    path.write_text(text.format(tmp_path) + "socket = 'nowhere/watch.sock'\n")
    assert cli.main(["check", "-c", str(path)]) == ExitCode.CONFIG
    assert "no such file or directory; create the directory" in capsys.readouterr().out
