"""`trireme-collector ctl observe`: switch between enforcing and observing."""

from __future__ import annotations

import click

from trireme_collector.cli._control_options import client_of, socket_option, timeout_option
from trireme_collector.cli.output import json_option, print_json, printable

__all__ = ["observe"]


@click.command(short_help="Only observe, or enforce the policy.")
@click.argument("mode", type=click.Choice(["on", "off", "configured"]))
@socket_option
@timeout_option
@json_option
def observe(mode: str, socket_path: str, timeout_seconds: float, *, as_json: bool) -> None:
    """Only observe what the policy would reject (on), or enforce the policy (off).

    It lasts until the agent ends, over reloads; `configured` goes back to what the
    configuration and the policy say. Every switch is recorded.
    """
    import msgspec

    from trireme_collector.control import ObserveArguments, ObserveResult

    client = client_of(socket_path, timeout_seconds)
    # The type of the option is what the arguments take.
    arguments = msgspec.convert({"mode": mode}, ObserveArguments)
    raw = client.call_raw("observe", arguments)
    result = client.read(raw, ObserveResult)
    if as_json:
        print_json(msgspec.json.decode(raw, type=dict[str, object]))
        return
    said = "only observed: nothing is dropped" if result.observe_only else "enforced"
    by = f" (by {printable(result.observe_by)})" if result.observe_by else ""
    click.echo(f"the policy is {said}{by}; revision {printable(result.revision)}")
