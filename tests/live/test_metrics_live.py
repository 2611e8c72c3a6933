"""A running agent answers who asks, prints what it sees, and judges on whoever asks."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, DENIED, Lab, wait_for
from tests.live.test_run_live import Place
from trireme_collector.control import ControlClient, ObserveArguments, ObserveResult
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.live

CONNECTIONS = 100  # nobody accepts them: the backlog holds 128
METRICS = """
[metrics]
listen = "unix:{path}"
[collectors.screen]
type = "console"
json = true
[collectors.screen.filter]
allow = ['type == "flow" and action == "reject"']
mask = {{ blank = ["source.ip"] }}
"""


def ask(path: Path, what: str) -> tuple[int, str]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(f"GET {what} HTTP/1.1\r\n\r\n".encode())
        found = b""
        while data := client.recv(65536):
            found += data
    head, _, body = found.decode().partition("\r\n\r\n")
    return int(head.split(" ")[1]), body


def value(text: str, name: str) -> float:
    match = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert match, f"{name} is not in\n{text}"
    return float(match[1])


@pytest.fixture
def place(lab: Lab, tmp_path: Path) -> Iterator[Place]:
    for port in (ALLOWED, DENIED):
        lab.listen(4, port)
    with contextlib.ExitStack() as stack:
        place = Place(lab, tmp_path, stack)
        place.configure(collectors=METRICS.format(path=tmp_path / "m.sock"))
        yield place


def test_what_was_judged_can_be_read_and_seen(place: Place) -> None:
    path = place.directory / "m.sock"
    agent = place.start()
    # The process that answers is told by the one that has started.
    assert wait_for(lambda: ask(path, "/readyz")[0] == 200, 5), ask(path, "/readyz")
    assert place.lab.connect(4, ALLOWED) == "connected"
    assert place.lab.connect(4, DENIED) == "timed out"
    # The counters are read once a second at most.
    rejected = 'trireme_engine_events_total{event="flows_rejected"}'
    assert wait_for(lambda: value(ask(path, "/metrics")[1], rejected) >= 1)
    left_out = 'trireme_collector_records_dropped_total{collector="screen",reason="filtered"}'
    assert wait_for(lambda: value(ask(path, "/metrics")[1], left_out) >= 1)
    _, text = ask(path, "/metrics")
    assert value(text, 'trireme_engine_events_total{event="flows_accepted"}') == 1
    assert value(text, 'trireme_queue_dropped_packets_total{full="queue"}') == 0
    assert value(text, 'trireme_process_running{process="enforcer 0"}') == 1
    assert re.search(
        r'trireme_process_policy_info\{process="enforcer 0",revision="\w{16}"\} 1', text
    )
    assert value(text, 'trireme_crossing_records_total{fate="dropped"}') == 0
    code, out = agent.end()
    assert code == ExitCode.OK, agent.log()
    # A checkpoint passes every list of what is wanted.
    printed = [json.loads(line) for line in out.splitlines() if '"type":"flow"' in line]
    assert {flow["destination"]["port"] for flow in printed} == {DENIED}
    assert {flow["source"]["ip"] for flow in printed} == {""}
    assert not path.exists()


def test_scrapes_without_end_let_no_packet_wait(place: Place) -> None:
    path = place.directory / "m.sock"
    agent = place.start()
    ending = threading.Event()

    def scrape() -> None:
        while not ending.is_set():
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
                client.settimeout(0.05)
                client.connect(str(path))
                client.send(b"GET /metrics HTTP/1.1\r\n\r\n")
                client.recv(100)

    scrapers = [threading.Thread(target=scrape) for _ in range(4)]
    for scraper in scrapers:
        scraper.start()
    try:
        outcomes = [place.lab.connect(4, ALLOWED) for _ in range(CONNECTIONS)]
    finally:
        ending.set()
        for scraper in scrapers:
            scraper.join()
    assert outcomes == ["connected"] * CONNECTIONS
    code, out = agent.end()
    assert code == ExitCode.OK, agent.log()
    assert f"{CONNECTIONS} flows accepted" in out
    assert " 0 packets dropped by the kernel" in out


@pytest.mark.parametrize("layout", ["single", "tree"])
def test_readiness_knows_rules_and_observing(place: Place, layout: str) -> None:
    path = place.directory / "m.sock"
    more = f'[processes]\nlayout = "{layout}"\n'
    place.configure(collectors=METRICS.format(path=path) + more)
    configuration = place.directory / "agent.toml"
    text = configuration.read_text(encoding="utf-8")
    text = text.replace("[datapath.rules]", "[datapath.rules]\nrepair = false\nverify_seconds = 1")
    configuration.write_text(text, encoding="utf-8")
    place.start()

    def ready(status: int, word: str) -> bool:
        found, body = ask(path, "/readyz")
        return (found, json.loads(body)["status"]) == (status, word)

    assert wait_for(lambda: ready(200, "ok"), 5), ask(path, "/readyz")
    client = ControlClient(str(place.directory / "ctl"), timeout_seconds=20)
    client.call("observe", ObserveResult, ObserveArguments(mode="on"))
    # Somebody wanted it, and packets are judged: it is ready, and says what it does not do.
    assert wait_for(lambda: ready(200, "degraded"), 5), ask(path, "/readyz")
    client.call("observe", ObserveResult, ObserveArguments(mode="configured"))
    assert wait_for(lambda: ready(200, "ok"), 5), ask(path, "/readyz")
    place.lab.server.run(["iptables", "-t", "filter", "-F"])
    place.lab.server.run(["iptables", "-t", "mangle", "-F"])
    place.lab.server.run(["iptables", "-t", "raw", "-F"])
    assert wait_for(lambda: ready(503, "failing"), 5), ask(path, "/readyz")
    checks = json.loads(ask(path, "/readyz")[1])["checks"]
    assert "not enforcing" in checks["rules"]["detail"]
    # A restart is no remedy.
    assert ask(path, "/healthz")[0] == 200
