"""The unit file under a real systemd, from the start to the stop."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, DENIED, POLICY, Lab, wait_for
from tests.live.systemd_lab import UNIT, OwnSystemd
from tests.live.test_processes_live import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.live

CONFIG = """
instance = "unit"
[datapath]
policy = "policy.toml"
queue = 9
[datapath.rules]
hooks = ["input"]
mode = "all"
[delivery]
state_directory = "/var/lib/trireme-collector"
[collectors.file]
path = "/var/log/trireme/flows.json"
"""


@pytest.fixture
def systemd(lab: Lab) -> Iterator[OwnSystemd]:
    own = OwnSystemd(lab.server)
    (own.etc / "agent.toml").write_text(CONFIG, encoding="utf-8")
    (own.etc / "policy.toml").write_text(POLICY, encoding="utf-8")
    with own:
        # As shipped, but for a shorter patience.
        own.put(f"/etc/systemd/system/{UNIT.name}.d/test.conf", "[Service]\nWatchdogSec=8\n")
        yield own


class Service:
    """The unit, and what is seen of it from outside."""

    def __init__(self, systemd: OwnSystemd) -> None:
        self.systemd = systemd

    def pids(self) -> dict[str, int]:
        code, out = self.systemd.ask("trireme-collector", "status", "--json")
        if code:
            return {}
        return {one["name"]: one["pid"] for one in json.loads(out)["processes"]}

    def is_new(self, name: str, pid: int) -> bool:
        return self.pids().get(name, pid) not in {0, pid}

    def says(self, text: str, seconds: float = 10) -> bool:
        return wait_for(lambda: text in self.systemd.journal(), seconds)

    @property
    def state(self) -> tuple[str, str, str]:
        shown = self.systemd.shown
        return shown("ActiveState"), shown("MainPID"), shown("NRestarts")


def test_the_unit_as_systemd_runs_it(lab: Lab, systemd: OwnSystemd) -> None:
    service = Service(systemd)
    listeners = [lab.listen(4, port) for port in (ALLOWED, DENIED)]
    assert listeners

    # It is active once it judges, and not before.
    systemd.do("systemctl", "start", UNIT.name)
    assert lab.connect(4, ALLOWED) == "connected"
    assert lab.connect(4, DENIED) == "timed out"
    state, main, restarts = service.state
    assert (state, restarts) == ("active", "0")
    assert systemd.shown("StatusText").startswith("1 judge by policy ")
    assert service.says("agent_started")
    user = systemd.do("stat", "-c", "%U", f"/proc/{main}").strip()
    assert user == "trireme-collector"

    # A killed enforcer is the supervisor's affair.
    with Stream(lab, 200) as stream:
        pid = service.pids()["enforcer 0"]
        systemd.do("kill", "-KILL", str(pid))
        assert wait_for(lambda: service.is_new("enforcer 0", pid), 10), systemd.journal()
    assert (stream.lost, stream.passed_denied) == (0, 0)
    assert service.state == ("active", main, "0")

    # A reload takes over what is good, and only that.
    (systemd.etc / "policy.toml").write_text(POLICY.replace("[8080]", "[8081]"), encoding="utf-8")
    systemd.do("systemctl", "reload", UNIT.name)
    assert wait_for(lambda: lab.connect(4, DENIED) == "connected", 10), systemd.journal()
    (systemd.etc / "policy.toml").write_text(POLICY.replace("accept", "acept"), encoding="utf-8")
    systemd.do("systemctl", "reload", UNIT.name)
    assert service.says("policy_kept"), systemd.journal()
    assert lab.connect(4, DENIED) == "connected"
    (systemd.etc / "policy.toml").write_text(POLICY, encoding="utf-8")
    systemd.do("systemctl", "reload", UNIT.name)
    assert wait_for(lambda: lab.connect(4, ALLOWED) == "connected", 10), systemd.journal()

    # Another program in the same process: systemd and clients notice nothing.
    before = service.pids()
    with Stream(lab, 200) as stream:
        systemd.do("systemctl", "kill", "--kill-whom=main", "--signal=USR2", UNIT.name)
        assert service.says("program_exchanged", 30), systemd.journal()
        assert wait_for(lambda: service.is_new("enforcer 0", before["enforcer 0"]), 10)
    assert (stream.lost, stream.passed_denied) == (0, 0)
    assert service.state == ("active", main, "0")

    # One that hangs is started anew; until then nothing passes unjudged.
    systemd.do("systemctl", "kill", "--kill-whom=main", f"--signal={signal.SIGSTOP}", UNIT.name)
    with Stream(lab, 100) as stream:
        assert wait_for(lambda: service.state[2] == "1" and service.state[0] == "active", 40)
    assert stream.passed_denied == 0
    assert lab.connect(4, ALLOWED) == "connected"

    # The end leaves the rules and the records, and nothing else.
    systemd.do("systemctl", "stop", UNIT.name)
    assert (systemd.shown("ActiveState"), systemd.shown("Result")) == ("inactive", "success")
    assert lab.connect(4, ALLOWED) == "timed out"
    assert "NFQUEUE" in lab.server.run(["iptables-save"])
    assert service.systemd.ask("test", "-e", "/run/trireme-collector")[0]
    assert '"type":"flow"' in systemd.do("cat", "/var/log/private/trireme/flows.json")
