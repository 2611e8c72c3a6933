"""Modules depend on each other in one direction; on the packet path, even for types alone."""

from __future__ import annotations

import ast
from collections import deque
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import trireme_datapath
from tests.project.test_imports import DATAPATH, is_for_types, packages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(trireme_datapath.__file__).parent
# The modules of the packet path, and what they stand on.
PLACES = ("*.py", "backends/*.py", "kernel/**/*.py")


def name_of(path: Path, root: Path) -> str:
    parts = (root.name, *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def nodes_of(path: Path, *, for_types: bool) -> Iterator[ast.AST]:
    """Give what a module consists of, with or without what only type checkers read."""
    waiting: deque[ast.AST] = deque([ast.parse(path.read_text(encoding="utf-8"))])
    while waiting:
        node = waiting.popleft()
        yield node
        if isinstance(node, ast.If) and is_for_types(node) and not for_types:
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def imports(path: Path, known: set[str], *, for_types: bool) -> set[str]:
    """Give what a module imports of the others, also inside of functions."""
    found = set()
    for node in nodes_of(path, for_types=for_types):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found & known


def in_order(paths: Mapping[str, Path], *, for_types: bool) -> list[str]:
    """Put each module behind those that it imports."""
    known = set(paths)
    graph = {name: imports(at, known, for_types=for_types) - {name} for name, at in paths.items()}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(f"imported in a circle: {' -> '.join(error.args[1])}") from error


def test_no_module_of_the_packet_path_is_imported_in_a_circle() -> None:
    paths = {name_of(path, ROOT): path for place in PLACES for path in ROOT.glob(place)}
    assert {"trireme_datapath.engine", "trireme_datapath.backends.netlink"} <= paths.keys()
    order = in_order(paths, for_types=True)
    assert order.index("trireme_datapath.flows") < order.index("trireme_datapath.engine")
    assert order.index("trireme_datapath.engine") < order.index("trireme_datapath.backends.netlink")


@pytest.mark.parametrize("package", packages())
def test_no_module_needs_one_that_needs_it(package: str) -> None:
    root = packages()[package]
    paths = {name_of(path, root): path for path in root.rglob("*.py")}
    order = in_order(paths, for_types=False)
    assert package in order
    if package == DATAPATH:
        assert order.index("trireme_datapath.policy.flow_policy") < order.index(
            "trireme_datapath.policy.rule_table"
        )


def test_a_circle_is_found(tmp_path: Path) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text("if TYPE_CHECKING:\n    import second\nelse:\n    import json\n")
    second.write_text("def late():\n    from first import something\n")
    paths = {"first": first, "second": second}
    assert in_order(paths, for_types=False) == ["first", "second"]
    with pytest.raises(AssertionError, match="imported in a circle: "):
        in_order(paths, for_types=True)
