"""The agent as a process, with a real queue, real rules and a real client in front of it."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, CLIENT, DENIED, POLICY, Lab, wait_for
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.live

COMMAND = [
    *(sys.executable, "-P", "-c"),
    "import sys; from trireme_collector.cli import main; sys.exit(main(sys.argv[1:]))",
]
CONFIG = """
instance = "live"
[datapath]
policy = "policy.toml"
queue = 9
{datapath}
[datapath.rules]
hooks = ["input"]
[control]
path = '{directory}/ctl'
{control}
[aggregation]
window_seconds = 0
[collectors.file]
path = '{directory}/flows.json'
{collectors}
"""


OBJECTS = """
[[object]]
addresses = ["192.0.2.1", "2001:db8::1"]
name = "client-1"
type = "Pod"
namespace = "{namespace}"
owner_name = "client"
owner_type = "Deployment"

[[object]]
addresses = ["192.0.2.0/24", "2001:db8::/32"]
name = "edge"
type = "Node"
"""
NAMES = """
[collectors.names]
type = "file"
path = '{directory}/flow-logs.json'
format = "netobserv"
[enrichment.lookups.static]
type = "kubernetes-file"
path = '{directory}/objects.toml'
"""


class Running:
    """One `trireme-collector run` in the server's namespace."""

    def __init__(
        self, lab: Lab, directory: Path, *words: str, prefix: tuple[str, ...] = ()
    ) -> None:
        self.log_path = directory / "log"
        with self.log_path.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                lab.server.command(
                    [*prefix, *COMMAND, "run", "-c", str(directory / "agent.toml"), *words]
                ),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8")

    def says(self, text: str) -> bool:
        return wait_for(lambda: text in self.log() or self.process.poll() is not None, 10) and (
            text in self.log()
        )

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        out, _ = self.process.communicate(timeout=20)
        return self.process.returncode, out


