"""The distributions in `examples/` are installed, found, and held to their own checks."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.outside.workshop import Workshop

pytestmark = pytest.mark.outside

EXAMPLES = Path(__file__).parents[2] / "examples"
DISTRIBUTIONS = sorted(path.parent.name for path in EXAMPLES.glob("*/pyproject.toml"))


@pytest.fixture(scope="module", params=DISTRIBUTIONS)
def project(request: pytest.FixtureRequest, workshop: Workshop) -> Path:
    """Install a copy of an example."""
    name = str(request.param)
    copy = workshop.base / name
    shutil.copytree(EXAMPLES / name, copy, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    workshop.install(copy)
    return copy


def test_there_are_examples() -> None:
    assert {"trireme-collector-sqlite", "trireme-collector-webhook"} <= set(DISTRIBUTIONS)


def test_it_is_found(workshop: Workshop, project: Path) -> None:
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name in metadata["entry-points"]["trireme_collector"]:
        shown = json.loads(workshop.run("trireme-collector", "plugins", "show", name, "--json"))
        assert (shown["state"], shown["error"]) == ("loaded", None)
        assert shown["distribution"] == f"{project.name} {metadata['version']}"
        assert all(option["help"] for option in shown["collectors"][0]["options"])
    for name in metadata["entry-points"].get("trireme_collector.commands", {}):
        assert f"{name} " in workshop.run("trireme-collector", "--help")
        assert "Usage: trireme-collector" in workshop.run("trireme-collector", name, "--help")


def test_it_passes_its_tests(workshop: Workshop, project: Path) -> None:
    assert " passed" in workshop.run("pytest", "-q", "-p", "no:cacheprovider", cwd=project)


def test_it_is_typed(workshop: Workshop, project: Path) -> None:
    workshop.check_types(project)


def test_its_readme_tells_how_to_use_it(project: Path) -> None:
    text = (project / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {project.name}\n")
    block = text.split("```toml\n")[1].split("```")[0]
    (name,) = tomllib.loads(block)["collectors"]
    assert project.name.endswith(name)


def test_the_enforcer_is_typed(workshop: Workshop) -> None:
    copy = workshop.base / "enforcer"
    shutil.copytree(EXAMPLES / "enforcer", copy, ignore=shutil.ignore_patterns("__pycache__"))
    files, python = ["enforcer.py", "demo.py"], str(workshop.python)
    workshop.tool("mypy", "--strict", "--python-executable", python, *files, cwd=copy)
    workshop.tool("pyright", "--pythonpath", python, *files, cwd=copy)
