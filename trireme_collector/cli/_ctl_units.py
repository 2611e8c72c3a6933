"""`trireme-collector ctl unit` and `ctl user`: tell an agent who came, changed and went."""

from __future__ import annotations

import click

from trireme_collector.cli._control_options import client_of, socket_option, timeout_option
from trireme_collector.cli.output import json_option, print_json, printable

__all__ = ["unit", "user"]


@click.command()
@click.argument("event", type=click.Choice(["start", "update", "delete", "forcestop"]))
@click.argument("context")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="[NAME=]ADDRESS",
    help="An address, by interface or network; bridge, the primary one, without a name.",
)
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag of the unit.")
@socket_option
@timeout_option
@json_option
def unit(
    event: str,
    context: str,
    addresses: tuple[str, ...],
    tags: tuple[str, ...],
    socket_path: str,
    timeout_seconds: float,
    *,
    as_json: bool,
) -> None:
    """Tell the agent that the processing unit CONTEXT came, changed, went or was stopped.

    It becomes a record of the type container. What the agent knows already is not reported again.
    """
    import msgspec

    from trireme_collector.control import UnitArguments, UnitResult

    named = dict(_pair(text) for text in addresses)
    arguments = msgspec.convert(
        {"event": event, "context_id": context, "addresses": named, "tags": tags}, UnitArguments
    )
    client = client_of(socket_path, timeout_seconds)
    raw = client.call_raw("unit", arguments)
    result = client.read(raw, UnitResult)
    if as_json:
        print_json(msgspec.json.decode(raw, type=dict[str, object]))
    else:
        click.echo(f"reported: {printable(result.event)}" if result.event else "nothing new")


def _pair(text: str) -> tuple[str, str]:
    name, equals, address = text.partition("=")
    return (name, address) if equals else ("bridge", name)


@click.command()
@click.option(
    "--claim", "claims", multiple=True, required=True, metavar="KEY=VALUE", help="What is known."
)
@click.option("--namespace", default="", metavar="NAMESPACE", help="The management namespace.")
@socket_option
@timeout_option
@json_option
def user(
    claims: tuple[str, ...],
    namespace: str,
    socket_path: str,
    timeout_seconds: float,
    *,
    as_json: bool,
) -> None:
    """Tell the agent that a user was seen; print the user's id.

    It becomes a record of the type user, once in ten minutes.
    """
    import msgspec

    from trireme_collector.control import UserArguments, UserResult

    arguments = UserArguments(claims=claims, namespace=namespace)
    client = client_of(socket_path, timeout_seconds)
    raw = client.call_raw("user", arguments)
    result = client.read(raw, UserResult)
    if as_json:
        print_json(msgspec.json.decode(raw, type=dict[str, object]))
    else:
        click.echo(printable(result.id))
