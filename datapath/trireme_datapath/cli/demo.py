"""`trireme-collector demo`: see it work, without configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trireme_collector.cli.output import json_option, print_json
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from trireme_datapath.demo import DemoReport, Screen

__all__ = ["demo"]

_INSIDE = "TRIREME_DEMO_INSIDE"
# Where administrators' programs are; the search path of ordinary users often leaves it out.
_MORE_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")


@click.command()
@click.option(
    "--backend",
    type=click.Choice(["netlink", "nfqueue"]),
    default="netlink",
    show_default=True,
    help="Where packets come from; nfqueue needs the extra of that name.",
)
@click.option(
    "--refuse", is_flag=True, help="Answer rejected clients with a reset or an ICMP error."
)
@click.option("--replay", is_flag=True, help="Replay the bundled capture, without real packets.")
@json_option
@click.pass_context
def demo(ctx: click.Context, backend: str, *, refuse: bool, replay: bool, as_json: bool) -> None:
    """Judge real packets in a small network made for this, and show the records.

    It needs no configuration, and no root where user namespaces work. Everything is removed at
    the end. Where the kernel lacks something, a bundled capture is judged instead.
    """
    import os
    import shutil
    import signal
    import sys

    import msgspec

    from trireme_datapath.cli._logging import configure_logging
    from trireme_datapath.demo import Screen, run_live, run_replayed

    color = sys.stdout.isatty() if ctx.color is None else ctx.color
    configure_logging(as_json=as_json, color=color, quiet=True)
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *_MORE_PATH])
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    screen = Screen(color=color, quiet=as_json, columns=columns)
    missing = ["it was asked for with --replay"] if replay else _means(ctx)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # it tidies up, too
    try:
        if missing:
            report = run_replayed(screen, missing)
        else:
            report = run_live(screen, backend=backend, refuse=refuse)
    finally:
        signal.signal(signal.SIGTERM, before)
    if as_json:
        print_json({"demo": msgspec.to_builtins(report), "as_expected": report.as_expected})
    else:
        _conclude(screen, report)
    if not report.as_expected:
        ctx.exit(ExitCode.FAILURE)


def _means(ctx: click.Context) -> list[str]:
    """Say what is missing; without capabilities, begin again as root of a user namespace."""
    import os
    import subprocess
    import sys

    from trireme_datapath.kernel.namespaces import (
        in_user_namespace,
        may_make_networks,
        missing_means,
    )

    if may_make_networks() or os.environ.get(_INSIDE):
        return missing_means()
    try:
        tried = subprocess.run(  # noqa: S603  unshare, as the administrator's path has it
            in_user_namespace(["true"]),
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        return [f"root or a user namespace is needed, and unshare does not run ({error.strerror})"]
    if tried.returncode:
        why = tried.stderr.strip() or "unshare failed"
        return [f"root or a user namespace is needed, and user namespaces do not work ({why})"]
    # The same interpreter and the same words; -P keeps the working directory out of imports.
    code = "import sys; from trireme_collector.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-P", "-c", code, *_root_words(ctx), "demo", *_words(ctx)]
    command = in_user_namespace(words)
    sys.stdout.flush()
    environment = {**os.environ, _INSIDE: "1"}
    return os.execvpe(command[0], command, environment)  # noqa: S606  no shell is wanted


def _root_words(ctx: click.Context) -> list[str]:
    asked = ctx.find_root().color
    return [] if asked is None else ["--color", "always" if asked else "never"]


def _words(ctx: click.Context) -> list[str]:
    words = ["--backend", str(ctx.params["backend"])]
    flags = {"refuse": "--refuse", "replay": "--replay", "as_json": "--json"}
    return words + [flag for name, flag in flags.items() if ctx.params[name]]


def _conclude(screen: Screen, report: DemoReport) -> None:
    """Show where the records went, and what comes next."""
    from trireme_collector.records import FlowRecord

    rejected = sum(
        isinstance(record, FlowRecord) and record.action.rejected for record in report.records
    )
    records = len(report.records)
    screen.say()
    screen.say(f"{records} flows: {records - rejected} accepted, {rejected} rejected.", bold=True)
    lost = f"{report.packets_judged} packets judged, {report.kernel_dropped} lost"
    if report.attempts:
        agreed = sum(result.as_expected for result in report.attempts)
        screen.say(f"{lost}; {agreed} of {len(report.attempts)} clients saw what the policy says.")
    screen.say(f"\nThe collector file wrote {len(report.file_lines)} lines, of which the last:\n")
    screen.quote(report.file_lines[-1:])
    count = len(report.syslog_messages)
    screen.say(f"\nThe collector syslog sent {count} messages to a socket, of which the last:\n")
    screen.quote(report.syslog_messages[-1:])
    screen.say(
        "\nNext: ask why port 22 was rejected:\n"
        f"  {_program()} policy explain {report.policy}"
        " --src 192.0.2.10 --dst 198.51.100.20 --proto tcp --port 22",
    )


def _program() -> str:
    """Give the program as it can be typed here: its environment may not be active."""
    import shutil
    import sys
    from pathlib import Path

    name = "trireme-collector"
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if not beside.exists() or (found and beside.samefile(found)):
        return name
    here = Path.cwd()
    return str(beside.relative_to(here)) if beside.is_relative_to(here) else str(beside)
