"""The agent: what is opened in which order, what stays when something fails, and what is said."""

from __future__ import annotations

import errno
import os
import threading
import types
from typing import TYPE_CHECKING

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from trireme_collector import CollectorSpec, FlowRecord, Record, hookimpl
from trireme_collector.errors import ConfigError, DatapathError, PluginError, PrivilegeError
from trireme_collector.exit_codes import ExitCode
from trireme_collector.registry import Registry
from trireme_collector.testing import MemoryCollector
from trireme_datapath.agent import Agent, DatapathConfig, OutputError, _files, load_agent_config
from trireme_datapath.backends.fake import FakeBackend
from trireme_datapath.backends.netlink import (
    NetlinkBackend,
    QueueBusyError,
    QueueStatistics,
)
from trireme_datapath.packets import Verdict
from trireme_datapath.policy import Policy, load_policy
from trireme_datapath.testing import craft

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trireme_datapath.engine import Engine

POLICY = """
version = 1
[[unit]]
id = "web"
select.address = "198.51.100.20"
[[unit.ingress]]
id = "http"
action = "accept"
from = "any"
protocol = "tcp"
ports = 80
"""
HTTP = "tcp 192.0.2.10:40000 > 198.51.100.20:80 S"
SSH = "tcp 192.0.2.10:40001 > 198.51.100.20:22 S"


class Queue:
    """A fake queue that a loop can wait on, and that takes part in the order of calls."""

    def __init__(self, engine: Engine, calls: list[str], *packets: str) -> None:
        self.fake = FakeBackend(engine, [craft(text).data for text in packets])
        self.calls = calls
        self.error: OSError | None = None
        self._readable, self._writer = os.pipe()
        os.write(self._writer, b".")
        calls.append("queue")

    def fileno(self) -> int:
        return self._readable

    def drain(self, now_ns: int) -> list[Record]:
        if self.error is not None:
            raise self.error
        return self.fake.drain_all(now_ns)

    def statistics(self) -> QueueStatistics | None:
        return QueueStatistics(
            queue_number=0,
            port_id=1,
            waiting=0,
            copy_mode=2,
            copy_range=128,
            dropped=2,
            user_dropped=3,
            last_packet_id=9,
        )

    def close(self) -> None:
        self.calls.append("queue closed")
        os.close(self._readable)
        os.close(self._writer)


class FakeRules:
    def __init__(self, calls: list[str], error: Exception | None = None) -> None:
        self.calls = calls
        self.error = error

    def install(self) -> None:
        self.calls.append("rules")
        if self.error is not None:
            raise self.error

    def remove(self) -> None:
        self.calls.append("rules removed")
        if self.error is not None:
            raise self.error


class Output(MemoryCollector):
    """Notes in the common list when it is opened, reopened and closed."""

    def __init__(self, order: list[str], error: Exception | None = None) -> None:
        super().__init__()
        self.order = order
        self.error = error

    @hookimpl
    def trireme_register_collectors(self) -> list[CollectorSpec]:
        return [CollectorSpec(name="memory", factory=lambda _config, _context: self)]

    def open(self) -> None:
        self.order.append("output")
        if self.error is not None:
            raise self.error

    def reopen(self) -> None:
        self.order.append("output reopened")

    def close(self) -> None:
        self.order.append("output closed")


