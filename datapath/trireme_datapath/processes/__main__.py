"""The processes of an agent: ``python -I -m trireme_datapath.processes ROLE WHAT LOG COLOR``."""

from __future__ import annotations

import sys

from trireme_collector.exit_codes import ExitCode


def main(words: list[str]) -> int:
    """Be what the supervisor wants, or the supervisor itself after a planned restart."""
    if len(words) != 4:
        print("this is started by trireme-collector run", file=sys.stderr)  # noqa: T201  there is no log
        return ExitCode.USAGE
    role, what, *log = words
    from trireme_datapath.cli._logging import configure_logging  # noqa: PLC0415  after the usage

    configure_logging(as_json=log[0] == "json", color=log[1] == "color")
    if role == "enforcer":
        from trireme_datapath.processes._enforcer import run_enforcer  # noqa: PLC0415  one of them

        return run_enforcer(int(what))
    if role == "collector":
        from trireme_datapath.processes._collector import run_collector  # noqa: PLC0415  as above

        return run_collector(int(what))
    from trireme_datapath.processes._resume import probe, resume  # noqa: PLC0415  as above

    return resume(int(what)) if role == "resume" else probe(what)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
