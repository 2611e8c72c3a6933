"""How long an import and the shortest commands take, as whole processes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.figures import interleave, show

RUNS = 11
IMPORT_SECONDS = 0.100
COMMAND_SECONDS = 0.150


def _seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def run() -> bool:
    """Time the interpreter alone, the import, ``--version`` and ``--help``."""
    program = str(Path(sys.executable).with_name("trireme-collector"))
    figures = interleave(
        RUNS,
        {
            "python -c pass": lambda: _seconds([sys.executable, "-c", "pass"]),
            "import": lambda: _seconds([sys.executable, "-c", "import trireme_collector"]),
            "--version": lambda: _seconds([program, "--version"]),
            "--help": lambda: _seconds([program, "--help"]),
        },
    )
    bare = show("python -c pass", figures["python -c pass"], "s")
    imported = show("python -c 'import trireme_collector'", figures["import"], "s")
    version = show("trireme-collector --version", figures["--version"], "s")
    helped = show("trireme-collector --help", figures["--help"], "s")
    print(f"  the import itself takes {(imported - bare) * 1000:.0f} ms (target 100),")
    print(f"  --version {version * 1000:.0f} ms and --help {helped * 1000:.0f} ms (target 150)")
    return (
        imported - bare <= IMPORT_SECONDS
        and version <= COMMAND_SECONDS
        and helped <= COMMAND_SECONDS
    )
