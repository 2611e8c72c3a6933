"""The way to find units ``host``, on directories that look as the kernel's do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from trireme_collector import DiscoveredUnit
from trireme_collector.registry import Registry
from trireme_collector_host import HostDiscoverer, HostOptions

if TYPE_CHECKING:
    from pathlib import Path


def discoverer(root: Path, *cgroups: str) -> HostDiscoverer:
    options = HostOptions(
        namespace_directories=[str(root / "netns"), str(root / "docker"), str(root / "missing")],
        cgroups=list(cgroups),
        cgroup_root=str(root / "cgroup"),
    )
    return HostDiscoverer(options)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("netns", "docker"):
        (tmp_path / name).mkdir()
    for group in (
        "system.slice/web.service",
        "machine.slice/a.scope/inner",
        "machine.slice/b.scope",
    ):
        (tmp_path / "cgroup" / group).mkdir(parents=True)
    (tmp_path / "cgroup" / "cgroup.procs").touch()
    return tmp_path


def test_named_namespaces_are_units(root: Path) -> None:
    (root / "netns" / "web").touch()
    (root / "docker" / "1234").touch()
    (root / "docker" / "default").mkdir()
    number = (root / "netns" / "web").stat().st_ino
    first, second = discoverer(root).poll()
    assert first == DiscoveredUnit(
        context_id="netns:web", tags=("netns=web", f"netns-inode={number}")
    )
    assert second.context_id == "netns:1234"


def test_a_name_in_two_directories_is_the_first(root: Path) -> None:
    for directory in ("netns", "docker"):
        (root / directory / "same").touch()
    assert len(discoverer(root).poll()) == 1


@pytest.mark.parametrize(
    ("patterns", "paths"),
    [
        (["system.slice/*.service"], ["system.slice/web.service"]),
        (["/machine.slice/*/"], ["machine.slice/a.scope", "machine.slice/b.scope"]),
        (["machine.slice/*/*"], ["machine.slice/a.scope/inner"]),
        (["*.slice"], ["machine.slice", "system.slice"]),
        (["*", "system.slice"], ["machine.slice", "system.slice"]),
        (["none/*"], []),
        (["/".join("*" * 17)], []),
    ],
)
def test_control_groups_that_match_are_units(
    root: Path, patterns: list[str], paths: list[str]
) -> None:
    found = discoverer(root, *patterns).poll()
    assert [one.context_id for one in found] == [f"cgroup:{path}" for path in paths]
    assert [one.tags for one in found] == [(f"cgroup={path}",) for path in paths]
    assert [one.cgroups for one in found] == [(path,) for path in paths]


def test_without_control_groups_it_says_so(root: Path) -> None:
    options = HostOptions(cgroups=["*"], cgroup_root=str(root / "missing"))
    with pytest.raises(FileNotFoundError):
        HostDiscoverer(options).poll()


def test_it_is_offered() -> None:
    spec = Registry().discoverer_spec("host")
    assert spec.config_type is HostOptions
    made = spec.factory(msgspec.convert({"cgroups": ["*"]}, spec.config_type))
    assert isinstance(made, HostDiscoverer)
