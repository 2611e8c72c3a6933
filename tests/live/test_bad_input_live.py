"""What others do to a running agent: nothing opens, and it is said within seconds."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, DENIED, Lab, wait_for
from tests.live.test_processes_live import Tree
from tests.live.test_run_live import Place
from trireme_collector.control import (
    AgentState,
    AgentStatus,
    ControlClient,
    ObserveArguments,
    ObserveResult,
    RestartResult,
)
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.backends.netlink import NetlinkBackend
from trireme_datapath.engine import Engine
from trireme_datapath.kernel.install import KernelRules
from trireme_datapath.kernel.namespaces import Namespace
from trireme_datapath.kernel.rules import QueueRules, RuleHook
from trireme_datapath.policy import compile_policy, parse_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.live

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "embed.md"
DELETIONS = 200
# An agent that loses its capability when it is told to, as under a policy of somebody else's.
LOSING = """
import signal, sys
from trireme_collector.errors import TriremeError
from trireme_datapath.agent import Agent, load_agent_config
from trireme_datapath.processes._privileges import keep_only
agent = Agent(load_agent_config(sys.argv[1]))
signal.signal(signal.SIGUSR1, lambda *_: keep_only(()))
signal.signal(signal.SIGTERM, lambda *_: agent.stop())
agent.start()
print("started", flush=True)
try:
    agent.run()
except TriremeError as error:
    sys.exit(f"lost: {error}")
