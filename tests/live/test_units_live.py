"""Units and users told of over the control socket of running agents."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, CLIENT, DENIED, POLICY, SERVER, wait_for
from tests.live.test_control_live import ask, place
from tests.live.test_processes_live import Tree, kill, tree
from trireme_collector.control import (
    CommandFailedError,
    ControlClient,
    RestartResult,
    UnitArguments,
    UnitResult,
)
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from tests.live.test_run_live import Place

pytestmark = pytest.mark.live
__all__ = ["place", "tree"]

TOLD_POLICY = POLICY.replace(
    'select = { address = ["192.0.2.2", "2001:db8::2"] }', "select = { told = true }"
)


def records(place: Place, kind: str) -> list[dict[str, object]]:
    text = (place.directory / "flows.json").read_text(encoding="utf-8")
    return [one for one in map(json.loads, text.splitlines()) if one["type"] == kind]


def events(place: Place) -> list[tuple[object, object]]:
    return [(one["context_id"], one["event"]) for one in records(place, "container")]


@pytest.mark.parametrize("layout", ["single", "tree"])
def test_what_is_told_becomes_records(place: Place, layout: str) -> None:
    place.configure(collectors=f'[processes]\nlayout = "{layout}"')
    place.start()

    def tell(*words: str) -> str:
        code, out, err = ask(place, "ctl", *words)
        assert code == ExitCode.OK, err
        return out.strip()

    assert tell("unit", "update", "ctx-server", "--address", "192.0.2.2") == "reported: update"
    assert tell("unit", "update", "ctx-server", "--address", "192.0.2.2") == "nothing new"
    assert tell("unit", "start", "other", "--tag", "a=b") == "reported: ignore"
    assert tell("unit", "delete", "other") == "reported: delete"
    user = tell("user", "--claim", "name=eve")
    assert tell("user", "--claim", "name=eve") == user
    assert wait_for(lambda: len(records(place, "user")) == 1, 5)
    assert events(place) == [
        ("ctx-server", "start"),
        ("ctx-server", "update"),
        ("other", "ignore"),
        ("other", "delete"),
    ]
    assert records(place, "user")[0]["id"] == user


@pytest.mark.parametrize("layout", ["single", "tree"])
def test_a_unit_is_judged_from_when_it_is_told_of_until_it_is_gone(
    place: Place, layout: str
) -> None:
    place.write_policy(TOLD_POLICY)
    place.configure(collectors=f'[processes]\nlayout = "{layout}"')
    agent = place.start()
    assert place.lab.connect(4, ALLOWED) == "timed out"
    code, out, err = ask(place, "ctl", "unit", "start", "ctx-server", "--address", SERVER[4])
    assert (code, out.strip()) == (ExitCode.OK, "reported: start"), err
    # The answer came: from then on the next packet is judged by its rules.
    assert place.lab.connect(4, ALLOWED) == "connected"
    assert place.lab.connect(4, DENIED) == "timed out"
    # Whose it is, it keeps.
    code, _, err = ask(place, "ctl", "unit", "start", "ctx-server", "--address", "eth0=nonsense")
    assert code == ExitCode.CONFIG
    assert "address 'nonsense'" in err
    assert place.lab.connect(4, ALLOWED) == "connected"
    assert ask(place, "ctl", "unit", "delete", "ctx-server")[0] == ExitCode.OK
    assert place.lab.connect(4, ALLOWED) == "timed out"
    assert agent.end()[0] == ExitCode.OK, agent.log()
    assert events(place) == [("ctx-server", "start"), ("ctx-server", "delete")]
    accepted = [one for one in records(place, "flow") if one["action"] == "accept"]
    assert {one["context_id"] for one in accepted} == {"ctx-server"}


def test_deleting_a_unit_cuts_its_open_connections(place: Place) -> None:
    place.write_policy(TOLD_POLICY)
    agent = place.start()
    assert ask(place, "ctl", "unit", "start", "ctx-server", "--address", SERVER[4])[0] == 0
    client = place.lab.open_socket(place.lab.client, 4, socket.SOCK_STREAM)
    client.connect((SERVER[4], ALLOWED))
    assert ask(place, "ctl", "unit", "delete", "ctx-server")[0] == 0
    unacknowledged = bytearray(4)

    def is_cut() -> bool:
        client.send(b"into the void")
        return not wait_for(lambda: _unsent(client, unacknowledged) == 0, 0.3)

    # Within a second, as any connection that the policy does not allow any more.
    assert wait_for(is_cut, 1.5)
    assert agent.end()[0] == ExitCode.OK


def _unsent(client: socket.socket, room: bytearray) -> int:
    """Tell how many bytes the other side did not acknowledge."""
    fcntl.ioctl(client, termios.TIOCOUTQ, room)
    return int.from_bytes(room, sys.byteorder)


class Tells:
    """Tells a tree of units, and asks what a client sees."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        tree.write_policy(TOLD_POLICY)
        self.tree.lab.listen(4, ALLOWED)

    def unit(self, event: str, **more: object) -> str:
        client = ControlClient(str(self.tree.directory / "ctl"), timeout_seconds=15)
        arguments = UnitArguments(context_id="ctx-server", event=event, **more)  # type: ignore[arg-type]  # checked by the agent
        return client.call("unit", UnitResult, arguments).event

    def connect(self) -> str:
        return self.tree.lab.connect(4, ALLOWED)


