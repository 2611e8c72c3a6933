"""`trireme-collector ctl trace`: see the packets of a unit for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trireme_collector.cli._control_options import client_of, socket_option, timeout_option
from trireme_collector.cli.output import json_option, print_json, printable

if TYPE_CHECKING:
    from trireme_collector.control import ControlClient

__all__ = ["trace"]


@click.command(short_help="Report the packets of a unit for a while.")
@click.argument("unit", required=False, default="")
@click.option(
    "--direction",
    type=click.Choice(["network", "application", "both"]),
    default="both",
    show_default=True,
    help="What arrives at the unit, what it sends, or both.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, max=3_600, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long.",
)
@click.option(
    "--payload",
    "payload_bytes",
    type=click.IntRange(min=0, max=64),
    default=64,
    show_default=True,
    metavar="BYTES",
    help="How much of each packet is reported, from the IP header on.",
)
@click.option("--stop", is_flag=True, help="End a trace that runs.")
@click.option(
    "--iptables",
    is_flag=True,
    help="Trace a flow through the kernel's rules instead; needs no UNIT, but a flow:",
)
@click.option(
    "--protocol",
    type=click.Choice(["tcp", "udp", "icmp", "icmpv6"]),
    default="tcp",
    show_default=True,
    help="The protocol of the flow.",
)
@click.option("--source", default="", metavar="ADDRESS", help="Its client, or a network.")
@click.option("--destination", default="", metavar="ADDRESS", help="Its server, or a network.")
@click.option("--port", type=click.IntRange(1, 65_535), help="The server's port.")
@socket_option
@timeout_option
@json_option
def trace(  # noqa: PLR0913, PLR0917  one argument per option is how click calls it
    unit: str,
    direction: str,
    seconds: float,
    payload_bytes: int,
    protocol: str,
    source: str,
    destination: str,
    port: int | None,
    socket_path: str,
    timeout_seconds: float,
    *,
    stop: bool,
    iptables: bool,
    as_json: bool,
) -> None:
    """Report every packet of UNIT that comes to the queue, for a limited time.

    UNIT is the id or the context of a processing unit. The records, of the type packet, go to the
    collectors. Packets of connections that the kernel keeps to itself are not seen.

    With --iptables, the kernel tells which of its rules the packets of a flow meet, in both
    directions, for at most ten minutes. The records are of the types trace and iptables_trace.
    """
    if not unit and not iptables:
        raise click.UsageError("name a unit, or use --iptables.")
    if unit and iptables:
        raise click.UsageError("--iptables traces a flow, not a unit: leave UNIT.")
    if unit and (source or destination or port):
        raise click.UsageError("--source, --destination and --port need --iptables.")
    if iptables:
        if not (source or destination or port):
            raise click.UsageError("name a source, a destination or a port of the flow.")
        _trace_rules(
            {
                "protocol": protocol,
                "source": source,
                "destination": destination,
                "port": port or 0,
                "seconds": seconds,
            },
            client_of(socket_path, timeout_seconds),
            as_json=as_json,
        )
        return
    import time

    import msgspec

    from trireme_collector.control import TraceArguments, TraceResult

    arguments = msgspec.convert(
        {
            "unit": unit,
            "direction": "none" if stop else direction,
            "seconds": seconds,
            "payload_bytes": payload_bytes,
        },
        TraceArguments,
    )
    client = client_of(socket_path, timeout_seconds)
    raw = client.call_raw("trace", arguments)
    result = client.read(raw, TraceResult)
    if as_json:
        print_json(msgspec.json.decode(raw, type=dict[str, object]))
    elif result.until_ns:
        left = max(0, round(result.until_ns / 1e9 - time.time()))
        click.echo(f"the packets of {printable(result.context_id)} are reported for {left} s")
    else:
        click.echo(f"the packets of {printable(result.context_id)} are reported no longer")


def _trace_rules(wanted: dict[str, object], client: ControlClient, *, as_json: bool) -> None:
    import msgspec

    from trireme_collector.control import TraceRulesArguments, TraceRulesResult

    try:
        arguments = msgspec.convert(wanted, TraceRulesArguments)
    except msgspec.ValidationError as error:
        raise click.UsageError(f"{error}.") from error
    raw = client.call_raw("trace_rules", arguments)
    client.read(raw, TraceRulesResult)
    if as_json:
        print_json(msgspec.json.decode(raw, type=dict[str, object]))
    else:
        click.echo(f"the kernel tells the way of these packets for {arguments.seconds:g} s")
