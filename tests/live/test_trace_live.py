"""`ctl trace` on running agents, in one process and as a tree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, DENIED, wait_for
from tests.live.test_control_live import ask, place
from tests.live.test_processes_live import Tree, kill, tree
from trireme_collector.control import RestartResult
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from tests.live.test_run_live import Place

pytestmark = pytest.mark.live
__all__ = ["place", "tree"]


def packets(place: Place) -> list[dict[str, object]]:
    text = (place.directory / "flows.json").read_text(encoding="utf-8")
    records = [json.loads(line) for line in text.splitlines()]
    return [record for record in records if record["type"] == "packet"]


def check(place: Place) -> None:
    code, out, err = ask(place, "ctl", "trace", "server", "--direction", "network", "--json")
    assert code == ExitCode.OK, err
    assert json.loads(out)["context_id"] == "ctx-server"
    assert place.lab.connect(4, ALLOWED) == "connected"
    assert place.lab.connect(4, DENIED) == "timed out"
    assert wait_for(lambda: len(packets(place)) >= 2, 5)
    seen = {(one["destination_port"], one["event"], one["drop_reason"]) for one in packets(place)}
    assert seen == {(ALLOWED, "Received", ""), (DENIED, "Dropped", "policy")}
    assert {one["puid"] for one in packets(place)} == {"server"}
    code, out, err = ask(place, "ctl", "trace", "server", "--stop")
    assert code == ExitCode.OK, err
    assert "no longer" in out
    code, _, err = ask(place, "ctl", "trace", "nobody")
    assert code == ExitCode.FAILURE
    assert "nobody" in err


def test_an_agent_of_one_process(place: Place) -> None:
    place.configure(collectors='[processes]\nlayout = "single"')
    place.start()
    check(place)


def test_a_tree_of_processes(tree: Tree) -> None:
    tree.lab.listen(4, ALLOWED)
    tree.set_up(mode="new")
    tree.start()
    check(tree)


def test_a_trace_reaches_those_who_judge_later(tree: Tree) -> None:
    """Successors, everybody after a planned restart, and the successors of those."""
    tree.lab.listen(4, ALLOWED)
    tree.set_up(mode="new")
    agent = tree.start()
    code, _, err = ask(tree, "ctl", "trace", "server", "--direction", "network", "--seconds", "60")
    assert code == ExitCode.OK, err

    def traced() -> bool:
        before = len(packets(tree))
        assert tree.lab.connect(4, ALLOWED) == "connected"
        return wait_for(lambda: len(packets(tree)) > before, 3)

    assert traced()
    for _ in range(2):
        pid = tree.pid("enforcer 0")
        kill(pid)
        assert tree.replaced("enforcer 0", pid, "judging"), agent.log()
        assert traced(), agent.log()
    tree.client.call("restart", RestartResult)
    assert agent.says("program_exchanged"), agent.log()
    assert traced(), agent.log()
    pid = tree.pid("enforcer 0")
    kill(pid)
    assert tree.replaced("enforcer 0", pid, "judging"), agent.log()
    assert traced(), agent.log()
    revisions = {one.policy_revision for one in tree.status().processes} - {""}
    assert revisions == {tree.status().policy.revision}
