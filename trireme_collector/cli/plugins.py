"""`trireme-collector plugins`: what is installed, whether it works, which options it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trireme_collector.cli.output import json_option, print_json, printable, table

if TYPE_CHECKING:
    from typing import TypeAlias

    import msgspec

    from trireme_collector.cli._options import Option
    from trireme_collector.hookspecs import CollectorSpec, DiscovererSpec, EnricherSpec
    from trireme_collector.registry import PluginInfo, PluginState

    _Spec: TypeAlias = (
        CollectorSpec[msgspec.Struct]
        | EnricherSpec[msgspec.Struct]
        | DiscovererSpec[msgspec.Struct]
    )

__all__ = ["plugins"]

_COLORS = {"loaded": "green", "broken": "red", "blocked": "yellow"}


@click.group()
def plugins() -> None:
    """List the plugins that are installed, or describe one."""


@plugins.command(name="list")
@json_option
def list_plugins(*, as_json: bool) -> None:
    """List every installed plugin; a broken one with its error."""
    from trireme_collector.registry import Registry

    infos = Registry().describe_all()
    if as_json:
        print_json({"plugins": [_fields(info) for info in infos]})
        return
    rows = [
        (
            printable(info.name),
            _colored(info.state),
            _stability(info),
            printable(info.distribution),
            printable(_error(info) or _summary(info)),
        )
        for info in infos
    ]
    if not rows:
        click.echo("No plugin is installed.")
        return
    click.echo(table(("NAME", "STATE", "STABILITY", "DISTRIBUTION", "SUMMARY"), rows))


@plugins.command(name="show")
@click.argument("name")
@json_option
def show_plugin(name: str, *, as_json: bool) -> None:
    """Describe the plugin NAME and the options that it takes."""
    from trireme_collector.cli._options import describe_options
    from trireme_collector.registry import Registry

    info = Registry().describe(name)
    offered = _offered(info)
    options = {spec.name: describe_options(spec.config_type) for spec in offered}
    if as_json:
        fields = _fields(info)
        described = [
            {
                "name": spec.name,
                "summary": spec.summary,
                "stability": spec.stability,
                "options": list(options[spec.name]),
            }
            for spec in offered
        ]
        fields["collectors"] = described[: len(info.collectors)]
        first, second = len(info.collectors), len(info.collectors) + len(info.enrichers)
        fields["enrichers"] = described[first:second]
        fields["discoverers"] = described[second:]
        print_json(fields)
        return
    click.echo(f"{click.style(printable(info.name), bold=True)}  {printable(_summary(info))}")
    click.echo(f"  distribution  {printable(info.distribution)}")
    click.echo(f"  module        {printable(info.module)}")
    click.echo(f"  state         {_colored(info.state)}")
    if info.error is not None:
        click.echo(f"  error         {printable(_error(info))}")
    for spec in offered:
        click.echo(f"  stability     {spec.stability}")
        if spec in info.collectors:
            example = _example("collectors", spec.name, options[spec.name])
            click.echo(f"\nIn the configuration file:\n\n{example}")
        elif spec in info.discoverers:
            example = _example("discovery", spec.name, options[spec.name])
            click.echo(f"\nIn the configuration file of an agent:\n\n{example}")
        else:
            click.echo(f"\nOn the command line: --enrich {spec.name}:OPTION=VALUE,...\n")
        for option in options[spec.name]:
            click.echo(_option(option))
        if not options[spec.name]:
            click.echo("It takes no options.")


def _example(section: str, name: str, options: tuple[Option, ...]) -> str:
    lines = [f"[{section}.{name}]", f'type = "{name}"']
    lines += [f"{option.name} = ..." for option in options if option.required]
    return "\n".join(f"    {line}" for line in lines) + "\n"


def _option(option: Option) -> str:
    default = "required" if option.required else f"default {option.default or 'none'}"
    head = f"{click.style(option.name, bold=True)}  {option.type}; {default}"
    plain = option.help.replace("`", "")  # marks for the documentation, noise on a terminal
    text = click.wrap_text(plain, initial_indent="    ", subsequent_indent="    ")
    return f"{head}\n{text}" if option.help else head


def _fields(info: PluginInfo) -> dict[str, object]:
    return {
        "name": info.name,
        "distribution": info.distribution,
        "module": info.module,
        "state": info.state,
        "stability": _stability(info),
        "summary": _summary(info),
        "error": _error(info) or None,
    }


def _colored(state: PluginState) -> str:
    return click.style(state.value, fg=_COLORS.get(state.value))


def _offered(info: PluginInfo) -> list[_Spec]:
    offered: list[_Spec] = [*info.collectors]
    offered += info.enrichers
    offered += info.discoverers
    return offered


def _summary(info: PluginInfo) -> str:
    return "; ".join(spec.summary for spec in _offered(info))


def _stability(info: PluginInfo) -> str:
    return ", ".join(dict.fromkeys(spec.stability.value for spec in _offered(info)))


def _error(info: PluginInfo) -> str:
    if info.error is None:
        return ""
    return f"{type(info.error).__name__}: {info.error}"
