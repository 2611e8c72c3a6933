"""`status` and `ctl` against a server that answers as an agent would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec import structs

from trireme_collector import cli
from trireme_collector.cli import _control_options
from trireme_collector.control import (
    DEFAULT_PATH,
    AgentState,
    AgentStatus,
    CommandTable,
    ControlCommand,
    ControlConfig,
    ControlServer,
    DrainArguments,
    DrainResult,
    HealthStatus,
    NoArguments,
    PacketStatus,
    PolicyStatus,
    QueueStatus,
    ReloadResult,
)
from trireme_collector.delivery import SpoolHealth
from trireme_collector.enrichment import LookupStatus
from trireme_collector.errors import ConfigError, TriremeError
from trireme_collector.exit_codes import ExitCode
from trireme_collector.pipeline import Pipeline, PipelineStatus
from trireme_collector.testing import MemoryCollector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_NS = 1_767_225_600_000_000_000
ACCOUNT = structs.replace(
    Pipeline({"archive": MemoryCollector()}).status().collectors[0],
    accepted=5036,
    delivered=5000,
    dead_lettered=1,
    dropped=5,
    queued=30,
    dropped_by_reason={"queue_full": 3, "filtered": 2},
    retrying=True,
    last_error="refused \x1b[2J by 192.0.2.1",
)
STATUS = AgentStatus(
    state=AgentState.RUNNING,
    reasons=(),
    program_version="1.2.3",
    pid=4711,
    time_ns=START_NS + 7_500_000_000_000,
    health=(HealthStatus(name="loop", ok=True, detail="turned 0.0 s ago", vital=True),),
    policy=PolicyStatus(file="/etc/p.toml", revision="5d1a", loaded_ns=START_NS),
    packets=PacketStatus(
        exact=True,
        judged=100,
        denied=20,
        counters={"flows_accepted": 7, "flows_rejected": 2},
        queue=QueueStatus(number=0, received=104, waiting=1, dropped_full=2, dropped_socket=1),
    ),
    records=PipelineStatus(
        instance="host-7",
        epoch=START_NS,
        sequence=5036,
        flows_received=6000,
        flows_merged=964,
        flows_pending=0,
        flows_evicted=0,
        malformed=0,
        collectors=(
            ACCOUNT,
            structs.replace(ACCOUNT, name="b", dropped=0, dropped_by_reason={}, retrying=False),
        ),
    ),
)


class Agent:
    """Answers with what the test says."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.status = STATUS
        self.reload: ReloadResult | TriremeError = ReloadResult(
            policy_file="/etc/p.toml", revision_before="a", revision="b", changed=True
        )
        self.drain = DrainResult(
            complete=True,
            undelivered=0,
            spooled=0,
            stuck=(),
            rules_in_place=True,
            status=STATUS.records,
        )
        self.deadlines: list[float] = []
        commands = CommandTable()
        commands.add(
            ControlCommand(
                name="status",
                summary="",
                arguments=NoArguments,
                result=AgentStatus,
                handler=lambda _arguments, _peer: self.status,
            )
        )
        commands.add(
            ControlCommand(
                name="reload",
                summary="",
                arguments=NoArguments,
                result=ReloadResult,
                handler=lambda _arguments, _peer: self._reload(),
            )
        )
        commands.add(
            ControlCommand(
                name="drain",
                summary="",
                arguments=DrainArguments,
                result=DrainResult,
                handler=lambda arguments, _peer: self._drain(arguments),
            )
        )
        self.server = ControlServer(ControlConfig(path=self.path), commands)
        self.server.open()
        self.server.start()

    def _reload(self) -> ReloadResult:
        if isinstance(self.reload, TriremeError):
            raise self.reload
        return self.reload

    def _drain(self, arguments: DrainArguments) -> DrainResult:
        self.deadlines.append(arguments.deadline_seconds)
        return self.drain


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path / "c")
    yield made
    made.server.close()


