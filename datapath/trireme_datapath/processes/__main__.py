"""A child of the supervisor: ``python -I -m trireme_datapath.processes ROLE DESCRIPTOR``."""

from __future__ import annotations

import sys

from trireme_collector.exit_codes import ExitCode


def main(words: list[str]) -> ExitCode:
    """Be what the supervisor wants."""
    if len(words) != 4 or not words[1].isdecimal():
        print("this is started by trireme-collector run", file=sys.stderr)  # noqa: T201  there is no log
        return ExitCode.USAGE
    role, descriptor = words[0], int(words[1])
    from trireme_datapath.cli._logging import configure_logging  # noqa: PLC0415  after the usage

    configure_logging(as_json=words[2] == "json", color=words[3] == "color")
    if role == "enforcer":
        from trireme_datapath.processes._enforcer import run_enforcer  # noqa: PLC0415  one of both

        return run_enforcer(descriptor)
    from trireme_datapath.processes._collector import run_collector  # noqa: PLC0415  one of both

    return run_collector(descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
