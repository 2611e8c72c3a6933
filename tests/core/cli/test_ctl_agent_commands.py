"""`ctl trace`, `ping`, `unit` and `user` against a server that notes what it is asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from trireme_collector import cli
from trireme_collector.control import (
    CommandTable,
    ControlCommand,
    ControlConfig,
    ControlServer,
    PingArguments,
    PingProbe,
    PingResult,
    TraceArguments,
    TraceResult,
    TraceRulesArguments,
    TraceRulesResult,
    UnitArguments,
    UnitResult,
    UserArguments,
    UserResult,
)
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROBE = PingProbe(
    request=1, session_id="s", flow_tuple="a:b:1:2\x1b", latency_ns=1_234_567, error=""
)


class Agent:
    """Gives fixed answers."""

    def __init__(self, path: Path) -> None:
        self.asked: list[msgspec.Struct] = []
        self.until_ns = 1 << 62
        self.probes = (PROBE,)
        self.event = "update"
        commands = CommandTable()
        self._add(
            commands,
            "trace",
            TraceArguments,
            lambda: TraceResult(context_id="ctx", until_ns=self.until_ns),
        )
        self._add(
            commands, "trace_rules", TraceRulesArguments, lambda: TraceRulesResult(until_ns=1)
        )
        self._add(commands, "ping", PingArguments, lambda: PingResult(unit="u", probes=self.probes))
        self._add(commands, "unit", UnitArguments, lambda: UnitResult(event=self.event))
        self._add(commands, "user", UserArguments, lambda: UserResult(id="77", reported=True))
        self.server = ControlServer(ControlConfig(path=str(path)), commands)
        self.server.open()
        self.server.start()

    def _add(
        self, commands: CommandTable, name: str, arguments: type[msgspec.Struct], answer: object
    ) -> None:
        def handle(asked: msgspec.Struct, _peer: object) -> msgspec.Struct:
            self.asked.append(asked)
            assert callable(answer)
            result = answer()
            assert isinstance(result, msgspec.Struct)
            return result

        commands.add(
            ControlCommand(
                name=name, summary="", arguments=arguments, result=msgspec.Struct, handler=handle
            )
        )


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path / "c")
    yield made
    made.server.close()


class Runner:
    """Runs a command against the agent."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._path = path
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        code = cli.main(["ctl", *words, "--socket", str(self._path)])
        out, err = self._capsys.readouterr()
        return code, out, err


@pytest.fixture
def run(agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Runner:  # noqa: ARG001  listens
    return Runner(tmp_path / "c", capsys)


def test_trace_a_unit(agent: Agent, run: Runner) -> None:
    code, out, _ = run(
        "trace", "web", "--direction", "network", "--seconds", "5", "--payload", "20"
    )
    assert code == ExitCode.OK
    assert out.startswith("the packets of ctx are reported for ")
    assert agent.asked == [
        TraceArguments(unit="web", direction="network", seconds=5, payload_bytes=20)
    ]


def test_end_a_trace(agent: Agent, run: Runner) -> None:
    agent.until_ns = 0
    assert run("trace", "web", "--stop")[1] == "the packets of ctx are reported no longer\n"
    assert agent.asked == [TraceArguments(unit="web", direction="none")]
    assert json.loads(run("trace", "web", "--json")[1]) == {
        "version": 1,
        "context_id": "ctx",
        "until_ns": 0,
    }


def test_trace_the_rules(agent: Agent, run: Runner) -> None:
    words = ("--iptables", "--protocol", "udp", "--source", "192.0.2.1", "--port", "53")
    code, out, _ = run("trace", *words, "--seconds", "3")
    assert (code, out) == (ExitCode.OK, "the kernel tells the way of these packets for 3 s\n")
    assert agent.asked == [
        TraceRulesArguments(protocol="udp", source="192.0.2.1", port=53, seconds=3)
    ]
    assert json.loads(run("trace", *words, "--json")[1]) == {"version": 1, "until_ns": 1}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name a unit, or use --iptables."),
        (("web", "--iptables"), "--iptables traces a flow, not a unit: leave UNIT."),
        (("web", "--port", "22"), "--source, --destination and --port need --iptables."),
        (("--iptables",), "name a source, a destination or a port of the flow."),
        (("--iptables", "--port", "1", "--seconds", "700"), "seconds"),
    ],
)
def test_what_is_to_be_traced_must_be_clear(run: Runner, words: tuple[str, ...], said: str) -> None:
    code, _, err = run("trace", *words)
    assert code == ExitCode.USAGE
    assert said in err


