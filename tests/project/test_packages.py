"""Packages on disk, packages in setup.cfg and packages in the wheel are the same packages."""

from __future__ import annotations

import configparser
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import trireme_collector

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = (ROOT, ROOT / "datapath", ROOT / "plugins")
DATA = re.compile(r"\.(dist-info|data)/")
DATA_SUFFIXES = {".jinja", ".json", ".pcap", ".pyi", ".toml", ".yml"}


def configuration() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def directories() -> dict[str, Path]:
    """Map each top-level package to its directory."""
    return {
        init.parent.name: init.parent
        for source_root in SOURCE_ROOTS
        for init in source_root.glob("trireme_*/__init__.py")
    }


def packages_on_disk() -> set[str]:
    return {
        ".".join((name, *init.parent.relative_to(directory).parts))
        for name, directory in directories().items()
        for init in directory.rglob("__init__.py")
    }


def is_leftover(path: Path) -> bool:
    """Tell what an interpreter or a checker left behind."""
    return any(part == "__pycache__" or part.startswith(".") for part in path.parts)


def files_on_disk() -> set[str]:
    """List every file that belongs into the wheel, as the wheel names it."""
    return {
        f"{name}/{path.relative_to(directory).as_posix()}"
        for name, directory in directories().items()
        for path in directory.rglob("*")
        if path.is_file() and not is_leftover(path.relative_to(directory))
    }


# What the build reads beside the packages.
BUILD_FILES = ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "packaging")
BUILD = """
import sys
sys.path.insert(0, "packaging/build")
import reproducible_build
print(getattr(reproducible_build, "build_" + sys.argv[1])("dist"))
"""


def copy_tree(base: Path) -> Path:
    """Copy what the build reads: leftovers of an earlier build cannot reach it."""
    base.mkdir(exist_ok=True)
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    for name in BUILD_FILES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, base / name, ignore=ignore, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, base / name)
    for directory in directories().values():
        target = base / directory.relative_to(ROOT)
        shutil.copytree(directory, target, ignore=ignore, copy_function=shutil.copyfile)
    return base


def build(base: Path, kind: str, umask: int = 0o022) -> Path:
    """Build as an installer does, and return the archive."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD, kind],
        cwd=base,
        capture_output=True,
        text=True,
        check=False,
        umask=umask,
        env={key: value for key, value in os.environ.items() if key != "SOURCE_DATE_EPOCH"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return base / "dist" / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def wheel(tree: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(build(tree, "wheel"))


@pytest.fixture(scope="module")
def archive(tree: Path) -> Path:
    return build(tree, "sdist")


@pytest.mark.xdist_group("wheel")
def test_source_archives_have_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    """Built elsewhere, out of files with other times that are for their owner alone."""
    base = copy_tree(tmp_path / "with a space")
    for path in base.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    other = build(base, "sdist", umask=0o077)
    assert other.name == archive.name
    assert other.read_bytes() == archive.read_bytes()


@pytest.mark.xdist_group("wheel")
def test_wheels_have_the_same_bytes(archive: Path, wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Built from the tree, and elsewhere from the source archive."""
    subprocess.run(["tar", "-xf", archive, "-C", tmp_path], check=True)
    (unpacked,) = tmp_path.iterdir()
    other = build(unpacked, "wheel", umask=0o077)
    assert other.read_bytes() == Path(wheel.filename or "").read_bytes()


def test_the_source_roots_hold_packages() -> None:
    assert {"trireme_collector", "trireme_datapath"} <= directories().keys()


def test_setup_cfg_names_every_package_on_disk() -> None:
    listed = configuration()["options"]["packages"].split()
    assert len(listed) == len(set(listed)), "a package is listed twice"
    assert set(listed) == packages_on_disk()


def test_setup_cfg_finds_every_top_level_package() -> None:
    lines = configuration()["options"]["package_dir"].strip().splitlines()
    mapping = {name.strip(): where.strip() for name, _, where in (x.partition("=") for x in lines)}
    assert mapping == {
        name: directory.relative_to(ROOT).as_posix() for name, directory in directories().items()
    }


def test_every_module_lies_in_a_package() -> None:
    strays = [
        path.relative_to(ROOT).as_posix()
        for directory in directories().values()
        for path in directory.rglob("*.py")
        if not (path.parent / "__init__.py").exists()
    ]
    assert strays == []


def test_every_distributed_package_says_that_it_is_typed() -> None:
    assert [
        n for n, directory in directories().items() if not (directory / "py.typed").exists()
    ] == []


@pytest.mark.xdist_group("wheel")
def test_the_wheel_holds_what_is_on_disk(wheel: zipfile.ZipFile) -> None:
    shipped = {name for name in wheel.namelist() if not DATA.search(name)}
    assert shipped == files_on_disk()


@pytest.mark.xdist_group("wheel")
def test_the_wheel_brings_what_man_systemd_and_the_shells_read(wheel: zipfile.ZipFile) -> None:
    data = [n.partition(".data/data/share/")[2] for n in wheel.namelist() if ".data/" in n]
    man = [name for name in data if name.startswith("man/man1/")]
    assert len(man) == len(list((ROOT / "packaging" / "man").glob("*.1"))) > 10
    assert sorted(set(data) - set(man)) == [
        "bash-completion/completions/trireme-collector",
        "fish/vendor_completions.d/trireme-collector.fish",
        "trireme-collector/trireme-collector.service",
        "trireme-collector/trireme-recorder.service",
        "zsh/site-functions/_trireme-collector",
    ]


@pytest.mark.xdist_group("wheel")
def test_the_wheel_carries_the_licence_and_the_metadata(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    text = wheel.read(metadata).decode()
    assert "\nLicense-Expression: Apache-2.0\n" in text
    assert "\nRequires-Python: >=3.11\n" in text
    assert any(n.endswith("/LICENSE") for n in wheel.namelist())


def test_no_other_kind_of_file_hides_in_a_package() -> None:
    kinds = {Path(name).suffix for name in files_on_disk() if not name.endswith("/py.typed")}
    assert kinds <= DATA_SUFFIXES | {".py"}


def entry_points() -> list[importlib.metadata.EntryPoint]:
    found = []
    for group, lines in configuration()["options.entry_points"].items():
        for line in lines.strip().splitlines():
            name, _, value = (part.strip() for part in line.partition("="))
            found.append(importlib.metadata.EntryPoint(name=name, value=value, group=group))
    return found


@pytest.mark.parametrize("entry_point", entry_points(), ids=lambda e: f"{e.group}:{e.name}")
def test_every_entry_point_loads(entry_point: importlib.metadata.EntryPoint) -> None:
    assert entry_point.load() is not None


def test_entry_points_are_sorted_within_their_group() -> None:
    names = [(entry_point.group, entry_point.name) for entry_point in entry_points()]
    groups = list(configuration()["options.entry_points"])
    assert names == sorted(names, key=lambda pair: (groups.index(pair[0]), pair[1]))


def test_the_version_is_the_one_installed() -> None:
    installed = importlib.metadata.version("trireme-collector")
    assert installed == configuration()["metadata"]["version"]
    assert trireme_collector.__version__ == installed


@pytest.mark.parametrize("name", sorted(directories()))
def test_what_is_tested_is_what_was_meant(name: str) -> None:
    """The tree while developing; in the `pkg` environment the installed wheel, never the tree."""
    where = Path(importlib.import_module(name).__file__ or "")
    from_tree = where.is_relative_to(directories()[name])
    assert from_tree is ("TRIREME_TEST_INSTALLED" not in os.environ), where