"""


@pytest.fixture
def place(lab: Lab, tmp_path: Path) -> Iterator[Place]:
    for port in (ALLOWED, DENIED):
        lab.listen(4, port)
    with contextlib.ExitStack() as stack:
        yield Place(lab, tmp_path, stack)


@pytest.fixture
def tree(lab: Lab, tmp_path: Path) -> Iterator[Tree]:
    for port in (ALLOWED, DENIED):
        lab.listen(4, port)
    with contextlib.ExitStack() as stack:
        made = Tree(lab, tmp_path, stack)
        made.set_up()
        yield made


def client_of(place: Place) -> ControlClient:
    return ControlClient(str(place.directory / "ctl"))


def status_of(place: Place) -> AgentStatus:
    return client_of(place).call("status", AgentStatus)


def take_rules_away(place: Place) -> None:
    for table in ("mangle", "filter"):
        place.lab.server.run(["iptables", "-w", "-t", table, "-F"])
    assert place.jumps() == 0


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def single(place: Place) -> None:
    path = place.directory / "agent.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "[processes]\nlayout = 'single'\n", encoding="utf-8")


@pytest.mark.parametrize("layout", ["single", "tree"])
def test_rules_that_others_remove_are_back_within_5_seconds(place: Place, layout: str) -> None:
    if layout == "single":
        single(place)
    agent = place.start()
    assert place.lab.connect(4, DENIED) == "timed out"
    take_rules_away(place)
    assert wait_for(lambda: place.jumps() > 0, 5), agent.log()
    assert agent.says("rules_repaired")
    assert place.lab.connect(4, DENIED) == "timed out"
    assert place.lab.connect(4, ALLOWED) == "connected"
    (check,) = [one for one in status_of(place).health if one.name == "rules"]
    assert check.ok
    assert "put in place again 1 times" in check.detail
    code, _ = agent.end()
    assert code == ExitCode.OK
    lines = (place.directory / "flows.json").read_text(encoding="utf-8").splitlines()
    traces = [one["lines"][0] for one in map(json.loads, lines) if one["type"] == "trace"]
    assert traces == ["trireme-collector rules=changed repaired=yes"]


def test_rules_that_are_not_to_be_repaired_raise_an_alarm_within_5_seconds(place: Place) -> None:
    single(place)
    path = place.directory / "agent.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("[datapath.rules]", "[datapath.rules]\nrepair = false"), "utf-8")
    place.start()
    assert status_of(place).state is AgentState.RUNNING
    take_rules_away(place)
    assert wait_for(lambda: status_of(place).state is AgentState.DEGRADED, 5)
    assert any("not enforcing" in reason for reason in status_of(place).reasons)
    assert place.jumps() == 0


def test_a_lost_capability_ends_it_and_opens_nothing(place: Place) -> None:
    single(place)
    script = place.directory / "losing.py"
    script.write_text(LOSING, encoding="utf-8")
    config = str(place.directory / "agent.toml")
    process = subprocess.Popen(
        place.lab.server.command([sys.executable, str(script), config]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert wait_for(lambda: bool(process.stdout and process.stdout.readline()), 20)
        assert place.lab.connect(4, ALLOWED) == "connected"
        process.send_signal(signal.SIGUSR1)
        lost = "privileges: not enforcing: CAP_NET_ADMIN was lost, start the agent anew"
        assert wait_for(lambda: lost in status_of(place).reasons, 5)
        # The kernel heeds no verdict any more, that for a flow that was allowed included.
        assert place.lab.connect(4, DENIED) == "timed out"
        _, told = process.communicate(timeout=20)
        assert process.returncode == 1
        assert "lost: queue 9 is lost (CAP_NET_ADMIN was lost)" in told
        assert {place.lab.connect(4, port) for port in (ALLOWED, DENIED)} == {"timed out"}
        assert place.jumps() == 1
    finally:
        process.kill()
        process.wait()


def test_a_namespace_may_go_200_times(means: None) -> None:  # noqa: ARG001  fails without them
    policy = compile_policy(parse_policy("version = 1"))
    descriptors = open_descriptors()
    threads = threading.active_count()
    for _ in range(DELETIONS):
        namespace = Namespace("going")
        backend = namespace.call(lambda: NetlinkBackend.open(7, Engine(policy)))
        rules = KernelRules(QueueRules(queue=7, hooks=(RuleHook.INPUT,)))
        assert rules.rules.queue == 7
        namespace.close()
        # The socket keeps what is left of it; it is of no use, and no harm either.
        assert backend.drain(1) == []
        backend.close()
    assert open_descriptors() <= descriptors + 2
    assert threading.active_count() == threads


@pytest.mark.parametrize("layout", ["single", "tree"])
def test_one_switch_observes_and_enforces_again(place: Place, layout: str) -> None:
    if layout == "single":
        single(place)
    agent = place.start()
    client = client_of(place)
    assert place.lab.connect(4, DENIED) == "timed out"
    assert client.call("observe", ObserveResult, ObserveArguments(mode="on")).observe_only
    assert place.lab.connect(4, DENIED) == "connected"
    if layout == "tree":  # a planned restart changes nothing about it
        ControlClient(str(place.directory / "ctl"), timeout_seconds=90).call(
            "restart", RestartResult
        )
        assert agent.says("program_exchanged"), agent.log()
    assert "not enforcing: observe mode is on, by control" in status_of(place).reasons
    assert not client.call("observe", ObserveResult, ObserveArguments(mode="off")).observe_only
    assert place.lab.connect(4, DENIED) == "timed out"
    code, _ = agent.end()
    assert code == ExitCode.OK
    lines = (place.directory / "flows.json").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    traces = [one["lines"][0].split()[1] for one in records if one["type"] == "trace"]
    assert traces == ["observe=on", "observe=off"]
    observed = [one for one in records if one.get("observed_policy_id") == "default"]
    # The client that was rejected before may not have given up, and gets through now, too.
    assert {one["policy_id"] for one in observed} == {"observe-only"}


def test_the_whole_tree_runs_as_the_page_embeds_it(tree: Tree) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = [block for block in blocks if "Supervisor(" in block]
    script = tree.directory / "embedded.py"
    script.write_text(example, encoding="utf-8")
    log = (tree.directory / "log").open("w", encoding="utf-8")
    with log:
        process = subprocess.Popen(
            tree.lab.server.command(
                [sys.executable, str(script), str(tree.directory / "agent.toml")]
            ),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert wait_for(lambda: tree.listens() and tree.jumps() > 0, 20)
        assert tree.lab.connect(4, ALLOWED) == "connected"
        assert tree.lab.connect(4, DENIED) == "timed out"
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, (tree.directory / "log").read_text(encoding="utf-8")
    assert "1 flows accepted, 1 rejected" in out
