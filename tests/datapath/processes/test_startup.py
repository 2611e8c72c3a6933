"""An enforcer loads a backend and an engine: no plugin, no command line, no configuration."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import trireme_datapath.processes._enforcer, trireme_datapath.processes._follow
print("\\n".join(sys.modules))
"""
FOREIGN = ("trireme_datapath.agent", "trireme_datapath.cli", "trireme_collector.cli", "click")


def test_an_enforcer_loads_nothing_that_it_does_not_need() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", CODE], capture_output=True, text=True, check=True
    )
    modules = done.stdout.split()
    assert "trireme_datapath.engine" in modules
    assert [name for name in modules if name.startswith(("trireme_collector_", *FOREIGN))] == []
