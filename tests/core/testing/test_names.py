"""Everything of the kit is found in one place, whoever has it, and type checkers are told so."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import trireme_collector.testing as kit
import trireme_datapath.testing as datapath_kit
import trireme_datapath.testing.strategies as datapath_strategies
from trireme_collector.testing import strategies

if TYPE_CHECKING:
    from types import ModuleType

GROUP = "trireme_collector.testing"
# Numbers and a type alias say nothing of where they come from: they are found at home only.
AT_HOME_ONLY = {"SECOND_NS", "START_NS", "PolicySource"}


def entry_points(prefix: str = "") -> dict[str, importlib.metadata.EntryPoint]:
    own = importlib.metadata.distribution("trireme-collector").entry_points
    names = {point.name: point for point in own if point.group == GROUP}
    return {
        name.removeprefix(prefix): point
        for name, point in names.items()
        if name.startswith(prefix) and "." not in name.removeprefix(prefix)
    }


def stub(module: ModuleType) -> dict[str, str]:
    """Map each name in a stub to the module that it comes from."""
    tree = ast.parse(Path(str(module.__file__)).with_suffix(".pyi").read_text(encoding="utf-8"))
    return {
        alias.asname: node.module or ""
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("module", "home", "prefix"),
    [(kit, datapath_kit, ""), (strategies, datapath_strategies, "strategies.")],
    ids=["kit", "strategies"],
)
def test_the_names_of_the_datapath_are_found_here(
    module: ModuleType, home: ModuleType, prefix: str
) -> None:
    points = entry_points(prefix)
    assert points.keys() == set(home.__all__) - AT_HOME_ONLY
    for name, point in points.items():
        assert getattr(module, name) is getattr(home, name)
        assert point.value == f"{home.__name__}:{name}"
    assert points.keys() <= set(dir(module))


@pytest.mark.parametrize(
    ("module", "prefix"), [(kit, ""), (strategies, "strategies.")], ids=["kit", "strategies"]
)
def test_type_checkers_are_told_what_is_there(module: ModuleType, prefix: str) -> None:
    told = stub(module)
    told.pop("strategies", None)
    assert told.keys() == set(module.__all__) | entry_points(prefix).keys()
    for name, home in told.items():
        found = getattr(module, name)
        assert getattr(__import__(home, fromlist=[name]), name) is found


def test_a_name_that_nobody_has_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'trireme_collector.testing' has no attribute 'Mok'"):
        getattr(kit, "Mok")  # noqa: B009  type checkers know that it is not there
    assert not hasattr(kit, "__wrapped__")
    assert not hasattr(strategies, "Nothing")


def test_the_datapath_is_loaded_when_it_is_asked_for() -> None:
    code = """
import sys, trireme_collector.testing as kit
print({"pytest", "hypothesis", "trireme_datapath", "structlog"} & set(sys.modules))
kit.FakeQueue
print({"pytest", "hypothesis", "trireme_datapath"} & set(sys.modules))
"""
    assert run(code).splitlines() == ["set()", "{'trireme_datapath'}"]


def test_nothing_else_in_the_group_replaces_ours(tmp_path: Path) -> None:
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text(
        f"[{GROUP}]\nFakeQueue = other_kit:thing\nOther = other_kit:thing\n", "utf-8"
    )
    (tmp_path / "other_kit.py").write_text("thing = 'theirs'\n", "utf-8")
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import trireme_collector.testing as kit
print(kit.FakeQueue.__module__, kit.Other)
"""
    assert run(code) == "trireme_datapath.testing._queue theirs"
