"""The testing kit from the wheel: a project that uses it passes its tests and is typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.outside.kit_project import write_project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.outside.workshop import Workshop

pytestmark = pytest.mark.outside

MISTAKES = """
from trireme_collector.testing import FakeQueue, MemmoryCollector, MockCollector, assert_allows

assert_allows(3, "office -> web:80/tcp")
FakeQueue(5)
MockCollector().expect.collect_flow_events()
"""


@pytest.fixture(name="project", scope="module")
def fixture_project(workshop: Workshop) -> Path:
    where = workshop.base / "kit_project"
    where.mkdir()
    write_project(where)
    return where


def test_its_tests_pass_with_the_fixtures_that_pytest_finds(
    workshop: Workshop, project: Path
) -> None:
    said = workshop.run("pytest", "-q", "-p", "no:randomly", cwd=project)
    assert "11 passed" in said


def test_it_is_typed(workshop: Workshop, project: Path) -> None:
    python = ["--python-executable", str(workshop.python)]
    workshop.tool("mypy", "--strict", *python, "test_reject_counter.py", cwd=project)
    workshop.tool(
        "pyright", "--pythonpath", str(workshop.python), "test_reject_counter.py", cwd=project
    )


def test_mistakes_are_seen(workshop: Workshop, project: Path) -> None:
    (project / "mistakes.py").write_text(MISTAKES, "utf-8")
    with pytest.raises(AssertionError) as caught:
        workshop.tool(
            "mypy",
            "--strict",
            "--python-executable",
            str(workshop.python),
            "mistakes.py",
            cwd=project,
        )
    said = str(caught.value)
    assert 'has no attribute "MemmoryCollector"' in said
    assert 'Argument 1 to "assert_allows" has incompatible type "int"' in said
    assert 'Argument 1 to "FakeQueue" has incompatible type "int"' in said
    assert '"Expectations" has no attribute "collect_flow_events"' in said
    with pytest.raises(AssertionError, match="4 errors"):
        workshop.tool("pyright", "--pythonpath", str(workshop.python), "mistakes.py", cwd=project)
