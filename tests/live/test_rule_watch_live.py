"""Rules that others take away are back before much can pass, as the kernel tells of it."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, DENIED, SERVER, wait_for
from tests.live.test_processes_live import tree
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.test_processes_live import Tree
    from tests.live.test_run_live import Running

pytestmark = pytest.mark.live
__all__ = ["tree"]


class Knocking:
    """Sends a datagram to a denied port every other millisecond, and notes when some pass."""

    def __init__(self, tree: Tree, agent: Running) -> None:
        self.agent = agent
        self._sender = tree.lab.open_socket(tree.lab.client, 4, socket.SOCK_DGRAM)
        self._catcher = tree.lab.open_socket(tree.lab.server, 4, socket.SOCK_DGRAM)
        self._catcher.bind((SERVER[4], DENIED))
        self._catcher.settimeout(0.01)
        self._ending = threading.Event()
        self.passed: list[float] = []
        self._threads = [threading.Thread(target=one) for one in (self._send, self._catch)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while not self._ending.wait(0.002):
            self._sender.sendto(b"knock", (SERVER[4], DENIED))

    def _catch(self) -> None:
        while not self._ending.is_set():
            try:
                self._catcher.recv(100)
            except TimeoutError:
                continue
            self.passed.append(time.monotonic())

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def knocking(tree: Tree) -> Iterator[Knocking]:
    """An agent that looks by itself only every hour, and somebody who knocks."""
    tree.set_up(mode="new")
    path = tree.directory / "agent.toml"
    text = path.read_text(encoding="utf-8")
    text = text.replace("[datapath.rules]", "[datapath.rules]\nverify_seconds = 3600")
    path.write_text(text, encoding="utf-8")
    agent = tree.start()
    made = Knocking(tree, agent)
    yield made
    made.end()
    assert agent.end()[0] == ExitCode.OK, agent.log()


def in_place(tree: Tree) -> bool:
    return all(
        tree.lab.server.run([program]).count(f"-A {one}") >= count
        for program in ("iptables-save", "ip6tables-save")
        for one, count in (("INPUT -j TRIREME-IN", 1), ("TRIREME-IN -j NFQUEUE", 1))
    )


@pytest.mark.parametrize(
    "commands",
    [
        [["iptables", "-F"]],
        [["iptables", "-F", "INPUT"], ["ip6tables", "-D", "INPUT", "1"]],
        [["iptables", "-I", "INPUT", "1", "-j", "ACCEPT"]],
        [["iptables-restore", "/dev/null"], ["iptables", "-t", "security", "-F"]],
        [["iptables", "-R", "INPUT", "1", "-s", "203.0.113.9", "-j", "TRIREME-IN"]],
    ],
    ids=["flush", "both", "before-ours", "kept-marks", "narrower"],
)
def test_what_others_do_to_the_rules_lasts_no_second(
    tree: Tree, knocking: Knocking, commands: list[list[str]]
) -> None:
    assert tree.lab.connect(4, ALLOWED) == "refused"
    assert knocking.passed == []
    began = time.monotonic()
    for command in commands:
        tree.lab.server.run(command)
    assert wait_for(lambda: in_place(tree), 5)
    assert knocking.agent.says("rules_repaired"), knocking.agent.log()
    left = len(knocking.passed)
    assert not wait_for(lambda: len(knocking.passed) > left + 20, 0.3)
    if knocking.passed:
        assert knocking.passed[-1] - began < 1
    told = [record["lines"][0] for record in _records(tree, "trace")]
    assert told
    assert set(told) == {"trireme-collector rules=changed repaired=yes"}


def _records(tree: Tree, kind: str) -> list[dict[str, list[str]]]:
    lines = (tree.directory / "flows.json").read_text(encoding="utf-8").splitlines()
    return [one for one in map(json.loads, lines) if one["type"] == kind]


def _seconds_of_work(pid: int) -> float:
    """Give the CPU time of a process and of the programs that it ran."""
    values = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, values[11:15])) / os.sysconf("SC_CLK_TCK")


def test_who_changes_other_rules_all_the_time_wears_nobody_out(
    tree: Tree, knocking: Knocking
) -> None:
    began, before = time.monotonic(), _seconds_of_work(knocking.agent.process.pid)
    for _ in range(40):
        for what in ("-A", "-D"):
            tree.lab.server.run(["iptables", what, "INPUT", "-s", "198.51.100.1", "-j", "DROP"])
    took = time.monotonic() - began
    assert _seconds_of_work(knocking.agent.process.pid) - before < 0.3 * took + 0.1
    assert knocking.passed == []
    assert "rules_changed" not in knocking.agent.log()
