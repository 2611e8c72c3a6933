"""The enforcer of the examples, in the network of the demo: judged, reloaded, and reported."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import wait_for
from trireme_datapath.demo import Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("means")]

EXAMPLE = Path(__file__).parents[2] / "examples" / "enforcer"
WEB, DATABASE = "198.51.100.20", "198.51.100.30"


class Place:
    """The network, the files of the enforcer, and the enforcer itself."""

    def __init__(self, directory: Path, network: Topology, sockets: contextlib.ExitStack) -> None:
        self.network = network
        self.containers = directory / "containers"
        self.containers.mkdir()
        self.services = directory / "services.json"
        self.records = directory / "records.jsonl"
        self.printed, self.complained = directory / "printed", directory / "complained"
        for host, address, port in (
            ("web", WEB, 80),
            ("web", WEB, 8080),
            ("database", DATABASE, 5432),
        ):
            server = sockets.enter_context(
                network.hosts[host].socket(socket.AF_INET, socket.SOCK_STREAM)
            )
            server.bind((address, port))
            server.listen()
        self.register("web", WEB, "app=web")
        self.allow('[{"label": "app=web", "ports": [80]}]')

    def register(self, name: str, address: str, label: str) -> None:
        text = json.dumps({"addresses": [address], "labels": [label]})
        beside = self.containers / f"{name}.new"
        beside.write_text(text, encoding="utf-8")
        beside.rename(self.containers / f"{name}.json")

    def allow(self, text: str) -> None:
        beside = self.services.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        beside.rename(self.services)

    def connect(self, address: str, port: int) -> bool:
        with self.network.hosts["client"].socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(0.5)
            try:
                client.connect((address, port))
            except TimeoutError:
                return False
        return True

    def start(self) -> subprocess.Popen[bytes]:
        paths = map(str, (self.containers, self.services, self.records))
        words = [sys.executable, str(EXAMPLE / "enforcer.py"), *paths]
        with self.printed.open("wb") as out, self.complained.open("wb") as err:
            agent = subprocess.Popen(self.network.enforcer.command(words), stdout=out, stderr=err)
        assert wait_for(lambda: b"enforcing" in self.printed.read_bytes(), 10), self.complained
        return agent


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Topology() as network, contextlib.ExitStack() as sockets:
        yield Place(tmp_path, network, sockets)


def test_it_enforces_reloads_and_reports(place: Place) -> None:
    agent = place.start()
    try:
        assert place.connect(WEB, 80)
        assert not place.connect(WEB, 8080)
        place.allow('[{"label": "app=web", "ports": [80, 8080]}]')
        assert wait_for(lambda: place.connect(WEB, 8080), 5)
        place.register("database", DATABASE, "app=db")
        assert wait_for(lambda: b'"database"' in place.records.read_bytes(), 5)
        assert not place.connect(DATABASE, 5432)
        place.allow('[{"label": "app=web", "ports": [0]}]')
        assert wait_for(lambda: b"the old policy stays" in place.complained.read_bytes(), 5)
        assert place.connect(WEB, 8080)
        (place.containers / "database.json").unlink()
        place.allow('[{"label": "app=web", "ports": [80]}]')
        assert wait_for(lambda: b'"delete"' in place.records.read_bytes(), 5)
    finally:
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(10) == 0, place.complained.read_text(encoding="utf-8")
    assert "TRIREME" not in place.network.enforcer.run(["iptables-save"])
    assert place.connect(DATABASE, 5432), "without rules, nothing is judged"
    records = [json.loads(line) for line in place.records.read_text("utf-8").splitlines()]
    events = [(r["context_id"], r["event"]) for r in records if r["type"] == "container"]
    assert events == [("web", "start"), ("database", "start"), ("database", "delete")]
    flows = [
        (r["context_id"], r["destination"]["port"], r["action"])
        for r in records
        if r["type"] == "flow"
    ]
    expected = {("web", 80, "accept"), ("web", 8080, "reject"), ("web", 8080, "accept")}
    assert set(flows) == expected | {("database", 5432, "reject")}
    lines = place.printed.read_text(encoding="utf-8").splitlines()
    assert f"rejected 192.0.2.10 -> {WEB} port 8080" in lines
    assert f"rejected 192.0.2.10 -> {DATABASE} port 5432" in lines


def test_the_demo_shows_what_its_readme_says() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE / "demo.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    shown = [line[4:] for line in readme.splitlines() if line.startswith("    ")]
    assert shown[0] == "$ python demo.py"
    assert done.stdout.splitlines() == shown[1:]


def test_it_is_small() -> None:
    assert len((EXAMPLE / "enforcer.py").read_text(encoding="utf-8").splitlines()) < 150
