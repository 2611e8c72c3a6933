"""`trireme-collector ctl ping`: see whether a connection would get through."""

from __future__ import annotations

import click

from trireme_collector.cli._control_options import client_of, socket_option
from trireme_collector.cli.output import json_option, print_json, printable
from trireme_collector.exit_codes import ExitCode

__all__ = ["ping"]

_MARGIN_SECONDS = 10.0


@click.command(short_help="Send a probe through the rules, and tell what came back.")
@click.argument("destination")
@click.argument("port", type=click.IntRange(1, 65_535))
@click.option(
    "--unit", default="", metavar="ID", help="The unit in whose name it is sent; else this host."
)
@click.option("--source", default="", metavar="ADDRESS", help="The address to send from.")
@click.option(
    "--count",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="How many probes.",
)
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0.01, max=60),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for each answer.",
)
@socket_option
@json_option
@click.pass_context
def ping(  # noqa: PLR0913  one argument per option is how click calls it
    ctx: click.Context,
    destination: str,
    port: int,
    unit: str,
    source: str,
    count: int,
    wait_seconds: float,
    socket_path: str,
    *,
    as_json: bool,
) -> None:
    """Open a TCP connection to DESTINATION and PORT as a probe, through the rules of the agent.

    Each probe is reported to the collectors, as records of the type ping: one when it leaves, one
    when it is answered or given up. Exit code 10 if none was answered.
    """
    import msgspec

    from trireme_collector.control import PingArguments, PingResult

    arguments = PingArguments(
        destination=destination,
        port=port,
        unit=unit,
        source=source,
        count=count,
        timeout_seconds=wait_seconds,
    )
    client = client_of(socket_path, count * (wait_seconds + 1) + _MARGIN_SECONDS)
    raw = client.call_raw("ping", arguments)
    result = client.read(raw, PingResult)
    if as_json:
        print_json(msgspec.json.decode(raw, type=dict[str, object]))
    else:
        for probe in result.probes:
            took = f" in {probe.latency_ns / 1e6:.3f} ms" if probe.latency_ns else ""
            word = printable(probe.error) or "accepted"
            click.echo(f"{probe.request}: {printable(probe.flow_tuple)} {word}{took}")
    if not any(probe.latency_ns for probe in result.probes):
        ctx.exit(ExitCode.DENIED)
