"""Killed at any moment, nothing that was accepted is lost, and little comes twice.

One process delivers 2,000 records a second to a file, to an HTTP server, and over TCP and RELP to
rsyslog. It is killed again and again, at random moments of its life, start and recovery included,
or ends itself at each named point; then it may finish. The receivers live on.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from tests.live.kill_child import BATCH_RECORDS
from tests.live.syslog_lab import Rsyslog, make_certificates, sdata
from trireme_collector.delivery.spool.crash_points import EXIT_CODE, CrashPoint

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.live, pytest.mark.patient]

KILLS = int(os.environ.get("KILLS", "200"))
LONGEST_LIFE_SECONDS = 0.9
DEADLINE_SECONDS = 120
ROOT = Path(__file__).parents[2]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        # What a kill has cut short is not acknowledged, and comes again.
        if len(body) == length:
            cast("HttpReceiver", self.server).bodies.append(body)
            self.send_response(204)
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its own name
        """Say nothing."""


class HttpReceiver(http.server.ThreadingHTTPServer):
    """Keeps what it acknowledges."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a connection that breaks is what this is about."""


class Lab:
    """The receivers, and the lives of one sender."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "tls").mkdir()
        certificates = make_certificates(directory / "tls")
        self.rsyslogs: dict[str, Rsyslog] = {}
        for name in ("tcp", "relp"):
            (directory / name).mkdir()
            self.rsyslogs[name] = Rsyslog(directory / name, certificates)
            self.rsyslogs[name].start()
        self.http = HttpReceiver()
        tcp, relp = self.rsyslogs["tcp"].port, self.rsyslogs["relp"].relp_port
        self.collectors = {
            "file": {"path": str(directory / "records.json")},
            "http": {"url": f"http://127.0.0.1:{self.http.server_port}/", "compression": "none"},
            "tcp": {"type": "syslog", "transport": "tcp", "port": tcp},
            "relp": {"type": "syslog", "transport": "relp", "port": relp},
        }
        self.journal = directory / "accepted"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        for server in self.rsyslogs.values():
            server.stop()

    def live(self, *, point: str = "", seconds: float = 60) -> subprocess.Popen[bytes]:
        """Begin a life."""
        orders = {
            "state": str(self.directory / "state"),
            "collectors": self.collectors,
            "accepted": str(self.journal),
            "seconds": seconds,
        }
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if point:
            environment["TRIREME_CRASH_POINT"] = point
        return subprocess.Popen(
            [sys.executable, "-m", "tests.live.kill_child", json.dumps(orders)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def finish(self) -> dict[str, dict[str, int]]:
        """Let a last life deliver what is left; give its accounts."""
        child = self.live(seconds=0.1)
        out, _ = child.communicate(timeout=DEADLINE_SECONDS)
        assert child.returncode == 0
        report = json.loads(out)
        assert report["complete"], report
        return {account["name"]: account for account in report["status"]["collectors"]}

    def received(self, name: str, at_least: int) -> Counter[tuple[int, int]]:
        """Count how often each record came, by epoch and sequence."""
        if name in self.rsyslogs:
            lines = self.rsyslogs[name].settled(0, at_least)
            found = (sdata(line) for line in lines if "[flow@" in line)
            return Counter((int(one["epoch"]), int(one["sequence"])) for one in found)
        if name == "file":
            lines = (self.directory / "records.json").read_text(encoding="utf-8").splitlines()
            return Counter(_key(json.loads(line)) for line in lines)
        return Counter(_key(one) for body in self.http.bodies for one in json.loads(body))

    def accepted(self) -> dict[int, dict[str, int]]:
        """Give what each life is known to have accepted, by epoch and collector."""
        known: dict[int, dict[str, int]] = {}
        for line in self.journal.read_bytes().split(b"\n")[:-1]:
            epoch, counts = json.loads(line)
            known[epoch] = counts
        return known


def _key(record: dict[str, int]) -> tuple[int, int]:
    return record["epoch"], record["sequence"]


@pytest.fixture
def lab() -> Iterator[Lab]:
    # The path of a unix socket holds 107 bytes; pytest's temporary directories are deep.
    with tempfile.TemporaryDirectory(prefix="kill-") as name:
        lab = Lab(Path(name))
        yield lab
        lab.close()


def check(lab: Lab, kills: int) -> None:
    """Hold what came to what was accepted."""
    known = lab.accepted()
    for name, account in lab.finish().items():
        assert account["queued"] == account["dropped"] == account["dead_lettered"] == 0
        received = lab.received(name, account["accepted"])
        assert len(received) == account["accepted"] == account["delivered"], name
        last: dict[int, int] = {}
        for epoch, sequence in received:
            last[epoch] = max(last.get(epoch, 0), sequence)
        # Without a gap: every life delivered all up to its last record.
        assert sum(last.values()) == len(received), name
        for epoch, counts in known.items():
            assert last.get(epoch, 0) >= counts[name], name
        twice = received.total() - len(received)
        assert twice <= kills * BATCH_RECORDS, name


def test_killed_at_random(lab: Lab) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201  to repeat what failed
    chance = random.Random(seed)
    for _ in range(KILLS):
        child = lab.live()
        try:
            child.wait(chance.uniform(0.05, LONGEST_LIFE_SECONDS))
        except subprocess.TimeoutExpired:
            child.kill()
        child.communicate(timeout=DEADLINE_SECONDS)
        assert child.returncode == -9
    assert sum(counts["file"] for counts in lab.accepted().values()) > KILLS * 50
    check(lab, KILLS)


# These take more than lives that end: a failing disk, damage, or a spool that gives up records.
ELSEWHERE = frozenset(
    (
        *(CrashPoint.REWRITE_WRITTEN, CrashPoint.REWRITE_DONE, CrashPoint.DROP_COUNTED),
        *(CrashPoint.OPEN_DAMAGE_KEPT, CrashPoint.OPEN_TAIL_CUT),
    )
)
# Those of an orderly end come when everything else is over.
AT_THE_END = frozenset((CrashPoint.CLOSE_BEGUN, CrashPoint.CLOSE_DONE))


def test_killed_at_every_named_point_and_again_while_it_recovers(lab: Lab) -> None:
    lives = 0
    reached = set()
    for point in CrashPoint:
        for name in (f"{point}", f"{point}:2", "open-locked", "open-recovered"):
            child = lab.live(point=name, seconds=0.2)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.5 if point in AT_THE_END else 2)
            child.communicate(timeout=DEADLINE_SECONDS)
            assert child.returncode in {0, EXIT_CODE}
            if child.returncode == EXIT_CODE:
                reached.add(name.removesuffix(":2"))
            lives += 1
    assert set(CrashPoint) - reached <= ELSEWHERE
    check(lab, lives)