class Place:
    """A directory with a configuration, and the agents that run from it."""

    def __init__(self, lab: Lab, directory: Path, stack: contextlib.ExitStack) -> None:
        self.lab = lab
        self.directory = directory
        self._stack = stack
        self.configure()
        self.write_policy(POLICY)

    def configure(self, *, datapath: str = "", control: str = "", collectors: str = "") -> None:
        text = CONFIG.format(
            directory=self.directory, datapath=datapath, control=control, collectors=collectors
        )
        (self.directory / "agent.toml").write_text(text, encoding="utf-8")

    def write_policy(self, text: str) -> None:
        (self.directory / "policy.toml").write_text(text, encoding="utf-8")

    def run(self, *words: str, prefix: tuple[str, ...] = ()) -> Running:
        running = Running(self.lab, self.directory, *words, prefix=prefix)
        self._stack.callback(self._kill, running.process)
        return running

    def start(self, *words: str) -> Running:
        running = self.run(*words)
        assert running.says("agent_started"), running.log()
        return running

    @staticmethod
    def _kill(process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            process.kill()
        process.communicate()

    def flows(self) -> list[tuple[str, str, int]]:
        lines = (self.directory / "flows.json").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        return [
            (record["action"], record["policy_id"], record["destination"]["port"])
            for record in records
            if record["type"] == "flow"
        ]

    def jumps(self) -> int:
        return self.lab.server.run(["iptables-save"]).count("-j NFQUEUE")


@pytest.fixture
def place(lab: Lab, tmp_path: Path) -> Iterator[Place]:
    for version in (4, 6):
        for port in (ALLOWED, DENIED):
            lab.listen(version, port)
    with contextlib.ExitStack() as stack:
        yield Place(lab, tmp_path, stack)


@pytest.mark.parametrize("backend", ["netlink", "nfqueue"])
def test_it_judges_reports_and_stays_closed_after_its_end(place: Place, backend: str) -> None:
    place.configure(datapath=f'backend = "{backend}"')
    agent = place.start()
    for version in (4, 6):
        assert place.lab.connect(version, ALLOWED) == "connected"
        assert place.lab.connect(version, DENIED) == "timed out"
    code, out = agent.end()
    assert code == ExitCode.OK, agent.log()
    assert "2 flows accepted, 2 rejected" in out
    assert place.flows() == [("accept", "service", ALLOWED), ("reject", "default", DENIED)] * 2
    assert place.jumps() == 1
    assert place.lab.connect(4, ALLOWED) == "timed out"
    place.start()
    assert place.lab.connect(4, ALLOWED) == "connected"


def test_rejected_clients_are_refused_when_asked_for(place: Place) -> None:
    place.configure(datapath="refuse = true")
    place.start()
    assert place.lab.connect(4, DENIED) == "refused"
    assert place.lab.connect(6, DENIED) == "refused"
    assert place.lab.connect(4, ALLOWED) == "connected"


def test_the_rules_go_when_asked_for(place: Place) -> None:
    agent = place.start("--remove-rules")
    assert place.lab.connect(4, DENIED) == "timed out"
    code, _ = agent.end(signal.SIGINT)
    assert code == ExitCode.INTERRUPTED
    assert place.jumps() == 0
    assert place.lab.connect(4, DENIED) == "connected"


def test_a_reload_changes_the_policy_but_never_to_a_broken_one(place: Place) -> None:
    agent = place.start()
    place.write_policy(POLICY.replace("[8080]", "[8081]"))
    agent.process.send_signal(signal.SIGHUP)
    assert agent.says("reloaded")
    assert place.lab.connect(4, ALLOWED) == "timed out"
    assert place.lab.connect(4, DENIED) == "connected"
    place.write_policy(POLICY.replace("accept", "acept"))
    agent.process.send_signal(signal.SIGHUP)
    assert agent.says("policy_kept")
    assert "policy.toml:" in agent.log()
    assert place.lab.connect(4, DENIED) == "connected"


def test_flow_logs_name_what_stands_behind_addresses(place: Place) -> None:
    objects, flow_logs = place.directory / "objects.toml", place.directory / "flow-logs.json"
    objects.write_text(OBJECTS.format(namespace="shop"), encoding="utf-8")
    place.configure(collectors=NAMES.format(directory=place.directory))
    agent = place.start()
    assert place.lab.connect(4, ALLOWED) == "connected"
    assert place.lab.connect(6, DENIED) == "timed out"
    assert wait_for(lambda: flow_logs.exists() and flow_logs.read_bytes().count(b"\n") == 2)
    objects.write_text(OBJECTS.format(namespace="openshift-shop"), encoding="utf-8")
    agent.process.send_signal(signal.SIGHUP)
    assert agent.says("reloaded")
    for _ in range(5):  # a thread reads the file, and a batch may wait for a second
        assert place.lab.connect(4, ALLOWED) == "connected"
        if wait_for(lambda: b'"openshift-shop"' in flow_logs.read_bytes(), 2):
            break
    code, _ = agent.end()
    assert code == ExitCode.OK, agent.log()
    first, second, *later = map(json.loads, flow_logs.read_text(encoding="utf-8").splitlines())
    for flow, ends, port in ((first, CLIENT[4], ALLOWED), (second, CLIENT[6], DENIED)):
        assert (flow["SrcAddr"], flow["DstPort"]) == (ends, port)
        assert {name: flow[name] for name in flow if "K8S_" in name} == {
            "SrcK8S_Name": "client-1",
            "SrcK8S_Type": "Pod",
            "SrcK8S_Namespace": "shop",
            "SrcK8S_OwnerName": "client",
            "SrcK8S_OwnerType": "Deployment",
            "DstK8S_Name": "edge",
            "DstK8S_Type": "Node",
            "DstK8S_OwnerName": "edge",
            "DstK8S_OwnerType": "Node",
            "K8S_FlowLayer": "app",
        }
    assert later[-1]["SrcK8S_Namespace"] == "openshift-shop"
    assert later[-1]["K8S_FlowLayer"] == "infra"


def test_connections_may_open_through_a_queue_of_their_own(place: Place) -> None:
    place.configure(datapath="opening_queue = 19\nopening_queue_length = 50")
    agent = place.start()
    assert place.lab.connect(4, ALLOWED) == "connected"
    assert place.lab.connect(6, DENIED) == "timed out"
    assert place.lab.server.run(["iptables-save"]).count("--queue-num 19") == 1
    code, out = agent.end()
    assert code == ExitCode.OK, agent.log()
    assert "1 flows accepted, 1 rejected" in out


def test_a_queue_in_use_ends_the_second_and_harms_no_first(place: Place) -> None:
    place.start()
    second = place.directory / "second"
    second.mkdir()
    text = (place.directory / "agent.toml").read_text(encoding="utf-8")
    for name in ("flows", "ctl"):
        text = text.replace(f"{place.directory}/{name}", f"{second}/{name}")
    (second / "agent.toml").write_text(text.replace("policy.toml", "../policy.toml"), "utf-8")
    other = Running(place.lab, second)
    code, _ = other.wait()
    assert code == ExitCode.QUEUE_BUSY
    assert "error: queue 9 is in use by" in other.log()
    assert place.lab.connect(4, ALLOWED) == "connected"


def test_without_the_capability_nothing_is_touched(place: Place) -> None:
    running = place.run(prefix=("setpriv", "--bounding-set=-net_admin", "--inh-caps=-all"))
    code, _ = running.wait()
    assert code == ExitCode.PRIVILEGE
    assert "CAP_NET_ADMIN is missing" in running.log()
    assert place.jumps() == 0


def test_a_stalled_syslog_delays_no_packet_and_no_end(place: Place) -> None:
    path = place.directory / "log.socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stalled:
        stalled.bind(str(path))  # and nobody ever reads from it
        place.configure(collectors=f"[collectors.syslog]\naddress = '{path}'")
        agent = place.start()
        outcomes = {place.lab.connect(4, ALLOWED) for _ in range(60)}
        assert outcomes == {"connected"}
        code, out = agent.end()
    assert code == ExitCode.OK, agent.log()
    assert len(place.flows()) == 60
    # All of them: the counters and the checkpoint at the end are records too.
    delivered = re.search(r"file (\d+) of (\d+)", out)
    assert delivered is not None
    assert delivered[1] == delivered[2]
    assert "undelivered: 0" not in out
