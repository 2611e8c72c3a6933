"""A running agent answers, reloads and drains; what it is asked never stops it."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from tests.datapath.agent.test_agent import HTTP, POLICY, SSH, Bench
from trireme_collector.control import (
    AgentState,
    AgentStatus,
    CommandFailedError,
    ControlClient,
    ControlCommand,
    DrainArguments,
    DrainResult,
    NoArguments,
    NotRunningError,
    ReloadResult,
)
from trireme_collector.control import _config as control_config
from trireme_collector.errors import ConfigError, DatapathError, RetryableDeliveryError
from trireme_datapath.agent import _agent as agent_module
from trireme_datapath.agent import _control as agent_control
from trireme_datapath.agent._jobs import LoopJobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trireme_collector.records import Record
    from trireme_datapath.agent import Agent, AgentReport


class Run:
    """An agent that runs in a thread, and a client of it."""

    def __init__(self, bench: Bench, path: Path) -> None:
        self.bench = bench
        self.path = path
        self.agent: Agent = bench.agent(control=f"path = '{path}'")
        self.client = ControlClient(str(path))
        self.report: AgentReport | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.report = self.agent.run()

    def start(self) -> None:
        self.agent.start()
        self._thread.start()

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()

    def status(self) -> AgentStatus:
        return self.client.call("status", AgentStatus)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def run(bench: Bench, tmp_path: Path) -> Iterator[Run]:
    bench.packets = (HTTP, SSH)
    made = Run(bench, tmp_path / "c")
    made.start()
    yield made
    made.agent.stop()
    made.join()
    assert not made.path.exists()


def test_the_status_tells_everything(run: Run) -> None:
    while (status := run.status()).packets.judged < 2:
        continue
    assert (status.state, status.reasons) == (AgentState.RUNNING, ())
    assert status.records.instance == "test"
    assert status.records.epoch == run.agent.pipeline.epoch
    assert status.policy.revision == run.agent.engine.policy.revision
    assert status.policy.file.endswith("/policy.toml")
    assert status.packets.exact
    assert (status.packets.judged, status.packets.denied) == (2, 1)
    assert status.packets.counters["flows_accepted"] == 1
    queue = status.packets.queue
    assert queue is not None
    assert (queue.number, queue.received, queue.dropped_full, queue.dropped_socket) == (0, 11, 2, 3)
    checks = [(check.name, check.ok) for check in status.health]
    assert checks == [("loop", True), ("queue", True), ("observe", True)]
    for account in status.records.collectors:
        gone = account.delivered + account.dead_lettered + account.dropped
        assert account.accepted == gone + account.queued


def test_a_reload_answers_with_the_revisions(run: Run) -> None:
    before = run.agent.engine.policy.revision
    run.bench.write_policy(POLICY.replace("80", "81"))
    result = run.client.call("reload", ReloadResult)
    assert (result.revision_before, result.changed) == (before, True)
    assert result.revision == run.agent.engine.policy.revision != before
    again = run.client.call("reload", ReloadResult)
    assert (again.revision_before, again.revision) == (result.revision, result.revision)
    assert not again.changed


def test_a_bad_reload_answers_with_every_mistake_and_changes_nothing(run: Run) -> None:
    before = run.agent.engine.policy
    run.bench.write_policy(POLICY.replace("accept", "acept").replace("tcp", "tpc"))
    with capture_logs() as logs, pytest.raises(CommandFailedError) as caught:
        run.client.call("reload", ReloadResult)
    assert caught.value.kind == "config"
    assert [line.partition("policy.toml:")[2][:4] for line in caught.value.problems] == [
        "8:10",
        "10:1",
    ]
    assert run.agent.engine.policy is before
    status = run.status()
    assert status.state is AgentState.DEGRADED
    assert status.policy.refused == caught.value.problems
    assert [entry["event"] for entry in logs] == [
        "reload_asked", "policy_refused", "policy_refused", "policy_kept",
    ]  # fmt: skip
    run.bench.write_policy(POLICY)
    run.client.call("reload", ReloadResult)
    assert run.status().state is AgentState.RUNNING


def test_a_bad_configuration_keeps_the_old_policy_too(run: Run) -> None:
    before = run.agent.engine.policy
    run.bench.write_policy(POLICY.replace("80", "81"))
    path = run.bench.directory / "agent.toml"
    path.write_text(path.read_text().replace("[datapath]", "[datapath]\nqueu = 1"))
    with pytest.raises(CommandFailedError, match=r"agent\.toml:3:1: .*did you mean"):
        run.client.call("reload", ReloadResult)
    assert run.agent.engine.policy is before


def test_a_drain_tells_what_became_of_the_records_and_ends(run: Run) -> None:
    result = run.client.call("drain", DrainResult, DrainArguments(deadline_seconds=3))
    run.join()
    assert result.complete
    assert result.rules_in_place
    assert run.report is not None
    assert result.status == run.report.shutdown.status
    with pytest.raises(NotRunningError):
        run.status()


class Wrong(DrainArguments, frozen=True, kw_only=True):
    """Lets everything pass that the agent must refuse."""

    def __post_init__(self) -> None:
        return


@pytest.mark.parametrize("seconds", [-1.0, 3601.0, float("nan")])
def test_a_deadline_that_is_none_is_refused(run: Run, seconds: float) -> None:
    with pytest.raises(CommandFailedError, match=r"drain: "):
        run.client.call("drain", DrainResult, Wrong(deadline_seconds=seconds))
    assert run.status().state is AgentState.RUNNING


def test_while_it_drains_it_says_so(bench: Bench, tmp_path: Path) -> None:
    delivering, go_on = threading.Event(), threading.Event()
    original = bench.output.deliver

    def deliver(batch: list[Record]) -> None:
        delivering.set()
        go_on.wait(10)
        original(batch)

    bench.output.deliver = deliver  # type: ignore[method-assign,assignment]  # a slow receiver
    bench.packets = (HTTP,)
    run = Run(bench, tmp_path / "c")
    run.start()
    results: list[DrainResult] = []
    asking = threading.Thread(
        target=lambda: results.append(
            run.client.call("drain", DrainResult, DrainArguments(deadline_seconds=9))
        )
    )
    asking.start()
    assert delivering.wait(10)
    while (status := run.status()).state is not AgentState.DRAINING:
        continue
    assert status.reasons == ("it was told to end",)
    go_on.set()
    asking.join(10)
    run.join()
    assert results[0].complete


def test_a_loop_that_hangs_is_shown_as_it_is(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "_STATUS_SECONDS", 0.05)
    monkeypatch.setattr(agent_control, "_RELOAD_SECONDS", 0.05)
    run = Run(bench, tmp_path / "c")
    run.agent.start()  # and nobody calls run()
    assert not run.status().packets.exact
    with pytest.raises(CommandFailedError, match="no result within"):
        run.client.call("reload", ReloadResult)
    assert run.bench.calls.count("output reopened") == 0
    run.agent.stop()
    run.agent.run()


def test_a_collector_in_trouble_is_a_reason(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = threading.Event()

    def refuse(_batch: object) -> None:
        tried.set()
        raise RetryableDeliveryError("the receiver is away")

    monkeypatch.setattr(bench.output, "deliver", refuse, raising=False)
    bench.packets = (HTTP,)
    run = Run(bench, tmp_path / "c")
    run.start()
    assert tried.wait(10)
    while (status := run.status()).state is not AgentState.DEGRADED:
        continue
    assert status.reasons == ("collector memory: it waits after a failure",)
    run.client.call("drain", DrainResult, DrainArguments(deadline_seconds=0))
    run.join()


def test_an_agent_takes_commands_of_others(bench: Bench, tmp_path: Path) -> None:
    run = Run(bench, tmp_path / "c")
    run.agent.commands.add(
        ControlCommand(
            name="knock",
            summary="",
            arguments=NoArguments,
            result=NoArguments,
            handler=lambda _arguments, _peer: NoArguments(),
        )
    )
    run.start()
    assert run.client.call("knock", NoArguments) == NoArguments()
    run.agent.stop()
    run.join()


def test_a_socket_that_is_demanded_and_impossible_stops_the_start(
    bench: Bench, tmp_path: Path
) -> None:
    agent = bench.agent(control=f"path = '{tmp_path}/none/c'")
    with pytest.raises(ConfigError, match="create the directory"):
        agent.start()
    assert bench.calls == ["output", "output closed"]


def test_a_socket_that_is_offered_and_impossible_is_logged(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_config, "DEFAULT_PATH", str(tmp_path / "none" / "c"))
    agent = bench.agent(control="")
    with capture_logs() as logs:
        agent.start()
        agent.stop()
        agent.run()
    assert logs[0]["event"] == "control_unavailable"


def test_nothing_stays_when_the_start_fails(bench: Bench, tmp_path: Path) -> None:
    bench.rules.error = DatapathError("no")
    agent = bench.agent(control=f"path = '{tmp_path}/c'")
    with pytest.raises(DatapathError, match="no"):
        agent.start()
    assert not (tmp_path / "c").exists()


def test_a_job_that_nobody_waits_for_any_more_is_not_done() -> None:
    jobs = LoopJobs()
    done: list[int] = []
    futures = [jobs.post(lambda n=number: done.append(n)) for number in range(3)]  # type: ignore[misc]  # bound
    futures[1].cancel()
    assert jobs
    jobs.run()
    assert not jobs
    assert done == [0, 2]
    with contextlib.suppress(CancelledError):
        futures[1].result(0)


def test_a_job_that_fails_tells_who_asked_and_harms_no_other() -> None:
    jobs = LoopJobs()
    first = jobs.post(lambda: 1 // 0)
    second = jobs.post(lambda: 2)
    jobs.run()
    assert isinstance(first.exception(0), ZeroDivisionError)
    assert second.result(0) == 2