@pytest.fixture
def run(agent: Agent, capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(agent.path, capsys)


class Runner:
    """Runs a command against the agent."""

    def __init__(self, path: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        code = cli.main([*words, "--socket", self.path])
        out, err = self.capsys.readouterr()
        return code, out, err


def test_the_default_path_is_that_of_the_configuration() -> None:
    assert _control_options._DEFAULT_PATH == DEFAULT_PATH


def test_the_status_for_people(run: Runner) -> None:
    code, out, _ = run("status")
    assert code == ExitCode.OK
    lines = out.splitlines()
    assert lines[0] == "running  host-7  for 2 h 5 min"
    assert lines[1].startswith("since    2026-01-01T00:00:00")
    assert "epoch 1767225600000000000; process 4711, version 1.2.3" in lines[1]
    assert lines[2].startswith("policy   /etc/p.toml, revision 5d1a, in force since 2026-01-01T")
    assert lines[3] == "packets  judged 100, denied 20; flows accepted 7, rejected 2"
    assert lines[4] == (
        "queue 0  received 104, waiting 1; dropped by the kernel: queue full 2, socket full 1"
    )
    assert lines[5] == "health   loop ok: turned 0.0 s ago"
    assert lines[8:] == [
        "COLLECTOR  ACCEPTED  DELIVERED  DEAD-LETTERED  DROPPED  WAITING  STATE",
        "archive        5036       5000              1        5       30  retrying",
        "b              5036       5000              1        0       30  ok",
        "  archive dropped: filtered 2, queue_full 3",
        "  archive last error: refused \\x1b[2J by 192.0.2.1",
    ]


def test_what_needs_attention_is_said_first_and_by_the_exit_code(agent: Agent, run: Runner) -> None:
    agent.status = structs.replace(
        STATUS,
        state=AgentState.DEGRADED,
        reasons=("loop: turned 12 s ago",),
        health=(HealthStatus(name="loop", ok=False, detail="turned 12 s ago", vital=True),),
        policy=structs.replace(STATUS.policy, refused=("p.toml:1:2: no\nsuch",)),
        packets=structs.replace(STATUS.packets, exact=False, queue=None),
    )
    code, out, _ = run("ctl", "status")
    assert code == ExitCode.DEGRADED
    lines = out.splitlines()
    assert lines[0].startswith("degraded  host-7")
    assert lines[1] == "  ! loop: turned 12 s ago"
    assert lines[2] == "      p.toml:1:2: no\\nsuch"
    assert "the packet loop does not turn" in out
    assert "health   loop BAD" in out
    assert "queue" not in out.replace("queue_full", "")


def test_the_status_for_scripts_is_what_the_agent_said(run: Runner) -> None:
    code, out, _ = run("status", "--json")
    assert code == ExitCode.OK
    found = json.loads(out)
    assert found == {"version": 1, **json.loads(msgspec.json.encode(STATUS))}


def test_an_agent_without_collectors(agent: Agent, run: Runner) -> None:
    agent.status = structs.replace(STATUS, records=structs.replace(STATUS.records, collectors=()))
    assert run("status")[1].splitlines()[-1] == "no collector"


def test_look_ups_have_a_line_each(agent: Agent, run: Runner) -> None:
    lookups = (
        LookupStatus(name="cluster", hits=9, misses=4, entries=4),
        LookupStatus(name="others", misses=1, failures=1, entries=1, last_error="OSError: a\x1b[b"),
    )
    agent.status = structs.replace(STATUS, records=structs.replace(STATUS.records, lookups=lookups))
    first, second = run("status")[1].splitlines()[-2:]
    assert first == "look-up  cluster: known 9, asked 4, failed 0, kept 4"
    assert second.startswith("look-up  others: known 0, asked 1, failed 1, kept 1, last error: OSE")
    assert "\x1b" not in second
    _, out, _ = run("status", "--json")
    assert '"failures":1' in out.replace(" ", "")


def test_no_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "c")
    assert cli.main(["status", "--socket", path]) == ExitCode.NOT_RUNNING
    assert f"no agent listens at {path}" in capsys.readouterr().err
    assert cli.main(["ctl", "reload", "--json", "--socket", path]) == ExitCode.NOT_RUNNING
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["kind"], error["exit_code"]) == ("NotRunningError", 12)


