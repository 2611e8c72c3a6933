"""A module exports what it says, all of it, in order."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = (ROOT, ROOT / "datapath", ROOT / "plugins")
# Names that every module has because of how it is written, not because it offers them.
INCIDENTAL = {"TYPE_CHECKING", "annotations"}


def public_modules() -> list[str]:
    names = []
    for source_root in SOURCE_ROOTS:
        for directory in source_root.glob("trireme_*"):
            for path in directory.rglob("*.py"):
                parts = path.relative_to(source_root).with_suffix("").parts
                parts = parts[:-1] if parts[-1] == "__init__" else parts
                if not any(part.startswith("_") for part in parts):
                    names.append(".".join(parts))
    return sorted(names)


def modules_with_exports() -> list[str]:
    return [name for name in public_modules() if hasattr(importlib.import_module(name), "__all__")]


def in_order(name: str) -> tuple[int, str]:
    """Order constants, then classes, then the rest, as ruff does."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name


def offered(module: ModuleType) -> set[str]:
    """List the public names that are a module's own, or, for a package, its distribution's."""
    is_package = hasattr(module, "__path__")
    names = set()
    for name in dir(module):
        value = getattr(module, name)
        if name.startswith("_") or name in INCIDENTAL or isinstance(value, (ModuleType, TypeVar)):
            continue
        home = str(getattr(value, "__module__", None) or "")
        own = home.partition(".")[0] == module.__name__.partition(".")[0] or not home
        if own if is_package else home == module.__name__:
            names.add(name)
    return names


@pytest.mark.parametrize("name", public_modules())
def test_a_public_module_with_public_names_says_which(name: str) -> None:
    module = importlib.import_module(name)
    assert hasattr(module, "__all__") or not offered(module)


@pytest.mark.parametrize("name", modules_with_exports())
def test_exported_names_are_the_public_names(name: str) -> None:
    module = importlib.import_module(name)
    exported = list(module.__all__)
    assert len(exported) == len(set(exported)), "a name is exported twice"
    assert [n for n in exported if not hasattr(module, n)] == [], "exported, but not there"
    assert offered(module) - set(exported) == set(), "public, but not exported"


@pytest.mark.parametrize("name", modules_with_exports())
def test_exported_names_are_sorted(name: str) -> None:
    exported = list(importlib.import_module(name).__all__)
    assert exported == sorted(exported, key=in_order)
