"""Kernel rules and namespaces on a real kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, DENIED, QUEUE, REFUSE_MARK, Enforcer, Lab, wait_for
from trireme_collector.errors import DatapathError
from trireme_datapath.kernel.install import KernelRules, run_iptables
from trireme_datapath.kernel.namespaces import Namespace, Network, in_user_namespace
from trireme_datapath.kernel.rules import CgroupMark, QueueMode, QueueRules, RuleHook

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.live


@pytest.mark.parametrize("mode", list(QueueMode))
@pytest.mark.parametrize("hooks", [tuple(RuleHook), (RuleHook.FORWARD,)])
def test_the_kernel_takes_every_rule_and_says_so(
    lab: Lab, mode: QueueMode, hooks: tuple[RuleHook, ...]
) -> None:
    rules = KernelRules(
        QueueRules(
            queue=3,
            queues=2,
            mode=mode,
            hooks=hooks,
            interfaces=("eth0", "veth+"),
            refuse_mark=0x40000000,
            cgroups=(CgroupMark(path="/", value=1, mask=0xFF),),
        )
    )

    def inside() -> None:
        run_iptables(["iptables", "-A", "INPUT", "-s", "198.51.100.0/24", "-j", "DROP"])
        before = run_iptables(["iptables-save"])
        for _ in range(2):
            rules.install()
            assert rules.verify() == []
        other = KernelRules(QueueRules(queue=9, hooks=(RuleHook.INPUT,)))
        assert other.verify() != []
        other.install()
        assert other.verify() == []
        assert "TRIREME-MARK" not in run_iptables(["iptables-save"])
        assert "TRIREME-FWD" not in run_iptables(["iptables-save"])
        rules.remove()
        rules.remove()
        after = run_iptables(["iptables-save"])
        # An empty table may have been made; the rules are those from before.
        assert [line for line in after.splitlines() if line[:2] == "-A"] == [
            line for line in before.splitlines() if line[:2] == "-A"
        ]

    lab.server.call(inside)


def test_without_a_program_on_the_queue_nothing_passes_unless_asked_for(lab: Lab) -> None:
    for fail_open, expected in ((False, "timed out"), (True, "connected")):
        rules = KernelRules(QueueRules(hooks=(RuleHook.INPUT,), fail_open=fail_open))
        lab.server.call(rules.install)
        lab.listen(4, 9_000 + fail_open)
        assert lab.connect(4, 9_000 + fail_open) == expected


@pytest.mark.parametrize("mode", list(QueueMode))
@pytest.mark.parametrize("version", [4, 6])
def test_answers_to_rejected_clients_are_not_judged_themselves(
    lab: Lab, enforce: Callable[..., Enforcer], mode: QueueMode, version: int
) -> None:
    rules = QueueRules(queue=QUEUE, mode=mode, refuse_mark=REFUSE_MARK)
    enforcer = enforce("netlink", refuse=True, rules=rules)
    listener = lab.listen(version, ALLOWED)
    lab.listen(version, DENIED)
    assert lab.connect(version, DENIED) == "refused"
    assert lab.connect(version, ALLOWED) == "connected"
    accepted, _ = listener.accept()
    with accepted:
        accepted.sendall(b"x" * 50_000)
    assert lab.ask(version, DENIED).startswith("refused with")
    assert wait_for(lambda: len(enforcer.collector.flows) == 3)


@pytest.mark.usefixtures("means")
def test_nothing_of_a_network_stays_behind() -> None:
    pids: list[int] = []

    def fail_inside() -> None:
        with Network() as network:
            pids.append(network.namespace("gone").pid)
            assert Path(f"/proc/{pids[0]}").exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert not Path(f"/proc/{pids[0]}").exists()


@pytest.mark.usefixtures("means")
def test_a_network_goes_with_a_process_that_is_killed() -> None:
    script = (
        "import os, signal\n"
        "from trireme_datapath.kernel.namespaces import Network\n"
        "print(Network().namespace('x').pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    pid = int(done.stdout)
    assert wait_for(lambda: not Path(f"/proc/{pid}/ns/net").exists())


@pytest.mark.usefixtures("means")
def test_a_command_that_fails_inside_says_why() -> None:
    with Network() as network:
        namespace: Namespace = network.namespace("x")
        with pytest.raises(DatapathError, match=r"cannot run ip in x: .*nowhere"):
            namespace.ip("link", "show", "nowhere")
        with pytest.raises(ZeroDivisionError):
            namespace.call(lambda: 1 / 0)


@pytest.mark.usefixtures("means")
def test_a_user_namespace_has_all_means() -> None:
    script = (
        "from trireme_datapath.kernel.namespaces import missing_means\nprint(missing_means())\n"
    )
    done = subprocess.run(
        in_user_namespace([sys.executable, "-c", script]),
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        cwd="/",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.stdout == "[]\n", done.stderr