def test_ping(agent: Agent, run: Runner) -> None:
    code, out, _ = run("ping", "192.0.2.1", "80", "--unit", "u", "--count", "2", "--wait", "0.5")
    assert (code, out) == (ExitCode.OK, "1: a:b:1:2\\x1b accepted in 1.235 ms\n")
    assert agent.asked == [
        PingArguments(destination="192.0.2.1", port=80, unit="u", count=2, timeout_seconds=0.5)
    ]
    assert json.loads(run("ping", "192.0.2.1", "80", "--json")[1])["unit"] == "u"


def test_a_ping_that_nobody_answers(agent: Agent, run: Runner) -> None:
    agent.probes = (msgspec.structs.replace(PROBE, latency_ns=0, error="timeout"),)
    code, out, _ = run("ping", "192.0.2.1", "80")
    assert (code, out) == (ExitCode.DENIED, "1: a:b:1:2\\x1b timeout\n")


def test_tell_of_a_unit(agent: Agent, run: Runner) -> None:
    code, out, _ = run(
        *("unit", "update", "ctx", "--address", "192.0.2.1", "--address", "eth1=192.0.2.2"),
        *("--tag", "a=b", "--tag", "c=d"),
    )
    assert (code, out) == (ExitCode.OK, "reported: update\n")
    assert agent.asked == [
        UnitArguments(
            context_id="ctx",
            event="update",
            addresses={"bridge": "192.0.2.1", "eth1": "192.0.2.2"},
            tags=("a=b", "c=d"),
        )
    ]
    agent.event = ""
    assert run("unit", "delete", "ctx")[1] == "nothing new\n"
    assert json.loads(run("unit", "delete", "ctx", "--json")[1]) == {"version": 1, "event": ""}


def test_addresses_without_a_name_are_told_apart(agent: Agent, run: Runner) -> None:
    code, _, err = run(
        *("unit", "start", "ctx", "--address", "192.0.2.1", "--address", "eth1=192.0.2.2"),
        *("--address", "2001:db8::1", "--interface", "veth0", "--cgroup", "a.slice"),
    )
    assert code == ExitCode.OK, err
    asked = agent.asked[-1]
    assert isinstance(asked, UnitArguments)
    assert asked.addresses == {
        "bridge": "192.0.2.1",
        "eth1": "192.0.2.2",
        "bridge-2": "2001:db8::1",
    }
    assert (asked.interfaces, asked.cgroups) == (("veth0",), ("a.slice",))


def test_a_command_that_is_not_there_is_a_usage_error_with_a_suggestion(run: Runner) -> None:
    code, _, err = run("relod")
    assert code == ExitCode.USAGE
    assert "Did you mean 'reload'?" in err


def test_tell_of_a_user(agent: Agent, run: Runner) -> None:
    code, out, _ = run("user", "--claim", "name=eve", "--claim", "x=y", "--namespace", "/n")
    assert (code, out) == (ExitCode.OK, "77\n")
    assert agent.asked == [UserArguments(claims=("name=eve", "x=y"), namespace="/n")]
    assert json.loads(run("user", "--claim", "a", "--json")[1]) == {
        "version": 1,
        "id": "77",
        "reported": True,
    }
