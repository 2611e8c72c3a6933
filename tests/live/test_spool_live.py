"""An agent whose receiver is away, or whose disk is full: what was accepted comes, all of it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import ALLOWED, wait_for
from tests.live.test_run_live import Place, place
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["place"]

pytestmark = [pytest.mark.live, pytest.mark.patient]

FLOWS = 40
ROOT = Path(__file__).parents[2]


class Receiver:
    """Reads lines from TCP, once it is told to."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.data = bytearray()

    def start(self) -> None:
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(65536):
                self.data += data

    def flows(self) -> int:
        return self.data.count(b"[flow@")

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def receiver(place: Place) -> Iterator[Receiver]:
    receiver = place.lab.server.call(Receiver)
    yield receiver
    receiver.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_receiver_missed_comes_after_the_next_start(
    place: Place, receiver: Receiver, number: int
) -> None:
    place.configure(
        collectors=f"[collectors.syslog]\ntransport = 'tcp'\nport = {receiver.port}\n"
        f"[delivery]\nstate_directory = '{place.directory}/state'\nretry_max_seconds = 0.2"
    )
    agent = place.start()
    assert {place.lab.connect(4, ALLOWED) for _ in range(FLOWS)} == {"connected"}
    assert wait_for(lambda: len(place.flows()) == FLOWS, 10)
    code, out = agent.end(number)
    if number == signal.SIGTERM:
        assert code == ExitCode.OK, agent.log()
        # The flows, the checkpoints at the start and at the end, and counters.
        left = re.search(r"left in the spool: (\d+)", out)
        assert left is not None
        assert int(left[1]) >= FLOWS + 2
    receiver.start()
    agent = place.start()
    assert wait_for(lambda: receiver.flows() == FLOWS, 20), receiver.flows()
    code, out = agent.end()
    assert code == ExitCode.OK
    assert "undelivered: 0" in out
    assert "left in the spool" not in out
    assert receiver.flows() == FLOWS
    assert len(place.flows()) == FLOWS


def test_a_full_disk_costs_what_does_not_fit_and_nothing_else(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    assert unshare, "unshare is not installed: apt-get install util-linux"
    script = (
        'mount -t tmpfs -o size=1m,mode=755 none "$1" && exec "$2" -m tests.live.full_spool "$1"'
    )
    # A namespace of its own: the mount is gone with the process, whatever becomes of it.
    command = [unshare, "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    done = subprocess.run(
        [*command, str(tmp_path), sys.executable],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["before"]["accepted"] == seen["before"]["queued"]
    full, after = seen["full"], seen["after"]
    assert full["dropped_by_reason"] == {"no_space": full["dropped"]}
    assert full["dropped"] > 0
    assert full["accepted"] == full["queued"] + full["dropped"]
    # Nothing more is refused once there is space again, and all that was accepted comes.
    assert after["dropped"] == full["dropped"]
    assert seen["resumed_seconds"] < 5
    assert after["delivered"] == after["accepted"] - after["dropped"]
    assert after["queued"] == 0
    assert seen["received"] == after["delivered"] == seen["distinct"]