def test_a_reload_that_changes_the_policy(run: Runner) -> None:
    code, out, _ = run("ctl", "reload")
    assert (code, out) == (ExitCode.OK, "policy revision a -> b  /etc/p.toml\n")
    assert json.loads(run("ctl", "reload", "--json")[1])["revision_before"] == "a"


def test_a_reload_that_changes_nothing_but_needs_a_restart(agent: Agent, run: Runner) -> None:
    agent.reload = ReloadResult(
        policy_file="/etc/p.toml",
        revision_before="a",
        revision="a",
        changed=False,
        restart_needed=("instance", "datapath.queue"),
    )
    _, out, _ = run("ctl", "reload")
    assert out == (
        "policy revision a as before\ndiffers, and needs a restart: instance, datapath.queue\n"
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_a_reload_that_is_refused_lists_the_mistakes(
    agent: Agent, run: Runner, as_json: bool
) -> None:
    problems = ("p.toml:1:2: one", "p.toml:3:4: two")
    agent.reload = ConfigError("\n".join(problems), problems=problems)
    code, out, err = run("ctl", "reload", *(["--json"] if as_json else []))
    assert (code, out) == (ExitCode.CONFIG, "")
    if as_json:
        assert json.loads(err)["error"]["problems"] == list(problems)
    else:
        assert err.splitlines()[1:] == list(problems)


def test_a_drain(agent: Agent, run: Runner) -> None:
    code, out, _ = run("ctl", "drain", "--deadline", "2.5")
    assert code == ExitCode.OK
    assert agent.deadlines == [2.5]
    assert out.startswith("the agent ends: everything was delivered; on disk")
    assert "the kernel rules stay" in out


def test_a_drain_that_leaves_records(agent: Agent, run: Runner) -> None:
    agent.drain = structs.replace(
        agent.drain,
        complete=False,
        undelivered=30,
        spooled=10,
        stuck=("archive",),
        rules_in_place=False,
    )
    code, out, _ = run("ctl", "drain")
    assert code == ExitCode.OUTPUT
    assert (
        "records are left; on disk for the next start: 10, lost: 20\n  archive did not come back"
        in out
    )
    assert "rules" not in out
    assert not json.loads(run("ctl", "drain", "--json")[1])["complete"]


def test_what_waits_on_disk_is_not_lost(agent: Agent, run: Runner) -> None:
    agent.drain = structs.replace(agent.drain, complete=False, undelivered=30, spooled=30)
    code, out, _ = run("ctl", "drain")
    assert code == ExitCode.OK
    assert "on disk for the next start: 30, lost: 0" in out


def test_how_the_disk_does(agent: Agent, run: Runner) -> None:
    spool = SpoolHealth(unwritten=3, size_bytes=4096, undurable=2)
    failing = structs.replace(spool, write_failures=5, damaged=1, last_error="no space")
    accounts = (
        structs.replace(ACCOUNT, name="good", spool=spool),
        structs.replace(ACCOUNT, name="bad", spool=failing),
    )
    agent.status = structs.replace(
        STATUS, records=structs.replace(STATUS.records, collectors=accounts)
    )
    _, out, _ = run("status")
    waits = "waits on disk: 4096 bytes; records not written yet 3, not synced yet 2"
    assert f"  good {waits}\n" in out
    assert f"  bad {waits}\n  bad disk failures: writes 5, damaged places 1; last: no space" in out
    assert "good disk failures" not in out


@pytest.mark.parametrize(
    "words", [("ctl", "drain", "--deadline", "-1"), ("status", "--timeout", "0")]
)
def test_times_that_are_none(run: Runner, words: tuple[str, ...]) -> None:
    assert run(*words)[0] == ExitCode.USAGE
