"""The agent as a service: what systemd hears, what it would allow, and a loop of crashes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, SERVER, Lab, wait_for
from tests.live.test_processes_live import Stream, Tree
from tests.live.test_run_live import COMMAND
from trireme_collector.control import AgentStatus, ControlClient, RestartResult
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.live

UNIT = Path(__file__).parents[2] / "packaging" / "trireme-collector.service"
EXAMPLE = UNIT.parents[1] / "examples" / "agent_tree.py"
MOST_EXPOSED = 2.0


class Manager:
    """What a service manager hears."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.heard: list[str] = []

    def hears(self, word: str, seconds: float = 15) -> bool:
        """Wait for a message that begins with a word, and forget all until then."""
        self._socket.settimeout(seconds)
        end = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            while time.monotonic() < end:
                if self._socket.recv(1000).decode().startswith(word):
                    return True
        return False


@pytest.fixture
def tree(lab: Lab, tmp_path: Path) -> Iterator[Tree]:
    with contextlib.ExitStack() as stack:
        place = Tree(lab, tmp_path, stack)
        place.set_up()
        yield place


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    path = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        yield Manager(sock)


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


def role(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return words[4].decode() if len(words) > 4 else ""
    return ""


def test_systemd_hears_what_happens(tree: Tree, manager: Manager) -> None:
    agent = tree.run()
    assert manager.hears("READY=1"), agent.log()
    assert manager.hears("WATCHDOG=1", 2)
    for pid in children(agent.process.pid):
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes()
    agent.process.send_signal(signal.SIGHUP)
    assert manager.hears("RELOADING=1")
    assert manager.hears("READY=1")
    agent.process.send_signal(signal.SIGUSR2)
    assert manager.hears("RELOADING=1")
    assert manager.hears("READY=1", 30)
    assert agent.says("program_exchanged"), agent.log()
    assert manager.hears("READY=1")
    assert manager.hears("WATCHDOG=1", 2)
    assert manager.hears("WATCHDOG=1", 2)
    agent.process.send_signal(signal.SIGTERM)
    assert manager.hears("STOPPING=1")
    assert agent.wait()[0] == ExitCode.OK, agent.log()


def test_a_new_program_that_cannot_start_is_left_alone(tree: Tree) -> None:
    agent = tree.start()
    pids = children(agent.process.pid)
    path = tree.directory / "agent.toml"
    good = path.read_text(encoding="utf-8")
    path.write_text(good + "[colectors]\n", encoding="utf-8")
    done = subprocess.run(
        [*COMMAND, "ctl", "restart", "--socket", str(tree.directory / "ctl")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.CONFIG
    assert "agent.toml:" in done.stderr
    assert children(agent.process.pid) == pids
    path.write_text(good, encoding="utf-8")
    done = subprocess.run(
        [*COMMAND, "ctl", "restart", "--socket", str(tree.directory / "ctl")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.OK, done.stderr
    assert done.stdout.startswith("enforcers exchanged: 1; packets waited ")
    assert agent.says("program_exchanged")
    assert not set(children(agent.process.pid)) & set(pids)


def test_a_loop_of_crashes_neither_opens_nor_closes_the_network(tree: Tree) -> None:
    agent = tree.start()
    with Stream(tree.lab, 300) as stream:
        end = time.monotonic() + 4
        killed = 0
        while time.monotonic() < end:
            for pid in children(agent.process.pid):
                if role(pid) == "enforcer":
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        killed += 1
            time.sleep(0.02)
        assert wait_for(lambda: tree.state("enforcer 0") == "judging", 15), agent.log()
        before = len(stream.delays)
        assert wait_for(lambda: len(stream.delays) > before + 100, 5), agent.log()
    assert killed > 5
    assert stream.passed_denied == 0
    assert stream.lost == 0
    tree.check()
    assert agent.end()[0] == ExitCode.OK, agent.log()


def test_what_does_not_fit_while_the_collectors_hang_is_counted(tree: Tree) -> None:
    tree.set_up(processes="record_buffer_bytes = 262_144")
    agent = tree.start()
    pid = tree.pid("collectors")
    os.kill(pid, signal.SIGSTOP)
    server = tree.lab.open_socket(tree.lab.server, 4, socket.SOCK_DGRAM)
    server.bind((SERVER[4], ALLOWED))
    sent = 0
    try:
        # Each from a port of its own: a flow, and a record.
        for _ in range(3_000):
            with tree.lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"x", (SERVER[4], ALLOWED))
                sent += 1
                server.recv(10)
    finally:
        os.kill(pid, signal.SIGCONT)
    status = tree.check()
    crossing = status.crossing
    assert crossing is not None
    assert crossing.dropped > 0
    assert crossing.made == crossing.dropped + crossing.taken
    assert crossing.lost == 0
    assert agent.end()[0] == ExitCode.OK, agent.log()


def test_the_unit_exposes_little() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)]
    done = subprocess.run(
        [*command, f"--threshold={MOST_EXPOSED * 10:.0f}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not done.returncode, done.stdout
    assert "Overall exposure level" in done.stdout
    exposed = float(done.stdout.split("trireme-collector.service: ")[1].split()[0])
    assert exposed <= MOST_EXPOSED


def test_a_program_of_ones_own_can_run_the_tree(tree: Tree) -> None:
    command = [sys.executable, str(EXAMPLE), str(tree.directory / "agent.toml")]
    with subprocess.Popen(
        tree.lab.server.command(command), stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            assert wait_for(tree.listens, 20)
            assert json.loads(tree.client.call_raw("greet"))["text"].startswith("hello, process ")
            pids = children(program.pid)
            result = tree.client.call("restart", RestartResult)
            assert result.enforcers == 1
            # The program is its own: it is not exchanged.
            assert json.loads(tree.client.call_raw("greet"))
            assert not set(children(program.pid)) & set(pids)
            program.send_signal(signal.SIGTERM)
            out, _ = program.communicate(timeout=20)
        finally:
            program.kill()
    assert "packets judged" in out


def test_commands_that_come_while_the_program_is_exchanged_are_answered(tree: Tree) -> None:
    agent = tree.start()
    client = ControlClient(str(tree.directory / "ctl"), timeout_seconds=60)
    results = [client.call("restart", RestartResult)]
    answered = 0
    # The children are new; the supervisor itself is about to make room.
    while "program_exchanged" not in agent.log():
        client.call("status", AgentStatus)
        answered += 1
    results.append(client.call("restart", RestartResult))
    results.append(client.call("restart", RestartResult))
    assert answered > 0
    assert [one.enforcers for one in results] == [1, 1, 1]
    assert wait_for(lambda: agent.log().count("program_exchanged") >= 2, 20), agent.log()
    assert agent.end()[0] == ExitCode.OK, agent.log()
