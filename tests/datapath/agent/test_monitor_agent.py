"""An agent whose records come from a monitor socket: what arrives, is counted, and is said."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from tests.datapath.monitor.monitor_servers import FakeMonitorServer, session
from tests.datapath.monitor.test_records import drop, log, trace, verdict
from trireme_collector import cli
from trireme_collector.cli._status_text import status_text
from trireme_collector.control import (
    AgentState,
    AgentStatus,
    CommandFailedError,
    ControlClient,
    DrainArguments,
    DrainResult,
    ReloadResult,
)
from trireme_collector.errors import ConfigError, DatapathError
from trireme_collector.exit_codes import ExitCode
from trireme_collector.metrics import MetricsConfig
from trireme_collector.records import FlowRecord, PacketReport, decode_json
from trireme_datapath.agent import (
    Agent,
    MonitorAgentConfiguration,
    MonitorSourceConfig,
    SourceName,
    load_monitor_config,
    names_source,
)
from trireme_datapath.agent._monitor_agent import MonitorAgent
from trireme_datapath.agent._monitor_feed import MonitorFeed
from trireme_datapath.agent._monitor_watch import MONITOR_METRICS, MonitorWatch
from trireme_datapath.cli.run import _build
from trireme_datapath.monitor.records import MonitorRecords
from trireme_datapath.monitor.sources import MonitorSocket, Payload, PayloadType
from trireme_datapath.processes.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trireme_collector.records import Record

MESSAGES = (
    Payload(data=verdict(0)),
    Payload(data=drop(133)),
    Payload(data=b"\x02" + bytes(19)),
    Payload(data=b"\x01short"),
    Payload(lost=17, cpu=3, type=PayloadType.LOST),
)


def write(directory: Path, more: str = "") -> Path:
    path = directory / "agent.toml"
    if "[control]" not in more:
        more += "\n[control]\nenabled = false"
    path.write_text(
        'source = "cilium-monitor"\ninstance = "node"\ncheckpoint_seconds = 0\n'
        '[monitor]\nsocket = "monitor.sock"\n'
        f"{more}\n[aggregation]\nwindow_seconds = 0\n"
        f"[collectors.file]\npath = '{directory}/flows.json'\n",
        encoding="utf-8",
    )
    return path


def built(directory: Path, more: str = "") -> MonitorAgent:
    agent = _build(str(write(directory, more)), remove_rules=False)
    assert isinstance(agent, MonitorAgent)
    return agent


def delivered(directory: Path) -> list[Record]:
    return [decode_json(line) for line in (directory / "flows.json").read_bytes().splitlines()]


# The feed.


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[tuple[MonitorFeed, FakeMonitorServer]]:
    with FakeMonitorServer(tmp_path / "m.sock") as server:
        source = MonitorSocket(str(tmp_path / "m.sock")).open()
        yield MonitorFeed(source, MonitorRecords(), lambda: {5: "eth0"}), server
        source.close()


def test_messages_become_records_and_all_are_accounted_for(
    feed: tuple[MonitorFeed, FakeMonitorServer],
) -> None:
    reader, server = feed
    with capture_logs() as logs:
        assert reader.take_records(0) == []
        server.accept().sendall(session(*MESSAGES))
        records = reader.drain(1)
        assert [type(record) for record in records] == [FlowRecord, FlowRecord, PacketReport]
        assert isinstance(records[2], PacketReport)
        assert records[2].interface == "eth0"
        assert reader.take_records(2) == []
    assert reader.counters == {
        "messages": 4,
        "records": 3,
        "malformed": 1,
        "unreported": 1,
        "lost": 17,
    }
    assert [entry["event"] for entry in logs] == ["monitor_connected", "monitor_incomplete"]
    assert (logs[1]["malformed"], logs[1]["lost"]) == (1, 17)
    assert logs[1]["example"].startswith("unexpected DropNotify data length")


def test_a_repeating_loss_is_told_once_a_minute(
    feed: tuple[MonitorFeed, FakeMonitorServer],
) -> None:
    reader, server = feed
    second = 1_000_000_000
    with capture_logs() as logs:
        reader.take_records(0)
        agent = server.accept()
        for number in range(1, 120):
            agent.sendall(session(MESSAGES[-1]) if number == 1 else session(MESSAGES[-1])[57:])
            reader.drain(number * second)
            reader.take_records(number * second)
    told = [entry["lost"] for entry in logs if entry["event"] == "monitor_incomplete"]
    assert told == [17, 60 * 17]
    assert reader.counters["lost"] == 119 * 17


def test_a_connection_that_ends_is_in_the_log(
    feed: tuple[MonitorFeed, FakeMonitorServer],
) -> None:
    reader, server = feed
    with capture_logs() as logs:
        reader.take_records(0)
        server.accept().close()
        reader.drain(1)
    assert [entry["event"] for entry in logs] == ["monitor_connected", "monitor_disconnected"]
    assert "was closed" in logs[1]["error"]


# The agent.


def test_a_stream_flows_through_the_collectors(tmp_path: Path) -> None:
    agent = built(tmp_path)
    dns = log("Request", {"ID": 1}, {"ID": 2}, {"Query": "example.com."}, "Denied")
    with FakeMonitorServer(tmp_path / "monitor.sock") as server:
        agent.start()

        def serve() -> None:
            connection = server.accept()
            connection.sendall(session(*MESSAGES, Payload(data=trace(3, 0)), Payload(data=dns)))
            # An answer from the agent: it read until the end.
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(10)
            connection.recv(1)
            agent.stop()

        thread = threading.Thread(target=serve)
        thread.start()
        report = agent.run()
        thread.join()
    kinds = [type(record).__name__ for record in delivered(tmp_path)]
    assert kinds == ["FlowRecord", "FlowRecord", "PacketReport", "FlowRecord", "DNSRequestReport"]
    assert report.counters["records"] == 5
    assert report.source["connections"] >= 1
    assert report.summary().startswith(
        "6 messages read, 1 malformed, 17 lost on the way, 5 records;"
        " records delivered: file 5 of 5; dropped: 0, undelivered: 0"
    )


def test_what_becomes_a_record_can_be_chosen(tmp_path: Path) -> None:
    agent = built(tmp_path, 'flows = ["policy-verdict"]\npackets = []\nprofile = "1.9"')
    with FakeMonitorServer(tmp_path / "monitor.sock") as server:
        agent.start()
        thread = threading.Thread(target=agent.run)
        thread.start()
        connection = server.accept()
        connection.sendall(session(*MESSAGES, Payload(data=trace(3, 0))))
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        connection.recv(1)
        agent.stop()
        thread.join()
    (record,) = delivered(tmp_path)
    assert isinstance(record, FlowRecord)
    assert record.tags[0] == "cilium.type=policy-verdict"


def test_an_agent_without_a_socket_to_read_waits_and_ends(tmp_path: Path) -> None:
    agent = built(tmp_path)
    with capture_logs() as logs:
        agent.start()
        agent.reload()
        threading.Timer(0.05, agent.stop).start()
        report = agent.run()
    assert report.counters["messages"] == 0
    assert report.source["unreachable"] == 1
    events = [entry["event"] for entry in logs]
    assert events[0] == "agent_started"
    assert "monitor_disconnected" in events
    assert events[-1] == "agent_stopped"


def test_it_has_to_be_started(tmp_path: Path) -> None:
    with pytest.raises(DatapathError, match="was not started"):
        built(tmp_path).run()


def test_metrics_and_health(tmp_path: Path) -> None:
    agent = built(tmp_path)
    source = MonitorSocket(str(tmp_path / "nobody"))
    feed = MonitorFeed(source, MonitorRecords(), dict)
    now = [10**12]
    watch = MonitorWatch(MetricsConfig(), agent.pipeline, feed, source, clock=lambda: now[0])
    watch.answer()
    assert [metric.spec for metric in watch.metrics()] == list(MONITOR_METRICS)
    assert dict(next(iter(watch.metrics())).samples)[("messages",)] == 0
    assert [(check.name, check.ok) for check in watch.health()] == [
        ("loop", True),
        ("monitor", False),
    ]
    now[0] += 11 * 10**9
    assert not next(iter(watch.health())).ok


# The configuration.


def test_the_key_source_decides(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert names_source(path)
    loaded = load_monitor_config(path)
    assert isinstance(loaded.settings, MonitorAgentConfiguration)
    assert loaded.settings.source is SourceName.CILIUM_MONITOR
    assert loaded.settings.monitor == MonitorSourceConfig(socket="monitor.sock")


def test_without_it_the_agent_judges(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("version = 1\n")
    path = tmp_path / "agent.toml"
    path.write_text('[datapath]\npolicy = "policy.toml"\n')
    assert not names_source(path)
    assert not names_source(tmp_path / "nothing")
    assert isinstance(_build(str(path), remove_rules=False), Supervisor)
    with path.open("a") as file:
        file.write('[processes]\nlayout = "single"\n')
    assert isinstance(_build(str(path), remove_rules=False), Agent)


def test_a_monitor_without_its_source_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("[monitor]\n", encoding="utf-8")
    assert names_source(path)
    with pytest.raises(ConfigError, match=r'source: found nothing, expected "cilium-monitor"'):
        load_monitor_config(path)
    path.write_text('[monitor]\n[datapath]\npolicy = "p"\n', encoding="utf-8")
    assert not names_source(path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('source = "cilium"', 'source: found string "cilium", expected "cilium-monitor"'),
        ('source = "cilium-monitor"\n[datapath]\npolicy = "x"', "datapath"),
        ('source = "cilium-monitor"\n[monitor]\nprofile = "1.8"', "monitor.profile"),
        ('source = "cilium-monitor"\n[monitor]\nflows = ["drops"]', "monitor.flows"),
        ('source = "cilium-monitor"\n[monitor]\nsoket = "x"', "did you mean"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_monitor_config(path)
    assert complaint in str(caught.value)


def test_run_and_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = MonitorAgent.start

    def start_and_stop(agent: MonitorAgent) -> MonitorAgent:
        begin(agent).stop()
        return agent

    monkeypatch.setattr(MonitorAgent, "start", start_and_stop)
    assert cli.main(["run", "-c", str(write(tmp_path))]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("0 messages read, 0 malformed")
    assert cli.main(["run", "-c", str(write(tmp_path)), "--json"]) == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["report"]["counters"]["lost"] == 0


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write(tmp_path))
    assert cli.main(["check", "-c", path]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert "source      cilium-monitor" in shown
    assert "monitor.sock cannot be connected" in shown
    assert cli.main(["check", "-c", path, "--json"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert found["settings"]["monitor"]["profile"] == "1.16"
    assert found["warnings"][0]["subject"] == "monitor"


# The control socket.


@pytest.fixture
def controlled(tmp_path: Path) -> Iterator[tuple[MonitorAgent, ControlClient, FakeMonitorServer]]:
    with FakeMonitorServer(tmp_path / "monitor.sock") as server:
        agent = built(tmp_path, f"[control]\npath = '{tmp_path}/c'")
        agent.start()
        thread = threading.Thread(target=agent.run)
        thread.start()
        yield agent, ControlClient(str(tmp_path / "c")), server
        agent.stop()
        thread.join(10)
    assert not (tmp_path / "c").exists()


def test_it_tells_its_status_over_the_control_socket(
    controlled: tuple[MonitorAgent, ControlClient, FakeMonitorServer],
) -> None:
    agent, client, server = controlled
    server.accept().sendall(session(*MESSAGES))
    while (status := client.call("status", AgentStatus)).packets.counters["messages"] < 4:
        continue
    assert status.packets.counters["lost"] == 17
    assert (status.state, status.reasons) == (AgentState.RUNNING, ())
    assert {check.name: check.ok for check in status.health} == {"loop": True, "monitor": True}
    assert status.policy.file == ""
    assert "counts   messages 4, records 3, malformed 1" in status_text(status)
    assert agent.commands.names() == ["drain", "reload", "status"]


def test_it_reloads_and_says_what_a_restart_would_change(
    controlled: tuple[MonitorAgent, ControlClient, FakeMonitorServer], tmp_path: Path
) -> None:
    _, client, _ = controlled
    path = tmp_path / "agent.toml"
    text = path.read_text(encoding="utf-8")
    assert client.call("reload", ReloadResult).restart_needed == ()
    path.write_text(text.replace('instance = "node"', 'instance = "other"'), encoding="utf-8")
    assert client.call("reload", ReloadResult).restart_needed == ("instance",)
    path.write_text(text.replace("[monitor]", "[monitro]"), encoding="utf-8")
    with pytest.raises(CommandFailedError, match="monitro"):
        client.call("reload", ReloadResult)


def test_it_ends_when_it_is_drained(
    controlled: tuple[MonitorAgent, ControlClient, FakeMonitorServer],
) -> None:
    _, client, server = controlled
    server.accept().sendall(session(*MESSAGES))
    while client.call("status", AgentStatus).packets.counters["messages"] < 4:
        continue
    result = client.call("drain", DrainResult, DrainArguments(deadline_seconds=5))
    assert result.complete
    assert not result.rules_in_place
