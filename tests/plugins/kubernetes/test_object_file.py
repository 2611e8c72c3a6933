"""A file names what stands behind addresses and networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trireme_collector import ConfigError, Registry
from trireme_collector.netobserv import KubernetesObject, ObjectLookup
from trireme_collector_kubernetes import ObjectFile, ObjectFileOptions

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
[[object]]
addresses = ["192.0.2.1", "2001:db8::1"]
name = "web-1"
type = "Pod"
namespace = "shop"
owner_name = "web"

[[object]]
addresses = ["192.0.2.0/24", "2001:db8::/32"]
name = "edge"
type = "Node"

[[object]]
addresses = ["192.0.2.0/28"]
name = "core"
type = "Node"
"""


def load(directory: Path, text: str) -> ObjectFile:
    path = directory / "objects.toml"
    path.write_text(text, encoding="utf-8")
    return ObjectFile.load(ObjectFileOptions(path=str(path)))


def test_the_smallest_network_wins(tmp_path: Path) -> None:
    found = load(tmp_path, GOOD)
    assert isinstance(found, ObjectLookup)
    assert found.find("192.0.2.1") == found.find("2001:db8::1")
    assert found.find("192.0.2.1") == KubernetesObject(
        name="web-1", type="Pod", namespace="shop", owner_name="web"
    )
    names = [getattr(found.find(f"192.0.2.{n}"), "name", None) for n in (2, 15, 16, 255)]
    assert names == ["core", "core", "edge", "edge"]
    assert getattr(found.find("2001:db8:ffff::1"), "name", None) == "edge"


@pytest.mark.parametrize("address", ["192.0.3.1", "2001:db9::1", "", "web", "192.0.2", "::"])
def test_what_nobody_knows(tmp_path: Path, address: str) -> None:
    assert load(tmp_path, GOOD).find(address) is None


def test_an_empty_file(tmp_path: Path) -> None:
    assert load(tmp_path, "").find("192.0.2.1") is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[[object]]\naddresses = ["192.0.2.1/24"]\nname = "a"\ntype = "Pod"', "host bits"),
        ('[[object]]\naddresses = ["host"]\nname = "a"\ntype = "Pod"', "an address or a network"),
        ('[[object]]\naddresses = []\nname = "a"', "type"),
        ("[[objects]]", "object"),
        ("x", "objects.toml:1"),
    ],
)
def test_mistakes_have_their_place(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(tmp_path, text)


def test_it_is_installed() -> None:
    spec = Registry().enricher_spec("kubernetes-file")
    assert spec.config_type is ObjectFileOptions
