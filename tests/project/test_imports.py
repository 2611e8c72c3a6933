"""Imports point one way: plugins -> trireme_collector <- trireme_datapath.

Read from the source, so that an import inside a function or for type checkers counts too.
Needs nothing but pytest: the lint environment runs this file alone.
"""

from __future__ import annotations

import ast
import configparser
import functools
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
CORE = "trireme_collector"
DATAPATH = "trireme_datapath"

# pytest loads this one itself, so pytest is there.
PYTEST_PLUGIN = "trireme_collector_pytest"

# Distribution name on the index -> name of the module it installs, where they differ.
MODULES = {
    "grpcio": "grpc",
    "netfilterqueue": "netfilterqueue",
    "protobuf": "google",
}
# Type checkers bring what they know of it along.
TYPES = {"typing_extensions"}


class Import(NamedTuple):
    """One imported module, and where the statement stands."""

    where: str
    module: str
    at_start: bool

    @property
    def top(self) -> str:
        """Name of the top-level package."""
        return self.module.partition(".")[0]


def packages() -> dict[str, Path]:
    found = {CORE: ROOT / CORE, DATAPATH: ROOT / "datapath" / DATAPATH}
    found.update({p.parent.name: p.parent for p in (ROOT / "plugins").glob("*/__init__.py")})
    return found


def is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports_of(path: Path) -> list[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    found: list[Import] = []

    name = path.relative_to(ROOT)

    def visit(node: ast.AST, *, at_start: bool) -> None:
        if isinstance(node, ast.Import):
            where = f"{name}:{node.lineno}"
            found.extend(Import(where, alias.name, at_start) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            where = f"{name}:{node.lineno}"
            assert not node.level, f"{where}: relative import"
            found.append(Import(where, node.module or "", at_start))
        later = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        types = isinstance(node, ast.stmt) and is_for_types(node)
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr):  # no expression holds an import
                visit(child, at_start=at_start and not later and not types)

    visit(tree, at_start=True)
    return found


@functools.cache
def imports_of_package(name: str) -> list[Import]:
    return [found for path in sorted(packages()[name].rglob("*.py")) for found in imports_of(path)]


def requirements() -> tuple[set[str], set[str]]:
    """Read the modules of the core dependencies, and those of every extra."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")

    def modules(lines: str) -> set[str]:
        names = {re.split(r"[^\w.-]", line)[0].lower() for line in lines.split("\n") if line}
        return {MODULES.get(name, name.replace("-", "_")) for name in names}

    extras = parser["options.extras_require"].values()
    return modules(parser["options"]["install_requires"]), set().union(*map(modules, extras))


def allowed(name: str) -> set[str]:
    return {CORE, name}


@pytest.mark.parametrize("name", sorted(packages()))
def test_imports_point_one_way(name: str) -> None:
    wrong = [
        f"{found.where}: {name} imports {found.module}"
        for found in imports_of_package(name)
        if found.top in packages() and found.top not in allowed(name)
    ]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(packages()))
def test_only_declared_dependencies_are_imported(name: str) -> None:
    core, extras = requirements()
    known = core | extras | packages().keys() | set(sys.stdlib_module_names)
    wrong = [
        f"{found.where}: {found.module} is not a dependency"
        for found in imports_of_package(name)
        if found.top not in known and not (found.top in TYPES and not found.at_start)
    ]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(packages()))
def test_an_extra_is_imported_where_it_is_used(name: str) -> None:
    core, extras = requirements()
    wrong = [
        f"{found.where}: {found.module} belongs to an extra, import it inside the function"
        for found in imports_of_package(name)
        if found.top in extras - core
        and found.at_start
        and not is_loaded_later(found.where)
        and (name, found.top) != (PYTEST_PLUGIN, "pytest")
    ]
    assert wrong == []


def is_loaded_later(where: str) -> bool:
    """Tell the modules that need an extra as a whole by their name."""
    return where.rpartition("/")[2].startswith(("_grpc_", "_hypothesis_", "strategies"))


@pytest.mark.parametrize("name", sorted(packages()))
def test_modules_that_need_an_extra_are_imported_where_they_are_used(name: str) -> None:
    wrong = [
        f"{found.where}: {found.module} needs an extra, import it inside the function"
        for found in imports_of_package(name)
        if is_loaded_later(found.module.replace(".", "/"))
        and found.at_start
        and not is_loaded_later(found.where)
    ]
    assert wrong == []


def test_wrong_imports_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import trireme_datapath.engine\n"
        "def f():\n    from trireme_collector_syslog import x\n",
        encoding="utf-8",
    )
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert [(i.module, i.at_start) for i in imports_of(source)] == [
        ("typing", True),
        ("trireme_datapath.engine", False),
        ("trireme_collector_syslog", False),
    ]
