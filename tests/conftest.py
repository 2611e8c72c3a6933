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

# Tests with this mark need more than Python: they run when the mark or their path is named.
_LIVE = "live"


@pytest.fixture(autouse=True)
def _log_as_the_library_leaves_it() -> Iterator[None]:
    """Undo what a command configured: its filter would hide entries from the next test."""
    yield
    structlog.reset_defaults()


def _live_is_named(config: pytest.Config) -> bool:
    directory = _TESTS / _LIVE
    if _LIVE in config.getoption("markexpr"):
        return True
    for argument in config.invocation_params.args:
        path = Path(str(argument).partition("::")[0])
        path = path if path.is_absolute() else config.invocation_params.dir / path
        if path.exists() and path.resolve().is_relative_to(directory):
            return True
    return False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that run only on request, unless they were requested."""
    if _live_is_named(config):
        return
    left_out = [item for item in items if item.get_closest_marker(_LIVE)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker(_LIVE)]
