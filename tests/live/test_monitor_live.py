"""An agent that is watched while it judges real packets: by a terminal, and by another agent."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.conftest import ALLOWED, CLIENT, DENIED, SERVER, Lab, wait_for
from tests.live.test_run_live import COMMAND, Place, Running
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.live


class Watcher:
    """One `trireme-collector monitor`, and what it has printed so far."""

    def __init__(self, directory: Path, *words: str) -> None:
        self._path = directory / f"watched{len(list(directory.iterdir()))}"
        with self._path.open("w", encoding="utf-8") as out:
            socket = str(directory / "watch.sock")
            self.process = subprocess.Popen(
                [*COMMAND, "monitor", "--socket", socket, *words],
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
            )

    def text(self) -> str:
        return self._path.read_text(encoding="utf-8")

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, err


@pytest.fixture
def watched(lab: Lab, tmp_path: Path) -> Iterator[Place]:
    """Give a place whose agent publishes its decisions."""
    for version in (4, 6):
        for port in (ALLOWED, DENIED):
            lab.listen(version, port)
    with contextlib.ExitStack() as stack:
        place = Place(lab, tmp_path, stack)
        place.configure(collectors='[publish]\nsocket = "watch.sock"')
        yield place


def watch(place: Place, stack: contextlib.ExitStack, *words: str) -> Watcher:
    watcher = Watcher(place.directory, *words)
    stack.callback(watcher.process.communicate)
    stack.callback(watcher.process.kill)
    return watcher


def test_live_decisions_are_seen_by_whoever_attaches(watched: Place) -> None:
    agent = watched.start()
    lab = watched.lab
    with contextlib.ExitStack() as stack:
        watcher = watch(watched, stack, "--stats")
        json_watcher = watch(watched, stack, "-j", "--fixed", "--type", "drop")

        def seen() -> bool:
            # The agent notices within a second who came: until then nobody is told anything.
            assert lab.connect(4, ALLOWED) == "connected"
            return "action allow" in watcher.text()

        assert wait_for(seen, 10), agent.log()
        assert lab.connect(4, DENIED) == "timed out"
        assert lab.connect(6, ALLOWED) == "connected"
        assert lab.connect(6, DENIED) == "timed out"
        last = f"-> [{SERVER[6]}]:{DENIED} tcp SYN"
        assert wait_for(lambda: last in watcher.text(), 10), watcher.text()
        lines = watcher.text().splitlines()
        assert lines[0].startswith('>> Endpoint created: {"id":1,"labels":["trireme:unit=server"')
        verdicts = [line for line in lines if line.startswith("Policy verdict log:")]
        assert any(
            "ingress, action allow" in line
            and f"{CLIENT[4]}:" in line
            and line.endswith(f"-> {SERVER[4]}:{ALLOWED} tcp SYN")
            for line in verdicts
        )
        for version, name in ((4, SERVER[4]), (6, f"[{SERVER[6]}]")):
            denied = [line for line in lines if line.endswith(f"-> {name}:{DENIED} tcp SYN")]
            assert any("ingress, action deny" in line for line in denied), version
            drops = [line for line in denied if line.startswith("xx drop (Policy denied) flow")]
            assert drops, version
            assert all("to endpoint 1" in line for line in drops)
            assert all("identity world->257" in line for line in drops)
        assert any(line.startswith("-> endpoint 1 flow") for line in lines)
        assert wait_for(
            lambda: lab.connect(4, DENIED) == "timed out" and "}" in json_watcher.text(), 10
        )
        for line in json_watcher.text().splitlines():
            assert json.loads(line)["reason"] == "Policy denied"
        code, err = watcher.end()
        assert code == ExitCode.OK
        assert "policy-verdict" in err
        code, _ = json_watcher.end()
        assert code == ExitCode.OK
    # Nobody watches any more, and the agent goes on.
    assert lab.connect(4, ALLOWED) == "connected"
    code, _ = agent.end()
    assert code == ExitCode.OK
    assert "monitor_socket_closed" in agent.log()
    assert not (watched.directory / "watch.sock").exists()


def test_a_client_that_never_reads_delays_no_packet(watched: Place) -> None:
    agent = watched.start()
    with contextlib.ExitStack() as stack:
        sleeper = watch(watched, stack)
        assert wait_for(
            lambda: bool(watched.lab.connect(4, ALLOWED) == "connected" and sleeper.text()),
            10,
        )
        sleeper.process.send_signal(signal.SIGSTOP)
        outcomes = {watched.lab.connect(version, ALLOWED) for version in (4, 6) for _ in range(50)}
        sleeper.process.send_signal(signal.SIGCONT)
        assert outcomes == {"connected"}
    code, _ = agent.end()
    assert code == ExitCode.OK


def test_another_agent_turns_what_it_sees_into_records(watched: Place) -> None:
    watched.start()
    second = watched.directory / "second"
    second.mkdir()
    (second / "agent.toml").write_text(
        'source = "cilium-monitor"\n[monitor]\nsocket = "../watch.sock"\n'
        'flows = ["policy-verdict"]\n[aggregation]\nwindow_seconds = 0\n'
        f"[collectors.file]\npath = '{second}/flows.json'\n",
        encoding="utf-8",
    )
    other = Running(watched.lab, second)
    try:
        assert other.says("monitor_connected"), other.log()

        def records() -> list[dict[str, Any]]:
            path = second / "flows.json"
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            return [json.loads(line) for line in lines]

        def both() -> bool:
            watched.lab.connect(4, ALLOWED)
            watched.lab.connect(4, DENIED)
            flows = [record for record in records() if record["type"] == "flow"]
            found = {(flow["action"], flow["destination"]["port"]) for flow in flows}
            return found == {("accept", ALLOWED), ("reject", DENIED)}

        assert wait_for(both, 15), other.log()
        reports = [record for record in records() if record["type"] == "packet"]
        assert {report["drop_reason"] for report in reports} == {"Policy denied"}
        code, out = other.end()
        assert code == ExitCode.OK
        assert "lost on the way" in out
    finally:
        other.process.kill()
        other.process.communicate()
