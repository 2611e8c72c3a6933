"""One switch makes an agent observe instead of enforce, and the switch itself is recorded."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from tests.datapath.agent.test_agent import HTTP, POLICY, SSH, Bench
from trireme_collector.cli.ctl import ctl
from trireme_collector.control import (
    AgentState,
    AgentStatus,
    CommandFailedError,
    ControlClient,
    ObserveArguments,
    ObserveResult,
    ReloadResult,
)
from trireme_collector.records import TraceReport
from trireme_datapath.agent._observing import ObserveMode, switch_report
from trireme_datapath.policy import compile_policy, parse_policy

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from trireme_datapath.agent import Agent


class Run:
    """An agent in a thread, its client, and what its collector got."""

    def __init__(self, bench: Bench, path: Path, datapath: str = "") -> None:
        self.bench = bench
        self.path = path
        self.agent: Agent = bench.agent(datapath, control=f"path = '{path}'")
        self.client = ControlClient(str(path))
        self._thread = threading.Thread(target=self.agent.run)

    def __enter__(self) -> Self:
        self.agent.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.agent.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def observe(self, mode: str) -> ObserveResult:
        arguments = ObserveArguments(mode=mode)  # type: ignore[arg-type]  # one of the literals
        return self.client.call("observe", ObserveResult, arguments)

    def status(self) -> AgentStatus:
        return self.client.call("status", AgentStatus)

    def switches(self) -> list[str]:
        found = [one for one in self.bench.output.records if isinstance(one, TraceReport)]
        return [one.lines[0].partition(" policy_revision")[0] for one in found]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.packets = (HTTP, SSH)
    return made


def test_a_switch_is_recorded_shown_and_lasts_over_reloads(bench: Bench, tmp_path: Path) -> None:
    with Run(bench, tmp_path / "c") as run:
        enforced = run.agent.engine.policy.revision
        result = run.observe("on")
        assert (result.observe_only, result.observe_by) == (True, "control")
        assert (result.revision_before, result.revision) == (
            enforced,
            run.agent.engine.policy.revision,
        )
        status = run.status()
        assert status.state is AgentState.DEGRADED
        assert status.reasons == ("not enforcing: observe mode is on, by control",)
        assert (status.policy.observe_only, status.policy.observe_by) == (True, "control")
        bench.write_policy(POLICY.replace("80", "81"))
        assert run.client.call("reload", ReloadResult).changed
        assert run.agent.engine.policy.observe_only
        bench.write_policy(POLICY)
        run.client.call("reload", ReloadResult)
        assert run.observe("on").revision == result.revision
        assert run.observe("off").revision == enforced
        assert run.status().state is AgentState.RUNNING
        run.observe("on")
        assert run.observe("configured").observe_by == ""
    by = f"by=control uid={os.getuid()}"
    # Switched on, off, on; and back to what the files say, which nobody asked for by name.
    assert run.switches() == [
        f"trireme-collector observe=on {by}",
        f"trireme-collector observe=off {by}",
        f"trireme-collector observe=on {by}",
        "trireme-collector observe=off by=files",
    ]


def test_nothing_is_dropped_meanwhile(bench: Bench, tmp_path: Path) -> None:
    with Run(bench, tmp_path / "c", "observe = true") as run:
        while run.status().packets.judged < 2:
            continue
        assert bench.queue is not None
        assert [one.verdict.name for one in bench.queue.fake.verdicts.values()] == ["ACCEPT"] * 2
        assert run.status().policy.observe_by == "configuration"
    assert run.switches() == ["trireme-collector observe=on by=configuration"]


def test_a_reload_takes_the_key_over(bench: Bench, tmp_path: Path) -> None:
    with Run(bench, tmp_path / "c", "observe = true") as run:
        path = bench.directory / "agent.toml"
        path.write_text(path.read_text().replace("observe = true", "observe = false"))
        result = run.client.call("reload", ReloadResult)
        assert (result.changed, result.restart_needed) == (True, ())
        bench.write_policy("observe_only = true\n" + POLICY)
        run.client.call("reload", ReloadResult)
        assert run.status().policy.observe_by == "policy"
    assert run.switches() == [
        "trireme-collector observe=on by=configuration",
        "trireme-collector observe=off by=files",
        "trireme-collector observe=on by=policy",
    ]


def test_broken_files_keep_nobody_from_switching(bench: Bench, tmp_path: Path) -> None:
    with Run(bench, tmp_path / "c") as run:
        bench.write_policy("version = 2")
        with pytest.raises(CommandFailedError):
            run.client.call("reload", ReloadResult)
        assert run.observe("on").observe_only
        assert not run.observe("off").observe_only


def test_the_command_line_switches(bench: Bench, tmp_path: Path) -> None:
    with Run(bench, tmp_path / "c") as run:
        done = CliRunner().invoke(ctl, ["observe", "on", "--socket", str(run.path)])
        assert done.exit_code == 0, done.output
        assert "only observed: nothing is dropped (by control)" in done.output
        shown = CliRunner().invoke(ctl, ["status", "--socket", str(run.path)])
        assert "observed only, by control" in shown.output
        done = CliRunner().invoke(ctl, ["observe", "off", "--json", "--socket", str(run.path)])
        assert '"observe_only": false' in done.output


def test_only_a_switch_is_a_record() -> None:
    enforcing = compile_policy(parse_policy(POLICY))
    observing = compile_policy(parse_policy("observe_only = true\n" + POLICY))
    by_policy = ObserveMode(policy=True)
    assert switch_report(None, enforcing, ObserveMode()) is None
    assert switch_report(enforcing, enforcing, ObserveMode()) is None
    assert switch_report(observing, observing, by_policy) is None
    report = switch_report(None, observing, by_policy)
    assert report is not None
    assert report.lines == (
        f"trireme-collector observe=on by=policy policy_revision={observing.revision}",
    )
