"""What the packet path is made of, and the core, depends on each other in one direction only."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import trireme_collector
import trireme_datapath

ROOT = Path(trireme_datapath.__file__).parent
CORE = Path(trireme_collector.__file__).parent
# The modules of the packet path, and what they stand on.
PLACES = ("*.py", "backends/*.py", "kernel/**/*.py")


def name_of(path: Path) -> str:
    root = CORE if path.is_relative_to(CORE) else ROOT
    parts = (root.name, *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, known: set[str]) -> set[str]:
    """Give what a module imports of the others, also for type annotations alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return (found & known) - {name_of(path)}


def order_of(paths: dict[str, Path]) -> list[str]:
    """Give modules in an order in which each comes after what it imports."""
    sorter = TopologicalSorter({name: imports(path, set(paths)) for name, path in paths.items()})
    try:
        return list(sorter.static_order())
    except CycleError as error:
        raise AssertionError(f"imported in a circle: {' -> '.join(error.args[1])}") from error


def test_no_module_of_the_packet_path_is_imported_in_a_circle() -> None:
    paths = {name_of(path): path for place in PLACES for path in ROOT.glob(place)}
    assert {"trireme_datapath.engine", "trireme_datapath.backends.netlink"} <= paths.keys()
    order = order_of(paths)
    assert order.index("trireme_datapath.flows") < order.index("trireme_datapath.engine")
    assert order.index("trireme_datapath.engine") < order.index("trireme_datapath.backends.netlink")


def test_no_module_of_the_core_is_imported_in_a_circle() -> None:
    order = order_of({name_of(path): path for path in CORE.rglob("*.py")})
    assert order.index("trireme_collector.delivery") < order.index("trireme_collector.pipeline")
