"""`trireme-collector policy`: check a policy file, ask it about a flow, or test it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trireme_collector.cli.output import json_option, print_json, printable
from trireme_datapath.cli._policy_test import test

if TYPE_CHECKING:
    from trireme_datapath.judgement import FlowTuple

__all__ = ["policy"]

_COLORS = {"accept": "green", "reject": "red"}
_DEFAULT_ICMP = "echo-request"


@click.group()
def policy() -> None:
    """Check a policy file, explain what it does with a flow, or test it."""


policy.add_command(test)


@policy.command(short_help="List every mistake in a policy, with its place.")
@click.argument("file", type=click.Path())
@json_option
def check(file: str, *, as_json: bool) -> None:
    """Read the policy FILE and list every mistake in it, each with its place."""
    from trireme_datapath.policy import compile_policy, load_policy

    loaded = load_policy(file)
    compiled = compile_policy(loaded)
    rules = sum(len(unit.ingress) + len(unit.egress) for unit in loaded.units)
    counts = {
        "units": len(loaded.units),
        "rules": rules,
        "peers": len(loaded.peers),
        "networks": len(loaded.networks),
    }
    if as_json:
        fields = {"file": file, "valid": True, "name": loaded.name, "revision": compiled.revision}
        print_json({**fields, **counts})
        return
    said = ", ".join(_count(number, what) for what, number in counts.items())
    name = f" {printable(loaded.name)}" if loaded.name else ""
    click.echo(f"{printable(file)}: policy{name} is sound, revision {compiled.revision}: {said}")
    for path, mark in compiled.cgroup_marks.items():
        click.echo(f"  control group {printable(path)} is to set mark {mark:#x}/0xfffc0000")


@policy.command(short_help="Say what a policy does with a flow, and why.")
@click.argument("file", type=click.Path())
@click.option("--src", required=True, metavar="ADDRESS", help="The client's address.")
@click.option("--dst", required=True, metavar="ADDRESS", help="The server's address.")
@click.option("--proto", required=True, metavar="NAME|NUMBER", help="tcp, udp, icmp, ... or 47.")
@click.option("--port", type=click.IntRange(0, 65535), help="The server's port.")
@click.option(
    "--icmp", metavar="TYPE[/CODE]", help=f"ICMP type and code; {_DEFAULT_ICMP} if not given."
)
@click.option(
    "--dst-name", metavar="NAME", default="", help="A DNS name whose answer gave the destination."
)
@click.option("--unit", metavar="ID", help="The unit at one end, if no address selects it.")
@click.option(
    "--direction",
    type=click.Choice(["ingress", "egress"]),
    help="Whether that unit receives the flow or begins it.",
)
@click.option("--all", "show_all", is_flag=True, help="Show the rules that do not match, too.")
@click.option("--exit-code", is_flag=True, help="Exit with 10 when the flow is rejected.")
@json_option
@click.pass_context
def explain(  # noqa: PLR0913, PLR0917  one argument per option is how click calls it
    ctx: click.Context,
    file: str,
    src: str,
    dst: str,
    proto: str,
    port: int | None,
    icmp: str | None,
    dst_name: str,
    unit: str | None,
    direction: str | None,
    *,
    show_all: bool,
    exit_code: bool,
    as_json: bool,
) -> None:
    """Say what the policy FILE does with a flow, which rule decides and why."""
    from trireme_collector.exit_codes import ExitCode
    from trireme_datapath.policy import compile_policy, load_policy
    from trireme_datapath.policy.explain import explain as explain_flow

    flow = _flow(src, dst, proto, port, icmp)
    if direction is not None and unit is None:
        raise click.UsageError("--direction needs --unit.")
    compiled = compile_policy(load_policy(file))
    side = {"ingress": "ingress", "egress": "egress"}.get(direction or "")
    try:
        found = explain_flow(
            compiled,
            flow,
            unit=unit,
            direction="ingress" if side == "ingress" else "egress" if side else None,
            destination_name=dst_name,
        )
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(found))
    else:
        from trireme_datapath.policy.explanation_text import explanation_lines

        click.echo("\n".join(explanation_lines(found, show_all=show_all, paint=_painted)))
    if exit_code and found.action == "reject":
        ctx.exit(ExitCode.DENIED)


def _flow(src: str, dst: str, proto: str, port: int | None, icmp: str | None) -> FlowTuple:
    from trireme_collector.strict_toml import Unfit
    from trireme_datapath.judgement import FlowTuple
    from trireme_datapath.policy import spellings as spell

    source, destination = _address(src, "--src"), _address(dst, "--dst")
    if len(source) != len(destination):
        raise click.UsageError("--src and --dst must be both IPv4 or both IPv6.")
    try:
        number = spell.parse_protocol(int(proto) if proto.isascii() and proto.isdigit() else proto)
    except Unfit as unfit:
        raise click.BadParameter(_said(unfit), param_hint="--proto") from unfit
    if number is None:
        raise click.BadParameter("a flow has one protocol.", param_hint="--proto")
    has_ports = number in spell.PORT_PROTOCOLS
    if has_ports and port is None:
        raise click.UsageError(f"--port is needed with --proto {proto}.")
    if not has_ports and port is not None:
        raise click.UsageError(f"protocol {proto} has no ports: leave out --port.")
    if number not in spell.ICMP_PROTOCOLS:
        if icmp is not None:
            raise click.UsageError("--icmp is only for --proto icmp and icmpv6.")
        return FlowTuple(source=source, destination=destination, protocol=number, port=port or 0)
    try:
        kind = spell.parse_icmp(icmp or _DEFAULT_ICMP, number)
    except Unfit as unfit:
        raise click.BadParameter(_said(unfit), param_hint="--icmp") from unfit
    return FlowTuple(
        source=source,
        destination=destination,
        protocol=number,
        icmp_type=kind.type,
        icmp_code=kind.code or 0,
    )


def _address(text: str, option: str) -> bytes:
    from trireme_collector.strict_toml import Unfit
    from trireme_datapath.policy import spellings as spell

    try:
        prefix = spell.parse_prefix(text)
    except Unfit as unfit:
        raise click.BadParameter(_said(unfit), param_hint=option) from unfit
    if not prefix.is_host:
        raise click.BadParameter("one address is needed, not a network.", param_hint=option)
    return prefix.network


def _said(unfit: ValueError) -> str:
    expected = getattr(unfit, "expected", "")
    found = getattr(unfit, "found", "")
    nearest = getattr(unfit, "nearest", "")
    hint = f" (did you mean {nearest}?)" if nearest else ""
    return f"{f'found {found}, ' if found else ''}expected {expected}{hint}."


def _count(number: int, plural: str) -> str:
    return f"{number} {plural.removesuffix('s') if number == 1 else plural}"


def _painted(action: str) -> str:
    return click.style(action, fg=_COLORS.get(action), bold=True)