class Bench:
    """An agent with fakes on all sides."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls: list[str] = []
        self.output = Output(self.calls)
        self.rules = FakeRules(self.calls)
        self.queue_error: Exception | None = None
        self.packets: tuple[str, ...] = ()
        self.queue: Queue | None = None
        self.write_policy(POLICY)

    def write_policy(self, text: str) -> None:
        (self.directory / "policy.toml").write_text(text, encoding="utf-8")

    def open_queue(self, _config: DatapathConfig, engine: Engine) -> Queue:
        if self.queue_error is not None:
            raise self.queue_error
        self.queue = Queue(engine, self.calls, *self.packets)
        return self.queue

    def agent(
        self,
        extra: str = "",
        *,
        behind: str = "",
        remove_rules: bool = False,
        control: str = "enabled = false",
    ) -> Agent:
        path = self.directory / "agent.toml"
        text = (
            f'instance = "test"\n[datapath]\npolicy = "policy.toml"\n{extra}\n'
            f"[control]\n{control}\n[collectors.memory]\n{behind}\n"
        )
        path.write_text(text, encoding="utf-8")
        registry = Registry(entry_points=())
        registry.register(self.output, name="memory")
        config = load_agent_config(path, registry=registry)
        return Agent(
            config, open_backend=self.open_queue, rules=self.rules, remove_rules=remove_rules
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def run(agent: Agent, before: Callable[[], object] | None = None) -> None:
    agent.start()
    if before is not None:
        before()
    agent.stop()


def test_packets_are_judged_and_reported(bench: Bench) -> None:
    bench.packets = (HTTP, SSH)
    agent = bench.agent()
    agent.start()
    agent.stop()
    report = agent.run()
    assert bench.queue is not None
    assert [v.verdict for v in bench.queue.fake.verdicts.values()] == [Verdict.ACCEPT, Verdict.DROP]
    flows = [record for record in bench.output.records if isinstance(record, FlowRecord)]
    assert [(f.policy_id, f.destination.port, f.instance) for f in flows] == [
        ("http", 80, "test"),
        ("default", 22, "test"),
    ]
    assert report.counters["packets"] == 2
    assert report.kernel_dropped == 5
    assert report.rules_in_place
    assert report.shutdown.complete
    assert report.summary() == (
        "2 packets judged, 1 flows accepted, 1 rejected, 5 packets dropped by the kernel;"
        # The start of the unit, two flows, its counters, those of all, and the checkpoint.
        " records delivered: memory 6 of 6; dropped: 0, undelivered: 0"
    )


def test_what_a_filter_left_out_is_not_called_dropped(bench: Bench) -> None:
    bench.packets = (HTTP, SSH)
    # The collector's table comes last: its filter belongs behind it.
    agent = bench.agent("", behind="filter = { allow = ['action == \"reject\"'] }")
    run(agent)
    report = agent.run()
    flows = [record for record in bench.output.records if isinstance(record, FlowRecord)]
    assert [flow.destination.port for flow in flows] == [22]
    left_out = report.shutdown.status.collectors[0].dropped_by_reason["filtered"]
    assert f"dropped: 0, undelivered: 0, left out by filters: {left_out}" in report.summary()


def test_dead_letters_are_told_apart_from_what_was_lost(bench: Bench) -> None:
    bench.packets = (HTTP, SSH)
    agent = bench.agent()
    run(agent)
    report = agent.run()
    (account,) = report.shutdown.status.collectors
    account = structs.replace(account, delivered=1, dead_lettered=2)
    status = structs.replace(report.shutdown.status, collectors=(account,))
    report = structs.replace(report, shutdown=structs.replace(report.shutdown, status=status))
    assert "memory 1 of 6; dropped: 0, undelivered: 0, dead letters: 2" in report.summary()


def test_what_is_opened_in_which_order(bench: Bench) -> None:
    agent = bench.agent()
    assert bench.calls == []
    run(agent)
    agent.run()
    assert bench.calls == ["output", "queue", "rules", "queue closed", "output closed"]


@pytest.mark.parametrize("how", ["configuration", "argument"])
def test_rules_are_removed_on_request_before_the_queue_goes(bench: Bench, how: str) -> None:
    extra = "[datapath.rules]\nremove_at_stop = true" if how == "configuration" else ""
    agent = bench.agent(extra, remove_rules=how == "argument")
    run(agent)
    report = agent.run()
    assert bench.calls[2:] == ["rules", "rules removed", "queue closed", "output closed"]
    assert not report.rules_in_place


def test_rules_that_cannot_be_removed_are_said_to_be_in_place(bench: Bench) -> None:
    agent = bench.agent(remove_rules=True)
    agent.start()
    bench.rules.error = DatapathError("held")
    agent.stop()
    with capture_logs() as logs:
        report = agent.run()
    assert report.rules_in_place
    assert logs[0]["event"] == "rules_not_removed"


def test_rules_of_others_are_left_alone(bench: Bench) -> None:
    agent = bench.agent("[datapath.rules]\ninstall = false", remove_rules=True)
    run(agent)
    report = agent.run()
    assert "rules" not in bench.calls
    assert not report.rules_in_place


def test_an_output_that_cannot_be_opened_stops_the_start_before_anything_else(
    bench: Bench,
) -> None:
    bench.output.error = ConfigError("the directory does not exist")
    agent = bench.agent()
    with pytest.raises(OutputError, match="the directory does not exist") as caught:
        agent.start()
    assert caught.value.exit_code == ExitCode.OUTPUT
    assert "queue" not in bench.calls
    assert "rules" not in bench.calls


def test_an_output_whose_library_is_missing_ends_with_the_code_for_that(bench: Bench) -> None:
    missing = ConfigError("it needs a package")
    missing.exit_code = ExitCode.MISSING_EXTRA  # type: ignore[attr-defined]  # as plugins may
    bench.output.error = missing
    with pytest.raises(OutputError, match="it needs a package") as caught:
        bench.agent().start()
    assert caught.value.exit_code == ExitCode.MISSING_EXTRA


def test_a_plugin_that_breaks_while_opening(bench: Bench) -> None:
    bench.output.error = ZeroDivisionError("x")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        bench.agent().start()
    assert bench.calls == ["output", "output closed"]


@pytest.mark.parametrize("error", [QueueBusyError(0, "pid 7"), PrivilegeError("no capability")])
def test_a_queue_that_is_refused_leaves_the_rules_alone(bench: Bench, error: Exception) -> None:
    bench.queue_error = error
    with pytest.raises(type(error)):
        bench.agent().start()
    assert bench.calls == ["output", "output closed"]


def test_rules_that_are_refused_give_the_queue_back(bench: Bench) -> None:
    bench.rules.error = PrivilegeError("no iptables")
    with pytest.raises(PrivilegeError):
        bench.agent().start()
    assert bench.calls == ["output", "queue", "rules", "queue closed", "output closed"]


def test_a_queue_that_is_lost_ends_the_run_and_leaves_the_rules(bench: Bench) -> None:
    agent = bench.agent()
    agent.start()
    assert bench.queue is not None
    bench.queue.error = OSError(errno.EBADF, "Bad file descriptor")
    with pytest.raises(DatapathError, match="queue 0 is lost"):
        agent.run()
    assert bench.calls[-2:] == ["queue closed", "output closed"]
    assert "rules removed" not in bench.calls


def test_an_agent_must_be_started(bench: Bench) -> None:
    with pytest.raises(DatapathError, match="call start"):
        bench.agent().run()


def test_a_policy_with_mistakes_stops_the_start(bench: Bench) -> None:
    bench.write_policy(POLICY.replace("accept", "acept"))
    with pytest.raises(ConfigError, match=r"policy\.toml:8:10"):
        bench.agent()
    assert bench.calls == []


def reload_once(bench: Bench, text: str) -> tuple[Agent, list[str]]:
    """Run an agent, ask for a reload with another policy, and give what was logged."""
    agent = bench.agent()
    agent.start()
    bench.write_policy(text)
    with capture_logs() as logs:
        thread = threading.Thread(target=agent.run)
        thread.start()
        agent.ask_reload().exception(10)
        agent.stop()
        thread.join(10)
    assert not thread.is_alive()
    return agent, [str(entry["event"]) for entry in logs]


def test_a_signal_reloads(bench: Bench) -> None:
    agent = bench.agent()
    agent.start()
    bench.write_policy(POLICY.replace("80", "81"))
    before = agent.engine.policy.revision
    agent.reload()
    thread = threading.Thread(target=agent.run)
    thread.start()
    while agent.engine.policy.revision == before:
        continue
    agent.stop()
    thread.join(10)
    assert bench.calls.count("output reopened") == 1


def test_files_are_read_beside_the_packets(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long that takes: the loop turns meanwhile."""
    agent = bench.agent()
    agent.start()
    go_on = threading.Event()
    readers: list[str] = []

    def slow(path: Path) -> Policy:
        readers.append(threading.current_thread().name)
        assert go_on.wait(10)
        return load_policy(path)

    monkeypatch.setattr(_files, "load_policy", slow)
    thread = threading.Thread(target=agent.run, name="the loop")
    thread.start()
    reloaded = agent.ask_reload()
    turned = [agent.ask(threading.current_thread).result(5).name for _ in range(3)]
    assert not reloaded.done()
    go_on.set()
    assert not reloaded.result(10).changed
    agent.stop()
    thread.join(10)
    assert turned == ["the loop"] * 3
    assert len(readers) == 1
    assert readers[0] != "the loop"


