"""The kit from outside: a project of somebody else, with pytest, coverage and type checkers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.outside.kit_project import FAILING, write_project

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.outside


@pytest.fixture(name="project")
def fixture_project(tmp_path: Path) -> Path:
    """Write a small project that uses the kit."""
    write_project(tmp_path)
    return tmp_path


@pytest.fixture(name="run")
def fixture_run(project: Path) -> Run:
    """Give a way to run Python in the project, as its author would."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "COV", "HYPOTHESIS", "PYTHONPATH"))
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=project,
            env={**kept, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run


def test_the_tests_of_the_project_pass(run: Run) -> None:
    done = run("-m", "pytest", "-q", "-W", "error")
    assert done.returncode == 0, done.stdout
    assert "11 passed" in done.stdout


def test_the_fixtures_are_listed_with_what_they_are(run: Run) -> None:
    listed = run("-m", "pytest", "--fixtures", "-q").stdout
    for name in ("memory_collector", "mock_collector", "fake_clock", "fake_queue", "packet_script"):
        assert re.search(rf"^{name} -- .*\n    Give ", listed, re.MULTILINE), name


def test_coverage_of_the_project_counts_every_line(run: Run, project: Path) -> None:
    done = run(
        "-m", "pytest", "-q", "--cov=reject_counter", "--cov-branch", "--cov-report=json:cover.json"
    )
    assert done.returncode == 0, done.stdout
    report = json.loads((project / "cover.json").read_text("utf-8"))
    totals = report["totals"]
    assert totals["num_statements"] == 10
    assert (totals["missing_lines"], totals["missing_branches"]) == (0, 0)


def test_coverage_of_the_library_counts_what_runs_when_it_is_imported(
    run: Run, project: Path
) -> None:
    """Our own figures would otherwise lack every module that the plugin imports."""
    done = run(
        *("-m", "pytest", "-q", "-k", "memory", "--cov=trireme_collector"),
        "--cov-report=json:cover.json",
    )
    assert done.returncode == 0, done.stdout
    report = json.loads((project / "cover.json").read_text("utf-8"))
    files = {
        "/".join(Path(name).parts[-2:]): facts["summary"] for name, facts in report["files"].items()
    }
    # A module with nothing but imports, and one whose lines are mostly definitions.
    assert files["trireme_collector/__init__.py"]["missing_lines"] == 0
    assert files["trireme_collector/exit_codes.py"]["missing_lines"] <= 1
    assert files["testing/__init__.py"]["percent_covered"] > 80


def test_a_start_of_pytest_loads_nothing_of_ours(run: Run, project: Path) -> None:
    (project / "test_reject_counter.py").unlink()
    (project / "test_plain.py").write_text(
        "import sys\n\n\ndef test_plain():\n"
        "    ours = {n for n in sys.modules if n.startswith('trireme')}\n"
        "    assert ours == {'trireme_collector_pytest'}\n"
        "    assert not {'msgspec', 'structlog', 'pluggy_none', 'hypothesis.strategies'} & ours\n"
        "    assert 'msgspec' not in sys.modules\n",
        "utf-8",
    )
    done = run("-m", "pytest", "-q", "-p", "no:hypothesispytest", "test_plain.py")
    assert done.returncode == 0, done.stdout


def test_failures_say_what_went_wrong(run: Run, project: Path) -> None:
    (project / "test_failing.py").write_text(FAILING, "utf-8")
    done = run("-m", "pytest", "-q", "-p", "no:randomly", "test_failing.py")
    said = done.stdout
    assert "4 failed, 2 passed, 1 skipped, 2 errors" in said, said
    assert "ERROR test_failing.py::test_not_called" in said
    assert "ERROR test_failing.py::test_called_too_often" in said
    assert "ERROR test_failing.py::test_fails_by_itself" not in said
    for line in (
        "expected exactly twice, came never (test_failing.py:9)",
        "no call of collect_flow_event is expected",
        "the record is not as expected",
        "destination.port: expected 443, got 80",
        "[0].count: expected 5, got 1",
        "tcp 192.0.2.1:1 > 10.0.0.2:22 S -> accept | accept http",
        "tcp 192.0.2.1:1 > 10.0.0.2:22 S -> drop | reject default policy",
    ):
        assert line in said, line
