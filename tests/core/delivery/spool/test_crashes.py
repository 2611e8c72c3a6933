"""A process that dies anywhere loses nothing that was accepted, and repeats one batch at most.

``TRIREME_SPOOL_KILLS`` says how many times the last test kills, 20 by default.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.core.delivery.spool.crash_server import BATCH, Order, config
from tests.core.delivery.spool.spools import check, drain
from trireme_collector.delivery.spool import FsyncMode, Spool, crash_points
from trireme_collector.delivery.spool.crash_points import (
    ENVIRONMENT_VARIABLE,
    EXIT_CODE,
    CrashPoint,
)
from trireme_collector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[4]
KILLS = int(os.environ.get("TRIREME_SPOOL_KILLS", "20"))
KILLED = -9
RECOVERY = (
    CrashPoint.OPEN_LOCKED,
    CrashPoint.OPEN_DAMAGE_KEPT,
    CrashPoint.OPEN_TAIL_CUT,
    CrashPoint.OPEN_RECOVERED,
    CrashPoint.STATE_HALF_WRITTEN,
    CrashPoint.STATE_WRITTEN,
)
# What a short life does not pass.
KINDS = {CrashPoint.DROP_COUNTED: "full"}
ONLY_AFTER_A_TORN_WRITE = {CrashPoint.OPEN_DAMAGE_KEPT, CrashPoint.OPEN_TAIL_CUT}


class Lives:
    """Spends one spool's lives, and judges at the end."""

    def __init__(self, server: subprocess.Popen[str], directory: Path) -> None:
        self._server = server
        self._directory = directory
        self._lives = 0
        self.deaths = 0
        self._last = Order(directory=str(directory), first=0)

    def spend(
        self,
        kind: str = "short",
        point: str = "",
        kill_after_seconds: float = 0.0,
        mode: FsyncMode = FsyncMode.INTERVAL,
    ) -> int:
        order = Order(
            directory=str(self._directory),
            first=self._lives * 100_000,
            kind=kind,
            point=point,
            kill_after_seconds=kill_after_seconds,
            mode=mode,
        )
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(msgspec.json.encode(order).decode() + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        self._lives += 1
        self.deaths += code != 0
        self._last = order
        return code

    def judge(self) -> None:
        """Nothing accepted is missing beyond what was dropped; at most a batch per death twice."""
        delivered = self._journal("delivered")
        with Spool.open(self._directory / "spool", config(self._last)) as spool:
            reader = spool.reader("a")
            delivered.update(drain(reader))
            account = check(reader.account)
            assert not account.spooled
        missing = self._journal("accepted").keys() - delivered.keys()
        assert len(missing) <= account.dropped, sorted(missing)[:5]
        twice = sum(count - 1 for count in delivered.values())
        assert twice <= BATCH * self.deaths
        assert account.delivered <= delivered.total()
        assert account.delivered >= len(delivered) - BATCH * self.deaths

    def _journal(self, name: str) -> Counter[int]:
        path = self._directory / name
        # The last line may lack its end: the process died in the middle of it.
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return Counter(map(int, lines))


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.core.delivery.spool.crash_server"]
    path = os.pathsep.join([str(ROOT), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop(ENVIRONMENT_VARIABLE, None)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.fixture
def lives(server: subprocess.Popen[str], tmp_path: Path) -> Lives:
    return Lives(server, tmp_path)


def test_a_life_without_accident_loses_nothing(lives: Lives) -> None:
    assert lives.spend() == 0
    assert lives.spend("full") == 0
    lives.judge()


@pytest.mark.parametrize("mode", FsyncMode)
@pytest.mark.parametrize("passing", [1, 3])
@pytest.mark.parametrize("point", CrashPoint)
def test_dying_at_every_point(
    lives: Lives, point: CrashPoint, passing: int, mode: FsyncMode
) -> None:
    if point in ONLY_AFTER_A_TORN_WRITE:
        assert lives.spend(point=CrashPoint.APPEND_HALF_WRITTEN) == EXIT_CODE
    code = lives.spend(KINDS.get(point, "short"), f"{point}:{passing}", mode=mode)
    never = mode is FsyncMode.NEVER and point.startswith(("sync-", "rewrite-", "state-s"))
    if passing == 1 and not never:
        assert code == EXIT_CODE, "the life passes the point"
    assert code in {0, EXIT_CODE}
    lives.judge()


@pytest.mark.parametrize("again", RECOVERY)
@pytest.mark.parametrize("point", CrashPoint)
def test_dying_again_during_the_recovery(
    lives: Lives, point: CrashPoint, again: CrashPoint
) -> None:
    kind = KINDS.get(point, "short")
    lives.spend(kind, f"{point}:2")
    lives.spend(kind, again)
    lives.spend(kind, again)
    assert lives.spend(kind) == 0
    lives.judge()


@pytest.mark.parametrize("again", CrashPoint)
def test_dying_again_after_a_torn_write(lives: Lives, again: CrashPoint) -> None:
    assert lives.spend(point=f"{CrashPoint.APPEND_HALF_WRITTEN}:4") == EXIT_CODE
    lives.spend(KINDS.get(again, "short"), again)
    assert lives.spend(KINDS.get(again, "short")) == 0
    lives.judge()


def test_killed_at_random_moments(lives: Lives) -> None:
    moments = random.Random(20)
    for _ in range(KILLS):
        assert lives.spend("long", kill_after_seconds=moments.uniform(0.002, 0.03)) == KILLED
    lives.judge()


def test_an_unknown_point_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("nowhere", "open-locked:0", "open-locked:x"):
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, text)
        with pytest.raises(ConfigError, match="names no crash point"):
            Spool.open(tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_point_is_due_at_its_passing() -> None:
    try:
        crash_points.arm("sync-done:2")
        passed = [crash_points.is_due(CrashPoint.SYNC_DONE) for _ in range(3)]
        assert passed == [False, True, False]
        assert not crash_points.is_due(CrashPoint.SYNC_BEGUN)
    finally:
        crash_points.arm("")
    assert not crash_points.is_due(CrashPoint.SYNC_DONE)