def test_a_reload_puts_another_policy_in_force(bench: Bench) -> None:
    agent, events = reload_once(bench, POLICY.replace("80", "81"))
    assert agent.engine.policy.units[0].ingress is not None
    assert agent.engine.policy.policy.units[0].ingress[0].ports[0].first == 81
    assert events == ["reloaded", "agent_stopped"]


def test_a_broken_policy_never_replaces_a_good_one(bench: Bench) -> None:
    agent, events = reload_once(bench, POLICY.replace("accept", "acept").replace("tcp", "tpc"))
    assert agent.engine.policy.policy.units[0].ingress[0].ports[0].first == 80
    assert events == ["policy_refused", "policy_refused", "policy_kept", "agent_stopped"]
    assert "output reopened" in bench.calls


@pytest.mark.parametrize(("capacity", "warned"), [(8191, True), (8192, False)])
def test_a_queue_that_cannot_hold_what_was_asked_for_is_said_at_the_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capacity: int, warned: bool
) -> None:
    class Narrow(NetlinkBackend):
        def __init__(self) -> None:
            self.queue = types.SimpleNamespace(capacity=capacity)  # type: ignore[assignment]  # all that is asked

        def fileno(self) -> int:
            return 0

        def close(self) -> None:
            bench.calls.append("queue closed")

    monkeypatch.setattr(bench, "open_queue", lambda *_: Narrow())
    agent = bench.agent()
    with capture_logs() as logs:
        agent.start()
    assert ("queue_shorter_than_configured" in [entry["event"] for entry in logs]) is warned
    agent.pipeline.close(0)
