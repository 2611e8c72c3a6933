"""`trireme-collector ctl unit` and `ctl user`: tell an agent who came, changed and went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import click

from trireme_collector.cli._control_options import client_of, socket_option, timeout_option
from trireme_collector.cli.output import json_option, print_json, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["unit", "user"]


@click.command(short_help="Tell that a processing unit came, changed or went.")
@click.argument("event", type=click.Choice(["start", "update", "delete", "forcestop"]))
@click.argument("context")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="[NAME=]ADDRESS",
    help="An address, by interface or network; bridge, the primary one, without a name.",
)
@click.option(
    "--interface",
    "interfaces",
    multiple=True,
    metavar="NAME",
    help="An interface of this host that it is behind.",
)
@click.option(
    "--cgroup",
    "cgroups",
    multiple=True,
    metavar="PATH",
    help="A control group that its processes are in, below the root of version 2.",
)
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag of the unit.")
@socket_option
@timeout_option
@json_option
def unit(  # noqa: PLR0913  one argument per option is how click calls it
    event: str,
    context: str,
    addresses: tuple[str, ...],
    interfaces: tuple[str, ...],
    cgroups: tuple[str, ...],
    tags: tuple[str, ...],
    socket_path: str,
    timeout_seconds: float,
    *,
    as_json: bool,
) -> None:
    """Tell the agent that the processing unit CONTEXT came, changed, went or was stopped.

    From then on packets belong to it by its addresses, interfaces and control groups, and it is
    judged by the rules of the unit of the policy that has this context. What start and update tell
    replaces what was told before; delete and forcestop take it away. The command ends when packets
    are judged by it.

    It becomes a record of the type container. What the agent knows already is not reported again.
    """
    import msgspec

    from trireme_collector.control import UnitArguments, UnitResult

    arguments = UnitArguments(
        event=cast("Literal['start', 'update', 'delete', 'forcestop']", event),
        context_id=context,
        addresses=_named(addresses),
        tags=tags,
        interfaces=interfaces,
        cgroups=cgroups,
    )
    client = client_of(socket_path, timeout_seconds)
    raw = client.call_raw("unit", arguments)
    result = client.read(raw, UnitResult)
    if as_json:
        print_json(msgspec.json.decode(raw, type=dict[str, object]))
    else:
        click.echo(f"reported: {printable(result.event)}" if result.event else "nothing new")


def _named(texts: Iterable[str]) -> dict[str, str]:
    """Give each address its name; those without one are the primary one and others beside it."""
    named: dict[str, str] = {}
    unnamed = 0
    for text in texts:
        name, equals, address = text.partition("=")
        if equals:
            named[name] = address
        else:
            unnamed += 1
            named["bridge" if unnamed == 1 else f"bridge-{unnamed}"] = text
    return named


@click.command(short_help="Tell that a user was seen.")
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
