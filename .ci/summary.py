"""Add up the JUnit reports of several test runs: one closing line, one exit status."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from xml.etree import ElementTree


def add_up(reports: list[Path]) -> tuple[int, int, int]:
    """Count the tests in JUnit reports.

    Returns:
        How many passed, failed and were skipped.
    """
    passed = failed = skipped = 0
    for report in reports:
        # The reports were written a moment ago by our own test runs.
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):  # noqa: S314  # see above
            bad = int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
            out = int(suite.get("skipped", "0"))
            failed += bad
            skipped += out
            passed += int(suite.get("tests", "0")) - bad - out
    return passed, failed, skipped


def main() -> int:
    """Print the sum; fail when a test failed, a run did, or nothing ran."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", nargs="*", type=Path)
    parser.add_argument("--status", type=int, default=0, help="the exit status of the runs")
    arguments = parser.parse_args()
    passed, failed, skipped = add_up([path for path in arguments.reports if path.exists()])
    if arguments.status and not failed:
        print("A check outside of the tests failed: see above.")
        failed = 1
    if not passed and not failed:
        print("No test ran.")
        failed = 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return arguments.status or int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
