"""An agent whose flows are watched while it judges real packets, in either layout."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, CLIENT, DENIED, SERVER, Lab, wait_for
from tests.live.test_processes_live import Tree, kill
from tests.live.test_run_live import COMMAND, Place
from trireme_collector.control import RestartResult
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("grpc")
pytestmark = pytest.mark.live


@pytest.fixture
def watched(lab: Lab, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """Give a place whose agent can be asked for its flows."""
    for version in (4, 6):
        for port in (ALLOWED, DENIED):
            lab.listen(version, port)
    with contextlib.ExitStack() as stack:
        place = Place(lab, tmp_path, stack)
        layout = getattr(request, "param", "tree")
        place.configure(
            collectors='[observer]\nlisten = ["unix:observer.sock"]\n'
            f'[metrics]\nlisten = "unix:{tmp_path}/metrics"\n[processes]\nlayout = "{layout}"'
        )
        yield place


def observe(place: Place, *words: str) -> list[str]:
    server = f"unix://{place.directory}/observer.sock"
    done = subprocess.run(
        [*COMMAND, "observe", "--server", server, *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == ExitCode.OK, done.stderr
    return done.stdout.splitlines()


def scraped(place: Place) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(place.directory / "metrics"))
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: client.recv(65536), b"")).decode()


@pytest.mark.parametrize("watched", ["tree", "single"], indirect=True)
def test_live_flows_can_be_asked_for(watched: Place) -> None:
    agent = watched.start()
    lab = watched.lab
    path = watched.directory / "observer.sock"
    assert wait_for(path.exists, 10), agent.log()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert lab.connect(4, ALLOWED) == "connected"
    assert lab.connect(4, DENIED) == "timed out"
    assert lab.connect(6, ALLOWED) == "connected"

    def lines(*words: str) -> list[str]:
        return observe(watched, "--all", *words)

    assert wait_for(lambda: bool(lines("--verdict", "DROPPED")), 10), agent.log()
    (denied, dropped, *_) = lines("--verdict", "DROPPED", "--to-port", str(DENIED), "--numeric")
    assert f"-> {SERVER[4]}:{DENIED} " in denied
    assert "policy-verdict:none INGRESS DENIED (TCP Flags: SYN)" in denied
    assert "Policy denied DROPPED (TCP Flags: SYN)" in dropped
    assert lines("-t", "drop", "--to-port", str(DENIED), "--numeric")[0] == dropped
    assert wait_for(lambda: bool(lines("-6", "--verdict", "FORWARDED")), 10)
    lab.ping(4)
    assert wait_for(lambda: bool(lines("--protocol", "icmp")), 10)
    assert "(ICMPv4 EchoRequest)" in lines("--protocol", "icmp")[0]
    allowed = lines("--from-ip", CLIENT[4], "--port", str(ALLOWED), "-o", "json")
    flow = json.loads(allowed[0])["flow"]
    assert flow["IP"]["destination"] == SERVER[4]
    assert flow["verdict"] == "FORWARDED"
    assert lines("--not", "--ip", f"{CLIENT[4]}/32", "-4") == []
    assert re.search(r"^trireme_observer_flows_seen_total [1-9]", scraped(watched), re.MULTILINE)
    assert lines("-o", "table")[0].startswith("TIMESTAMP")
    code, _ = agent.end()
    assert code == ExitCode.OK
    assert not path.exists()


def test_live_flows_are_followed(watched: Place) -> None:
    agent = watched.start()
    lab = watched.lab
    out = watched.directory / "followed"
    server = f"unix://{watched.directory}/observer.sock"
    assert wait_for((watched.directory / "observer.sock").exists, 10), agent.log()
    with out.open("w", encoding="utf-8") as file:
        follower = subprocess.Popen(
            [*COMMAND, "observe", "--server", server, "--follow"],
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:

        def seen() -> bool:
            assert lab.connect(4, ALLOWED) == "connected"
            return "ALLOWED" in out.read_text(encoding="utf-8")

        assert wait_for(seen, 20), agent.log()
        # Who is stopped delays nobody.
        follower.send_signal(signal.SIGSTOP)
        assert {lab.connect(4, ALLOWED) for _ in range(30)} == {"connected"}
        follower.send_signal(signal.SIGCONT)
        follower.send_signal(signal.SIGINT)
        _, err = follower.communicate(timeout=20)
        assert (follower.returncode, err) == (ExitCode.OK, "")
    finally:
        follower.kill()
        follower.communicate()
    code, _ = agent.end()
    assert code == ExitCode.OK


@pytest.fixture
def tree(lab: Lab, tmp_path: Path) -> Iterator[Tree]:
    """Give a tree of processes that can be asked for its flows."""
    lab.listen(4, ALLOWED)
    with contextlib.ExitStack() as stack:
        made = Tree(lab, tmp_path, stack)
        made.set_up(mode="new", processes='\n[observer]\nlisten = ["unix:observer.sock"]')
        yield made


def is_seen(place: Place) -> bool:
    assert place.lab.connect(4, ALLOWED) == "connected"
    server = f"unix://{place.directory}/observer.sock"
    done = subprocess.run(
        [*COMMAND, "observe", "--server", server, "--port", str(ALLOWED)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode == ExitCode.OK and "ALLOWED" in done.stdout


def test_live_flows_can_be_asked_for_again_after_a_kill(tree: Tree) -> None:
    agent = tree.start()
    assert wait_for(lambda: is_seen(tree), 20), agent.log()
    pid = tree.pid("collectors")
    kill(pid)
    assert tree.replaced("collectors", pid, "running"), agent.log()
    assert wait_for(lambda: is_seen(tree), 20), agent.log()
    code, _ = agent.end()
    assert code == ExitCode.OK
    left = {path.name for path in tree.directory.iterdir() if "observer" in path.name}
    assert left == set()


def test_live_flows_can_be_asked_for_again_after_a_planned_restart(tree: Tree) -> None:
    agent = tree.start()
    assert wait_for(lambda: is_seen(tree), 20), agent.log()
    tree.client.call("restart", RestartResult)
    assert agent.says("program_exchanged"), agent.log()
    assert wait_for(lambda: is_seen(tree), 20), agent.log()
    assert "_died" not in agent.log()
    code, _ = agent.end()
    assert code == ExitCode.OK
