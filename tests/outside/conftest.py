"""What the tests of other people's projects share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.outside.workshop import Workshop
from tests.project.test_packages import build, copy_tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the wheel of this tree."""
    return build(copy_tree(tmp_path_factory.mktemp("library")), "wheel")


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Workshop:
    """Give an environment that all tests may install into: each installs names of its own."""
    return Workshop(tmp_path_factory.mktemp("workshop"), wheel)
