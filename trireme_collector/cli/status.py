"""`trireme-collector status`: what a running agent counts, and how it is."""

from __future__ import annotations

import click

from trireme_collector.cli._control_options import client_of, socket_option, timeout_option
from trireme_collector.cli.output import json_option
from trireme_collector.exit_codes import ExitCode

__all__ = ["status"]


@click.command(short_help="Show all that is counted, and how it is.")
@socket_option
@timeout_option
@json_option
@click.pass_context
def status(ctx: click.Context, socket_path: str, timeout_seconds: float, *, as_json: bool) -> None:
    """Show all that a running agent counts: packets, policy, health and records.

    The exit code tells whether it runs as it should (0), needs attention or does not answer (11),
    or does not run (12).
    """
    import msgspec

    from trireme_collector.cli._status_text import status_text
    from trireme_collector.cli.output import print_json
    from trireme_collector.control import AgentState, AgentStatus

    client = client_of(socket_path, timeout_seconds)
    raw = client.call_raw("status")
    found = client.read(raw, AgentStatus)
    if as_json:
        # As the agent said it: one of a later version may say more.
        print_json(msgspec.json.decode(raw, type=dict[str, object]))
    else:
        click.echo(status_text(found))
    ctx.exit(ExitCode.DEGRADED if found.state is AgentState.DEGRADED else ExitCode.OK)
