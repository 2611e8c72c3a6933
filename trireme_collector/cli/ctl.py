"""`trireme-collector ctl`: steer a running agent over its control socket."""

from __future__ import annotations

import click

from trireme_collector.cli._control_options import client_of, socket_option, timeout_option
from trireme_collector.cli._ctl_observe import observe
from trireme_collector.cli._ctl_ping import ping
from trireme_collector.cli._ctl_trace import trace
from trireme_collector.cli._ctl_units import unit, user
from trireme_collector.cli.output import json_option, print_json, printable
from trireme_collector.cli.status import status
from trireme_collector.exit_codes import ExitCode

__all__ = ["ctl"]

_MARGIN_SECONDS = 35.0  # closing collectors and removing rules takes its time after the deadline


@click.group()
def ctl() -> None:
    """Steer a running agent; its control socket says who may."""


ctl.add_command(status)
ctl.add_command(observe)
ctl.add_command(ping)
ctl.add_command(trace)
ctl.add_command(unit)
ctl.add_command(user)


@ctl.command()
@socket_option
@timeout_option
@json_option
def reload(socket_path: str, timeout_seconds: float, *, as_json: bool) -> None:
    """Have the agent reopen its outputs and read its configuration and policy again.

    If one of the files has mistakes, all of them are listed and everything stays as it is.
    """
    import msgspec

    from trireme_collector.control import ReloadResult

    client = client_of(socket_path, timeout_seconds)
    raw = client.call_raw("reload")
    result = client.read(raw, ReloadResult)
    if as_json:
        print_json(msgspec.json.decode(raw, type=dict[str, object]))
        return
    if not result.revision:  # an agent that judges nothing has no policy
        click.echo("the outputs were opened anew")
    elif result.changed:
        before, now = printable(result.revision_before), printable(result.revision)
        click.echo(f"policy revision {before} -> {now}  {printable(result.policy_file)}")
    else:
        click.echo(f"policy revision {printable(result.revision)} as before")
    if result.restart_needed:
        keys = ", ".join(printable(key) for key in result.restart_needed)
        click.echo(f"differs, and needs a restart: {keys}")


@ctl.command()
@socket_option
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=1),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for all processes.",
)
@json_option
def restart(socket_path: str, timeout_seconds: float, *, as_json: bool) -> None:
    """Have every process of the agent make room for one that runs the program as installed now.

    No packet is lost, and none passes unjudged. An agent that is one process cannot do it.
    """
    import msgspec

    from trireme_collector.control import RestartResult

    client = client_of(socket_path, timeout_seconds)
    raw = client.call_raw("restart")
    result = client.read(raw, RestartResult)
    if as_json:
        print_json(msgspec.json.decode(raw, type=dict[str, object]))
        return
    click.echo(
        f"enforcers exchanged: {result.enforcers}; packets waited {result.longest_pause_ms:g} ms"
        f" at most; version {printable(result.program_version)}"
    )


@ctl.command()
@click.option(
    "--deadline",
    "deadline_seconds",
    type=click.FloatRange(min=0, max=3600),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long records that wait are still delivered.",
)
@socket_option
@json_option
@click.pass_context
def drain(ctx: click.Context, deadline_seconds: float, socket_path: str, *, as_json: bool) -> None:
    """Have the agent take no more packets, deliver what waits, say what is left, and end.

    Exit code 8 if records are lost: they were not delivered, and do not wait on disk. The kernel
    rules stay unless the configuration says otherwise: without an agent, their packets are
    dropped.
    """
    import msgspec

    from trireme_collector.cli._status_text import account_lines
    from trireme_collector.control import DrainArguments, DrainResult

    client = client_of(socket_path, deadline_seconds + _MARGIN_SECONDS)
    raw = client.call_raw("drain", DrainArguments(deadline_seconds=deadline_seconds))
    result = client.read(raw, DrainResult)
    lost = result.undelivered - result.spooled
    if as_json:
        print_json(msgspec.json.decode(raw, type=dict[str, object]))
    else:
        word = "everything was delivered" if result.complete else "records are left"
        click.echo(
            f"the agent ends: {word}; on disk for the next start: {result.spooled}, lost: {lost}"
        )
        for name in result.stuck:
            click.echo(f"  {printable(name)} did not come back before the deadline")
        if result.rules_in_place:
            click.echo("  the kernel rules stay: their packets are dropped until an agent runs")
        click.echo("\n".join(account_lines(result.status.collectors)))
    ctx.exit(ExitCode.OUTPUT if lost else ExitCode.OK)
