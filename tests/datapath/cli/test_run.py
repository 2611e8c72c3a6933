"""`run` starts an agent, obeys signals, and ends each failed start with its own exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec
import pytest
import structlog

from trireme_collector import cli
from trireme_collector.errors import PrivilegeError
from trireme_collector.exit_codes import ExitCode
from trireme_collector.pipeline import PipelineStatus, ShutdownReport
from trireme_datapath import agent as agent_package
from trireme_datapath.agent import AgentConfiguration, AgentReport
from trireme_datapath.backends.netlink import NetlinkBackend, QueueBusyError
from trireme_datapath.backends.nfqueue import NfqueueBackend
from trireme_datapath.kernel.install import KernelRules
from trireme_datapath.processes import supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trireme_collector.config import LoadedConfiguration

POLICY = """
version = 1
[[unit]]
id = "web"
select.address = "198.51.100.20"
"""
REPORT = AgentReport(
    counters={"packets": 3},
    kernel_dropped=0,
    rules_in_place=True,
    shutdown=ShutdownReport(
        complete=True,
        undelivered=0,
        spooled=0,
        stuck=(),
        status=PipelineStatus(
            instance="test",
            epoch=1,
            sequence=0,
            flows_received=0,
            flows_merged=0,
            flows_pending=0,
            flows_evicted=0,
            malformed=0,
            collectors=(),
        ),
    ),
)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def no_rules_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide iptables: a real agent that starts by mistake must not touch the host's traffic."""
    monkeypatch.setenv("PATH", "/var/empty")


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "policy.toml").write_text(POLICY, encoding="utf-8")
    path = tmp_path / "agent.toml"
    path.write_text(
        f"[datapath]\npolicy = \"policy.toml\"\n[collectors.file]\npath = '{tmp_path}/f.json'\n"
        "[datapath.accounting]\nenabled = false\n"
        '[processes]\nlayout = "single"\n',
        encoding="utf-8",
    )
    return str(path)


class FakeAgent:
    """Sends this process a signal while it runs, as an administrator would."""

    signals: tuple[int, ...] = (signal.SIGTERM,)
    calls: ClassVar[list[str]] = []

    def __init__(
        self, config: LoadedConfiguration[AgentConfiguration], *, remove_rules: bool
    ) -> None:
        del config
        self.calls[:] = [f"remove={remove_rules}"]

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def reload(self) -> None:
        self.calls.append("reload")

    def run(self) -> AgentReport:
        for number in self.signals:
            os.kill(os.getpid(), number)
        return REPORT


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeAgent]:
    monkeypatch.setattr(agent_package, "Agent", FakeAgent)
    return FakeAgent


def test_sigterm_ends_it_well(
    fake: type[FakeAgent], config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "-c", config]) == ExitCode.OK
    assert fake.calls == ["remove=False", "start", "stop"]
    assert capsys.readouterr().out.startswith("3 packets judged")


def test_ctrl_c_ends_it_well_and_says_so(
    fake: type[FakeAgent], config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "signals", (signal.SIGINT,))
    assert cli.main(["run", "-c", config, "--remove-rules"]) == ExitCode.INTERRUPTED
    assert fake.calls == ["remove=True", "start", "stop"]


def test_sighup_reloads(
    fake: type[FakeAgent], config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "signals", (signal.SIGHUP, signal.SIGTERM))
    assert cli.main(["run", "-c", config]) == ExitCode.OK
    assert sorted(fake.calls[2:]) == ["reload", "stop"]


def test_signals_are_as_before_afterwards(fake: type[FakeAgent], config: str) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    cli.main(["run", "-c", config])
    assert fake.calls
    after = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    assert after == before
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGTERM, signal.SIGINT}


class FakeSupervisor(FakeAgent):
    """What runs a tree of processes, which no test may start in its own process."""

    def __init__(
        self,
        config: LoadedConfiguration[AgentConfiguration],
        *,
        remove_rules: bool,
        log: tuple[str, str],
        whole_program: bool,
    ) -> None:
        assert whole_program
        super().__init__(config, remove_rules=remove_rules)
        self.calls.append("-".join(log))

    def restart(self) -> None:
        self.calls.append("restart")


def test_a_tree_of_processes_is_what_runs_if_nothing_else_is_said(
    config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(config)
    path.write_text(path.read_text(encoding="utf-8").partition("[datapath.accounting]")[0], "utf-8")
    monkeypatch.setattr(supervisor, "Supervisor", FakeSupervisor)
    monkeypatch.setattr(FakeSupervisor, "signals", (signal.SIGUSR2, signal.SIGTERM))
    before = signal.getsignal(signal.SIGUSR2)
    assert cli.main(["run", "-c", config, "--json"]) == ExitCode.OK
    assert FakeSupervisor.calls[:3] == ["remove=False", "json-plain", "start"]
    assert sorted(FakeSupervisor.calls[3:]) == ["restart", "stop"]
    assert signal.getsignal(signal.SIGUSR2) == before


def test_the_report_in_json(
    fake: type[FakeAgent], config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "-c", config, "--json"]) == ExitCode.OK
    assert fake.calls
    shown = json.loads(capsys.readouterr().out)
    assert shown["version"] == 1
    assert shown["report"] == json.loads(msgspec.json.encode(REPORT))


def refuse(error: Exception) -> object:
    def open_queue(*_: object) -> None:
        raise error

    return open_queue


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (QueueBusyError(0, "process 7 (other)"), ExitCode.QUEUE_BUSY, "queue 0 is in use by"),
        (PrivilegeError("CAP_NET_ADMIN is missing"), ExitCode.PRIVILEGE, "CAP_NET_ADMIN"),
    ],
)
def test_a_queue_that_cannot_be_opened(
    config: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: ExitCode,
    said: str,
) -> None:
    monkeypatch.setattr(NetlinkBackend, "open", refuse(error))
    monkeypatch.setattr(KernelRules, "install", refuse(AssertionError("rules were touched")))
    assert cli.main(["run", "-c", config]) == code
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("error: ")
    assert said in err


def test_a_missing_extra(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "netfilterqueue", None)
    path = Path(config)
    text = path.read_text(encoding="utf-8").replace("[coll", 'backend = "nfqueue"\n[coll')
    path.write_text(text, encoding="utf-8")
    assert NfqueueBackend is not None
    assert cli.main(["run", "-c", config]) == ExitCode.MISSING_EXTRA
    assert "pip install 'trireme-collector[nfqueue]'" in capsys.readouterr().err


def test_iptables_that_is_missing(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed: list[str] = []

    class Queue:
        def close(self) -> None:
            closed.append("queue")

    monkeypatch.setattr(NetlinkBackend, "open", lambda *_: Queue())
    monkeypatch.setenv("PATH", "/var/empty")
    assert cli.main(["run", "-c", config]) == ExitCode.PRIVILEGE
    assert closed == ["queue"]
    assert "install the package iptables" in capsys.readouterr().err


def test_an_output_that_cannot_be_written(
    tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.json").mkdir()
    assert cli.main(["run", "-c", config]) == ExitCode.OUTPUT
    assert "f.json" in capsys.readouterr().err


def test_a_configuration_with_mistakes(
    tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("[datapth]\n", encoding="utf-8")
    assert config
    assert cli.main(["run", "-c", str(path)]) == ExitCode.CONFIG
    assert "did you mean datapath?" in capsys.readouterr().err


def test_a_configuration_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run"]) == ExitCode.USAGE
    assert "'-c'" in capsys.readouterr().err
