"""Fixtures for pytest: ``memory_collector``, ``mock_collector``, ``fake_queue`` and others.

pytest loads this module whenever it starts, so it imports nothing but pytest, and stands outside of
the packages that it serves: what is tested is imported when coverage measures already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from trireme_collector.testing import (
        FakeClock,
        FakeQueue,
        MemoryCollector,
        MockCollector,
        PlayScript,
    )

__all__ = [
    "fake_clock",
    "fake_queue",
    "memory_collector",
    "mock_collector",
    "packet_script",
    "pytest_assertrepr_compare",
    "pytest_runtest_makereport",
]

_KIT = "trireme_collector.testing."
_HAS_FAILED = pytest.StashKey[bool]()


@pytest.fixture
def memory_collector() -> MemoryCollector:
    """Give a `MemoryCollector`: it takes every record and remembers it."""
    from trireme_collector.testing import MemoryCollector  # noqa: PLC0415  see above

    return MemoryCollector()


@pytest.fixture
def mock_collector(request: pytest.FixtureRequest) -> Iterator[MockCollector]:
    """Give a `MockCollector`: it refuses what it does not expect.

    It is verified after the test, unless the test failed and so says already what went wrong.
    """
    from trireme_collector.testing import MockCollector  # noqa: PLC0415  see above

    collector = MockCollector()
    yield collector
    if not request.node.stash.get(_HAS_FAILED, False):
        collector.verify()


@pytest.fixture
def fake_clock() -> FakeClock:
    """Give a `FakeClock`: it stands still until it is told to go."""
    from trireme_collector.testing import FakeClock  # noqa: PLC0415  see above

    return FakeClock()


@pytest.fixture
def fake_queue(fake_clock: FakeClock) -> Iterator[FakeQueue]:
    """Give a `FakeQueue` that goes by ``fake_clock``; it is closed after the test."""
    from trireme_collector.testing import FakeQueue  # noqa: PLC0415  see above

    queue = FakeQueue(clock=fake_clock)
    yield queue
    queue.close()


@pytest.fixture
def packet_script() -> PlayScript:
    """Give the function that runs packet scripts: ``packet_script(policy, script)``."""
    from trireme_collector.testing import play  # noqa: PLC0415  see above

    return play


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, None, None]:
    """Note whether the test itself failed."""
    yield
    if call.when == "call" and call.excinfo is not None:
        item.stash[_HAS_FAILED] = True


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Say which fields differ where a record is compared with what `like` expects."""
    if op != "==" or not (_has_matcher(left) or _has_matcher(right)):
        return None
    from trireme_collector.testing import differences  # noqa: PLC0415  a matcher is there: so is it

    expected, actual = (right, left) if _has_matcher(right) else (left, right)
    return ["the record is not as expected", *differences(expected, actual)]


def _has_matcher(value: object) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return any(
        kind.__module__.startswith(_KIT) and kind.__name__ == "Matcher"
        for one in values
        for kind in type(one).__mro__
    )
