"""A plugin from the template works as it is: installed, found, and held to its own checks."""

from __future__ import annotations

import configparser
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import trireme_collector

if TYPE_CHECKING:
    from tests.outside.workshop import Workshop

pytestmark = pytest.mark.outside

VARIANTS = ("simple", "batched")
TEMPLATE = Path(trireme_collector.__file__).parent / "plugin_template"


def files(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): path.read_text(encoding="utf-8")
        for path in directory.rglob("*")
        if path.is_file()
    }


def write_with_copier(place: Path, **answers: str) -> dict[str, str]:
    # Other environments collect this module, too, and do not have it.
    import copier  # noqa: PLC0415  see above

    copier.run_copy(str(TEMPLATE), place, data=answers, defaults=True, quiet=True)
    return files(place)


def commands(project: Path, section: str) -> list[list[str]]:
    """Read what an environment of its tox runs."""
    parser = configparser.ConfigParser()
    parser.read(project / "tox.ini", encoding="utf-8")
    lines = parser[section]["commands"].replace("{posargs}", "").strip().splitlines()
    return [line.split() for line in lines]


@pytest.fixture(scope="module", params=VARIANTS)
def project(request: pytest.FixtureRequest, workshop: Workshop) -> Path:
    """Begin a plugin with the command, and install it."""
    variant = str(request.param)
    name = f"{variant}-sink"
    workshop.run("trireme-collector", "plugins", "new", name, "--variant", variant)
    workshop.install(workshop.base / name)
    return workshop.base / name


def test_it_is_found(workshop: Workshop, project: Path) -> None:
    shown = json.loads(workshop.run("trireme-collector", "plugins", "show", project.name, "--json"))
    assert shown["state"] == "loaded"
    assert shown["distribution"] == f"trireme-collector-{project.name} 0.1.0"
    (collector,) = shown["collectors"]
    assert all(option["help"] for option in collector["options"])


def test_its_options_are_checked(workshop: Workshop, project: Path) -> None:
    config = project / "agent.toml"
    (project / "policy.toml").write_text("version = 1\n", encoding="utf-8")
    wrong = {"simple-sink": "paht = 5", "batched-sink": "urll = 5"}[project.name]
    config.write_text(
        f'[datapath]\npolicy = "policy.toml"\n[collectors.{project.name}]\n{wrong}\n',
        encoding="utf-8",
    )
    said = workshop.run("trireme-collector", "check", "--config", str(config), expect=3)
    meant = {"simple-sink": "path", "batched-sink": "url"}[project.name]
    assert f"agent.toml:4:1: collectors.{project.name}.{wrong.split()[0]}" in said
    assert f"did you mean {meant}?" in said
    config.unlink()
    (project / "policy.toml").unlink()


def test_it_passes_its_own_checks(workshop: Workshop, project: Path) -> None:
    (tests,) = commands(project, "testenv")
    assert " passed" in workshop.run(*tests, "-p", "no:cacheprovider", cwd=project)
    for command in commands(project, "testenv:lint"):
        workshop.tool(*command, "--no-cache", cwd=project)
    ((mypy, *options),) = commands(project, "testenv:type")
    assert (mypy, options) == ("mypy", [])
    workshop.check_types(project)


@pytest.mark.parametrize("variant", VARIANTS)
def test_copier_writes_the_same_files(variant: str, workshop: Workshop, tmp_path: Path) -> None:
    summary, author = "Tells, & more.", "A. U. Thor"
    words = ["--variant", variant, "--summary", summary, "--author", author]
    place = tmp_path / "ours"
    workshop.run("trireme-collector", "plugins", "new", "x-y", *words, "--directory", str(place))
    theirs = write_with_copier(
        tmp_path / "theirs", name="x-y", variant=variant, summary=summary, author=author
    )
    assert without_source(files(place)) == theirs


def test_copier_asks_with_the_same_defaults(workshop: Workshop, tmp_path: Path) -> None:
    place = tmp_path / "ours"
    workshop.run("trireme-collector", "plugins", "new", "z", "--directory", str(place))
    assert without_source(files(place)) == write_with_copier(tmp_path / "theirs", name="z")


def without_source(found: dict[str, str]) -> dict[str, str]:
    """Leave out where this installation came from, which only an installation knows."""
    lines = found["tox.ini"].splitlines(keepends=True)
    kept = [x for x in lines if "trireme-collector @ " not in x and "It was installed" not in x]
    return {**found, "tox.ini": "".join(kept)}


def test_copier_refuses_the_same_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Small letters, digits and single hyphens"):
        write_with_copier(tmp_path / "x", name="My_Sink")
