"""`trireme-collector ctl trace`: see the packets of a unit for a while."""

from __future__ import annotations

import click

from trireme_collector.cli._control_options import client_of, socket_option, timeout_option
from trireme_collector.cli.output import json_option, print_json, printable

__all__ = ["trace"]


@click.command()
@click.argument("unit")
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
@socket_option
@timeout_option
@json_option
def trace(
    unit: str,
    direction: str,
    seconds: float,
    payload_bytes: int,
    socket_path: str,
    timeout_seconds: float,
    *,
    stop: bool,
    as_json: bool,
) -> None:
    """Report every packet of UNIT that comes to the queue, for a limited time.

    UNIT is the id or the context of a processing unit. The records, of the type packet, go to the
    collectors. Packets of connections that the kernel keeps to itself are not seen.
    """
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
