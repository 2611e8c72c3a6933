"""Children that are not there: they keep what they are told, and the test answers for them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from trireme_datapath.processes import _keeper, _staff

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec


class FakeChild:
    """A child that does nothing by itself."""

    def __init__(self, role: str, pid: int, generation: int) -> None:
        self.role = role
        self.pid = pid
        self.generation = generation
        self.born_ns = 0
        self.told: list[msgspec.Struct] = []
        self.killed = False
        self.exit_code: int | None = None

    def send(self, message: msgspec.Struct) -> None:
        self.told.append(message)

    def kill(self) -> None:
        self.killed = True

    def heard(self, kind: type[msgspec.Struct]) -> list[msgspec.Struct]:
        return [message for message in self.told if isinstance(message, kind)]


class FakeReactor:
    """Keeps who listens to whom; the test speaks and buries."""

    def __init__(self) -> None:
        self.hearers: dict[int, Callable[[object], None]] = {}
        self.buriers: dict[int, Callable[[str], None]] = {}

    def add(
        self, child: FakeChild, hear: Callable[[object], None], bury: Callable[[str], None]
    ) -> None:
        self.hearers[child.pid] = hear
        self.buriers[child.pid] = bury

    def say(self, child: FakeChild, message: object) -> None:
        self.hearers[child.pid](message)

    def end(self, child: FakeChild, how: str = "killed by SIGKILL", code: int = -9) -> None:
        child.exit_code = code
        del self.hearers[child.pid]
        self.buriers.pop(child.pid)(how)


class Clock:
    """The time of a supervisor."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000

    def monotonic_ns(self) -> int:
        return self.now_ns

    def time_ns(self) -> int:
        return self.now_ns

    def step(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in ("_staff", "_post", "_keeper", "_operations", "_shared_knowledge"):
        monkeypatch.setattr(f"trireme_datapath.processes.{module}.time", made)
    return made


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[FakeChild]:
    """Give every child that is started, in order."""
    children: list[FakeChild] = []
    pids = itertools.count(100)

    def start(role: str, *_: object, generation: int, **__: object) -> FakeChild:
        child = FakeChild(role, next(pids), generation)
        child.born_ns = clock.now_ns
        children.append(child)
        return child

    monkeypatch.setattr(_staff, "start_child", start)
    monkeypatch.setattr(_keeper, "start_child", start)
    return children
