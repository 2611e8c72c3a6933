"""A running agent tells its account while packets flow, and obeys those who may ask."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, DENIED, POLICY, Lab, wait_for
from tests.live.test_run_live import COMMAND, Place, Running
from trireme_collector.control import AgentStatus, ControlClient, NoArguments
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.live

STRANGER = 65_534


@pytest.fixture
def place(lab: Lab) -> Iterator[Place]:
    for port in (ALLOWED, DENIED):
        lab.listen(4, port)
    directory = Path(tempfile.mkdtemp())  # others can reach into it, as into /run
    directory.chmod(0o755)
    try:
        with contextlib.ExitStack() as stack:
            yield Place(lab, directory, stack)
    finally:
        shutil.rmtree(directory)


def ask(place: Place, *words: str, prefix: tuple[str, ...] = ()) -> tuple[int, str, str]:
    done = subprocess.run(
        [*prefix, *COMMAND, *words, "--socket", str(place.directory / "ctl")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def check_balance(status: AgentStatus) -> None:
    packets, queue = status.packets, status.packets.queue
    assert packets.exact
    assert queue is not None
    dropped = queue.dropped_full + queue.dropped_socket
    assert queue.received == packets.judged + queue.waiting + dropped
    for account in status.records.collectors:
        gone = account.delivered + account.dead_lettered + account.dropped
        assert account.accepted == gone + account.queued
        assert account.dropped == sum(account.dropped_by_reason.values())


@pytest.mark.parametrize("backend", ["netlink", "nfqueue"])
def test_the_status_balances_while_packets_flow(place: Place, backend: str) -> None:
    place.configure(datapath=f'backend = "{backend}"')
    place.start()
    client = ControlClient(str(place.directory / "ctl"))
    ending = threading.Event()

    def disturb() -> None:
        sender = place.lab.open_socket(place.lab.client, 4, socket.SOCK_DGRAM)
        while not ending.is_set():
            for port in range(1000, 1200):
                sender.sendto(b"x", ("192.0.2.2", port))
            ending.wait(0.002)

    traffic = threading.Thread(target=disturb)
    traffic.start()
    try:
        assert wait_for(lambda: client.call("status", AgentStatus).packets.judged > 0, 20)
        statuses = [client.call("status", AgentStatus, NoArguments()) for _ in range(100)]
        code, text, _ = ask(place, "status")
    finally:
        ending.set()
        traffic.join()
    for status in statuses:
        check_balance(status)
    judged = [status.packets.judged for status in statuses]
    assert judged == sorted(judged)
    assert judged[-1] > judged[0] > 0
    assert code == ExitCode.OK
    assert text.startswith("running  live  for ")
    assert wait_for(
        lambda: client.call("status", AgentStatus).records.collectors[0].queued == 0, 20
    )
    last = client.call("status", AgentStatus)
    assert last.records.collectors[0].delivered == last.records.sequence
    assert last.packets.judged == last.packets.denied > 0


def test_a_reload_says_what_changed_or_what_is_wrong(place: Place) -> None:
    agent = place.start()
    place.write_policy(POLICY.replace("[8080]", "[8081]"))
    code, out, _ = ask(place, "ctl", "reload", "--json")
    assert code == ExitCode.OK, agent.log()
    result = json.loads(out)
    assert result["changed"]
    assert result["revision"] != result["revision_before"]
    assert place.lab.connect(4, DENIED) == "connected"

    place.write_policy(POLICY.replace("accept", "acept"))
    path = place.directory / "agent.toml"
    good = path.read_text(encoding="utf-8")
    path.write_text(good.replace("queue = 9", "queu = 9"), encoding="utf-8")
    code, _, err = ask(place, "ctl", "reload")
    assert code == ExitCode.CONFIG
    assert "agent.toml:5:" in err
    assert "policy.toml:" in err
    assert place.lab.connect(4, DENIED) == "connected"
    assert place.lab.connect(4, ALLOWED) == "timed out"
    code, out, _ = ask(place, "status", "--json")
    assert code == ExitCode.DEGRADED
    status = json.loads(out)
    assert status["policy"]["revision"] == result["revision"]
    assert any("policy.toml:" in line for line in status["policy"]["refused"])

    place.write_policy(POLICY)
    path.write_text(good.replace("queue = 9", "queue = 10"), encoding="utf-8")
    code, out, _ = ask(place, "ctl", "reload")
    assert code == ExitCode.OK
    assert "differs, and needs a restart: datapath.queue" in out
    assert place.lab.connect(4, ALLOWED) == "connected"
    assert ask(place, "status")[0] == ExitCode.OK


def test_only_the_group_may_ask(place: Place) -> None:
    place.configure(control=f'group = "{STRANGER}"')
    place.start()
    status = (place.directory / "ctl").stat()
    assert (status.st_mode & 0o777, status.st_gid) == (0o660, STRANGER)
    stranger = ("setpriv", f"--reuid={STRANGER}", "--clear-groups", "--inh-caps=-all")
    code, _, err = ask(place, "status", prefix=(*stranger, "--regid=12345"))
    assert code == ExitCode.PRIVILEGE
    assert "may not be opened; become a member of the group" in err
    code, _, err = ask(place, "status", prefix=(*stranger, f"--regid={STRANGER}"))
    assert code == ExitCode.OK, err


def test_a_drain_ends_the_agent_and_tells_what_is_left(place: Place) -> None:
    agent = place.start()
    assert place.lab.connect(4, ALLOWED) == "connected"
    code, out, err = ask(place, "ctl", "drain", "--json")
    assert code == ExitCode.OK, err
    result = json.loads(out)
    assert result["complete"]
    assert result["rules_in_place"]
    (account,) = result["status"]["collectors"]
    # With the unit, the counters and the checkpoint.
    assert account["accepted"] == account["delivered"] == 5
    assert agent.wait()[0] == ExitCode.OK
    assert not (place.directory / "ctl").exists()
    assert not (place.directory / "ctl.lock").exists()
    code, _, err = ask(place, "status")
    assert code == ExitCode.NOT_RUNNING
    assert "no agent listens at" in err


def test_a_living_agent_keeps_its_socket_and_a_dead_one_is_replaced(place: Place) -> None:
    first = place.start()
    path = place.directory / "ctl"
    inode = path.stat().st_ino
    other = place.directory / "other"
    other.mkdir()
    text = (place.directory / "agent.toml").read_text(encoding="utf-8")
    text = text.replace(f"{place.directory}/flows", f"{other}/flows")
    (other / "agent.toml").write_text(text.replace("policy.toml", "../policy.toml"), "utf-8")
    second = Running(place.lab, other)
    code, _ = second.wait()
    assert code == ExitCode.CONFIG
    assert "another process has" in second.log()
    assert ask(place, "status")[0] == ExitCode.OK
    assert path.stat().st_ino == inode
    os.kill(first.process.pid, signal.SIGKILL)
    first.wait()
    assert path.exists()
    assert ask(place, "status")[0] == ExitCode.NOT_RUNNING
    third = place.start()
    assert ask(place, "status")[0] == ExitCode.OK
    third.end()
    assert not path.exists()


def test_garbage_and_silence_disturb_nobody(place: Place) -> None:
    place.start()
    path = str(place.directory / "ctl")
    with contextlib.ExitStack() as stack:
        for number in range(12):
            peer = stack.enter_context(socket.socket(socket.AF_UNIX))
            peer.settimeout(5)
            peer.connect(path)
            peer.sendall(b"\xff\x00[[[{" * number)
        code, _, err = ask(place, "status")
        assert code == ExitCode.OK, err
        assert place.lab.connect(4, ALLOWED) == "connected"
