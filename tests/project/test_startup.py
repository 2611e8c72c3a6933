"""Importing the library is cheap: what it does not need yet is not loaded."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Each of these costs milliseconds that a command like `--version` would pay for nothing.
HEAVY = {"asyncio", "click", "ctypes", "http", "ssl", "structlog", "unittest"}
PROJECT = ("trireme_datapath", "trireme_collector_")


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; before = set(sys.modules); {statement}; import json; "
    code += "print(json.dumps(sorted(set(sys.modules) - before)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def modules() -> set[str]:
    return loaded_by("import trireme_collector")


def test_no_plugin_and_no_datapath_is_loaded(modules: set[str]) -> None:
    assert [name for name in modules if name.startswith(PROJECT)] == []


def test_what_is_heavy_and_not_needed_is_not_loaded(modules: set[str]) -> None:
    assert HEAVY & modules == set()
