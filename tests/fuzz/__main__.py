"""Run every fuzz target of this folder: ``python -m tests.fuzz --seconds 60``."""

from __future__ import annotations

import sys

from tests.fuzz.harness import all_targets, main

if __name__ == "__main__":
    sys.exit(main(all_targets()))
