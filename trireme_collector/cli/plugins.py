"""`trireme-collector plugins`: what is installed, how it is configured, and how to begin one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trireme_collector.cli._plugins_new import new_plugin
from trireme_collector.cli.output import json_option, print_json, printable, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    import msgspec

    from trireme_collector.cli._options import Option
    from trireme_collector.hookspecs import (
        CollectorSpec,
        DiscovererSpec,
        EnricherSpec,
        FilterSpec,
        FormatSpec,
    )
    from trireme_collector.registry import PluginInfo, PluginState

    _Spec: TypeAlias = (
        CollectorSpec[msgspec.Struct]
        | EnricherSpec[msgspec.Struct]
        | DiscovererSpec[msgspec.Struct]
        | FilterSpec[msgspec.Struct]
        | FormatSpec
    )

__all__ = ["plugins"]

_COLORS = {"loaded": "green", "broken": "red", "blocked": "yellow"}


@click.group()
def plugins() -> None:
    """List the plugins that are installed, describe one, or begin a new one."""


plugins.add_command(new_plugin)


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
    from trireme_collector.registry import Registry

    info = Registry().describe(name)
    if as_json:
        fields = _fields(info)
        for kind, specs in _offered(info).items():
            fields[kind] = [_spec_fields(spec) for spec in specs]
        print_json(fields)
        return
    click.echo(f"{click.style(printable(info.name), bold=True)}  {printable(_summary(info))}")
    click.echo(f"  distribution  {printable(info.distribution)}")
    click.echo(f"  module        {printable(info.module)}")
    click.echo(f"  state         {_colored(info.state)}")
    if info.error is not None:
        click.echo(f"  error         {printable(_error(info))}")
    for kind, specs in _offered(info).items():
        for spec in specs:
            click.echo(f"  stability     {spec.stability}")
            options = _options(spec)
            click.echo(f"\n{_usage(kind, spec.name, options)}\n")
            for option in options:
                click.echo(_option(option))
            if not options:
                click.echo("It takes no options.")


def _spec_fields(spec: _Spec) -> dict[str, object]:
    return {
        "name": spec.name,
        "summary": spec.summary,
        "stability": spec.stability,
        "options": list(_options(spec)),
    }


def _options(spec: _Spec) -> tuple[Option, ...]:
    from trireme_collector.cli._options import describe_options
    from trireme_collector.hookspecs import FormatSpec

    return () if isinstance(spec, FormatSpec) else describe_options(spec.config_type)


def _usage(kind: str, name: str, options: tuple[Option, ...]) -> str:
    """Say how it is chosen."""
    required = [f"{option.name} = ..." for option in options if option.required]

    def in_file(where: str, *lines: str) -> str:
        text = "\n".join(f"    {line}" for line in (*lines, *required))
        return f"In the configuration file{where}:\n\n{text}"

    match kind:
        case "collectors":
            return in_file("", f"[collectors.{name}]", f'type = "{name}"')
        case "discoverers":
            return in_file(" of an agent", f"[discovery.{name}]", f'type = "{name}"')
        case "filters":
            return in_file("", f"[collectors.NAME.filter.plugins.{name}]")
        case "formats":
            line = f'format = "{name}"'
            text = f"In the table of a collector that takes formats:\n\n    {line}\n\n"
            return f"{text}On the command line: trireme-collector convert --to {name}"
        case _:
            text = in_file("", f"[enrichment.lookups.{name}]", f'type = "{name}"')
            return f"{text}\n\nOn the command line: --enrich {name}:OPTION=VALUE,..."


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


def _offered(info: PluginInfo) -> dict[str, Sequence[_Spec]]:
    """Give what a plugin offers, by the names of the keys in JSON."""
    return {
        "collectors": info.collectors,
        "enrichers": info.enrichers,
        "discoverers": info.discoverers,
        "formats": info.formats,
        "filters": info.filters,
    }


def _every(info: PluginInfo) -> list[_Spec]:
    return [spec for specs in _offered(info).values() for spec in specs]


def _summary(info: PluginInfo) -> str:
    return "; ".join(spec.summary for spec in _every(info))


def _stability(info: PluginInfo) -> str:
    return ", ".join(dict.fromkeys(spec.stability.value for spec in _every(info)))


def _error(info: PluginInfo) -> str:
    if info.error is None:
        return ""
    return f"{type(info.error).__name__}: {info.error}"