@pytest.fixture
def tells(tree: Tree) -> Tells:
    return Tells(tree)


def test_units_outlive_those_who_judge_and_the_supervisor(tells: Tells) -> None:
    """Every worker, every successor and the next program knows a unit that was told of."""
    tree = tells.tree
    tree.set_up(mode="new", processes="workers = 2")
    agent = tree.start()
    assert tells.unit("start", addresses={"bridge": SERVER[4]}) == "start"
    # Ports of clients spread connections over both workers.
    assert {tells.connect() for _ in range(8)} == {"connected"}
    for name in ("enforcer 0", "enforcer 1"):
        pid = tree.pid(name)
        kill(pid, signal.SIGKILL)
        assert tree.replaced(name, pid, "judging"), agent.log()
    assert {tells.connect() for _ in range(8)} == {"connected"}
    tree.client.call("restart", RestartResult)
    assert agent.says("program_exchanged"), agent.log()
    assert {tells.connect() for _ in range(8)} == {"connected"}
    assert tells.unit("update", addresses={"bridge": SERVER[4]}) == ""
    assert tells.unit("delete") == "delete"
    assert {tells.connect() for _ in range(4)} == {"timed out"}
    assert agent.end()[0] == ExitCode.OK, agent.log()


def cgroup_mount() -> Path:
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        place, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            return Path(place.split()[4])
    raise AssertionError("control groups of version 2 are not mounted")


def test_processes_of_a_told_control_group_are_a_unit(tells: Tells) -> None:
    tree = tells.tree
    tree.write_policy(
        TOLD_POLICY + '\n[[unit.egress]]\nid = "out"\naction = "accept"\nto = "@clients"\n'
    )
    tree.set_up(mode="new")
    path = tree.directory / "agent.toml"
    path.write_text(
        path.read_text(encoding="utf-8").replace('["input"]', '["output"]'), encoding="utf-8"
    )
    group = cgroup_mount() / f"trireme-test-{os.getpid()}"
    group.mkdir()
    listener = tree.lab.open_socket(tree.lab.client, 4, socket.SOCK_STREAM)
    listener.bind((CLIENT[4], 9_000))
    listener.listen()
    script = f"exec 3<>/dev/tcp/{CLIENT[4]}/9000"

    def reach() -> int:
        inside = f'echo $$ > {group}/cgroup.procs; exec timeout 1 bash -c "{script}"'
        command = tree.lab.server.command(["bash", "-c", inside])
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode

    try:
        agent = tree.start()
        assert reach() != 0
        with pytest.raises(CommandFailedError, match="there is no control group nowhere/at-all"):
            tells.unit("start", cgroups=("nowhere/at-all",))
        assert tells.unit("start", cgroups=(group.name,)) == "start"
        assert reach() == 0, agent.log()
        assert tells.unit("delete") == "delete"
        assert reach() != 0
        assert agent.end()[0] == ExitCode.OK, agent.log()
    finally:
        wait_for(lambda: not group.joinpath("cgroup.procs").read_text(encoding="ascii"))
        group.rmdir()
