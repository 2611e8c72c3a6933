"""What every test shares: hypothesis profiles, and live tests only when asked for."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# Deterministic by default: the same examples on every machine, so a red run can be repeated.
# The fuzz environment asks for many, fresh ones.
settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "fuzz",
    deadline=None,
    derandomize=False,
    max_examples=2_000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_TESTS = Path(__file__).parent
# What tests share is imported as `tests.<name>`. At the end of the path: an installed wheel is
# found before the tree, so that the tests of a wheel test the wheel.
sys.path.append(str(_TESTS.parent))

# Tests with these marks need more than Python, or long: they run when the mark or their path, which
# has the same name, is named.
_ON_REQUEST = ("live", "outside")


@pytest.fixture(autouse=True)
def _log_as_the_library_leaves_it() -> Iterator[None]:
    """Undo what a command configured: its filter would hide entries from the next test."""
    yield
    structlog.reset_defaults()


def _is_named(mark: str, config: pytest.Config) -> bool:
    directory = _TESTS / mark
    if mark in config.getoption("markexpr"):
        return True
    for argument in config.invocation_params.args:
        path = Path(str(argument).partition("::")[0])
        path = path if path.is_absolute() else config.invocation_params.dir / path
        if path.exists() and path.resolve().is_relative_to(directory):
            return True
    return False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that run only on request, unless they were requested."""
    waiting = {mark for mark in _ON_REQUEST if not _is_named(mark, config)}
    left_out = [item for item in items if any(map(item.get_closest_marker, waiting))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(map(id, left_out))
        items[:] = [item for item in items if id(item) not in gone]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Let a half of the live tests be empty when only tests of the other half are named."""
    if (
        exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED
        and "patient" in session.config.option.markexpr
    ):
        session.exitstatus = pytest.ExitCode.OK
