"""`trireme-collector ctl`: steer a running agent over its control socket."""

from __future__ import annotations

import click

from trireme_collector.cli._control_options import client_of, socket_option
from trireme_collector.cli._ctl_observe import observe
from trireme_collector.cli._ctl_ping import ping
from trireme_collector.cli._ctl_trace import trace
from trireme_collector.cli._ctl_units import unit, user
from trireme_collector.cli._group import PROGRAM, CommandGroup, refuse_unknown
from trireme_collector.cli.output import json_option, print_json, printable
from trireme_collector.cli.status import status
from trireme_collector.exit_codes import ExitCode

__all__ = ["ctl"]

_RECORD = "record"
_MARGIN_SECONDS = 35.0  # closing collectors and removing rules takes its time after the deadline


class _Steering(click.Group):
    """A group in which ``record`` is that of the whole program, which the datapath brings."""

    @property
    def _program(self) -> CommandGroup:
        return CommandGroup(PROGRAM)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands."""
        own = super().list_commands(ctx)
        return sorted([*own, _RECORD]) if _RECORD in self._program.found else own

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Give one command."""
        if cmd_name == _RECORD:
            return self._program.get_command(ctx, cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the first word; suggest one when there is none."""
        refuse_unknown(ctx, args, self.list_commands(ctx))
        return super().resolve_command(ctx, args)


@click.group(cls=_Steering)
def ctl() -> None:
    """Steer a running agent; its control socket says who may."""


ctl.add_command(status)
ctl.add_command(observe)
ctl.add_command(ping)
ctl.add_command(trace)
ctl.add_command(unit)
ctl.add_command(user)


@ctl.command(short_help="Read the configuration and the policy again.")
@socket_option
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=1, max=3600),
    default=140.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait: a policy of some hundred thousand rules takes its time.",
)
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


@ctl.command(short_help="Exchange every process for one of the program as installed now.")
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


@ctl.command(short_help="End the agent, and tell what was delivered.")
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
