"""Run the benchmarks that are named, or all."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys

NAMES = (
    "startup",
    "decision",
    "filters",
    "formats",
    "syslog",
    "kafka",
    "pipeline",
    "spool",
    "collectors",
    "outage",
    "packet_path",
    "connections",
    "syn_flood",
    "round_trips",
    "many_flows",
    "soak",
    "bulk",
    "conntrack",
    "processes",
    "monitor",
    "observer",
    "netobserv",
    "groups",
    "recorder",
)


def main() -> int:
    """Run them in order; 1 when a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument(
        "--full", action="store_true", help="measure with as much data as the targets are of"
    )
    arguments = parser.parse_args()
    names = arguments.names or NAMES
    if arguments.full:
        os.environ["BENCH_FULL"] = "1"
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    print(f"Python {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} CPUs")
    missed = 0
    for name in names:
        print(f"{name}:", flush=True)
        missed += not importlib.import_module(f"bench.{name}").run()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
