"""The root of the command line: finds commands by their entry points, loads what is needed."""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
from typing import TYPE_CHECKING, Any

import click

from trireme_collector.cli.output import color_default
from trireme_collector.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["COMMAND_GROUP", "PROGRAM", "CommandGroup", "ReaderGoneError", "refuse_unknown", "root"]

COMMAND_GROUP = "trireme_collector.commands"
"""The entry-point group of commands: a name and a `click.Command`."""
PROGRAM = "trireme-collector"
OWN_DISTRIBUTION = "trireme-collector"


class ReaderGoneError(Exception):
    """Whoever read standard output reads no more."""


def refuse_unknown(ctx: click.Context, args: list[str], known: Iterable[str]) -> None:
    """End with a usage error, and a suggestion, if the first word is no command."""
    names = list(known)
    if args and args[0] not in names and not args[0].startswith("-"):
        near = difflib.get_close_matches(args[0], names, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        ctx.fail(f"There is no command {args[0]!r}.{hint}")


class CommandGroup(click.Group):
    """A click group whose commands are entry points.

    Attributes:
        entry_points: The entry points to use instead of the installed ones, for tests.
    """

    entry_points: Iterable[importlib.metadata.EntryPoint] | None = None

    @functools.cached_property
    def found(self) -> dict[str, importlib.metadata.EntryPoint]:
        """Every command by name; ours first, so that nobody replaces one of them."""
        points = self.entry_points
        if points is None:
            points = importlib.metadata.entry_points(group=COMMAND_GROUP)
        found: dict[str, importlib.metadata.EntryPoint] = {}
        for point in sorted(points, key=lambda point: (not _is_own(point), _distribution(point))):
            found.setdefault(point.name, point)
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands without loading any."""
        del ctx
        return sorted(self.found)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command.

        Raises:
            PluginError: It cannot be loaded, or is not a command.
        """
        del ctx
        point = self.found.get(cmd_name)
        if point is None:
            return None
        try:
            command = point.load()
        except Exception as error:
            msg = (
                f"command {cmd_name!r} ({_distribution(point)}, {point.value}) cannot be loaded:"
                f" {type(error).__name__}: {error}; repair or uninstall {_distribution(point)}"
            )
            raise PluginError(msg) from error
        if not isinstance(command, click.Command):
            msg = (
                f"command {cmd_name!r} ({_distribution(point)}, {point.value}) is no click"
                f" command but {type(command).__name__}; repair or uninstall it"
            )
            raise PluginError(msg)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the first word; suggest one when there is none."""
        refuse_unknown(ctx, args, self.found)
        return super().resolve_command(ctx, args)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401  as click has it
    ) -> click.Context:
        """Read the words; those that ask for help or the version are answered here.

        Raises:
            ReaderGoneError: Nobody reads the answer any more.
        """
        try:
            return super().make_context(info_name, args, parent, **extra)
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    def invoke(self, ctx: click.Context) -> object:
        """Run the command.

        Raises:
            ReaderGoneError: Nobody reads its output any more. The error itself would make click
                end the process.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands; those of other distributions are named and not loaded."""
        own, foreign = [], []
        for name in self.list_commands(ctx):
            point = self.found[name]
            if _is_own(point):
                own.append((name, self._summary(ctx, name)))
            else:
                foreign.append((name, f"from {_distribution(point)}"))
        for title, rows in (("Commands", own), ("Commands of other distributions", foreign)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _summary(self, ctx: click.Context, name: str) -> str:
        try:
            command = self.get_command(ctx, name)
        except PluginError as error:
            return f"(broken: {error.__cause__ or error})"
        return "" if command is None else command.get_short_help_str(limit=100)


def _distribution(point: importlib.metadata.EntryPoint) -> str:
    return "(unknown)" if point.dist is None else f"{point.dist.name} {point.dist.version}"


def _is_own(point: importlib.metadata.EntryPoint) -> bool:
    return point.dist is not None and point.dist.name == OWN_DISTRIBUTION


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: FBT001  click passes it so
    del param
    if value and not ctx.resilient_parsing:
        from trireme_collector import __version__

        click.echo(f"{PROGRAM} {__version__}")
        ctx.exit()


@click.group(
    cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]}, name=PROGRAM
)
@click.option(
    "--version",
    "-V",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="When to colour what is printed; auto asks the terminal, NO_COLOR and FORCE_COLOR.",
)
@click.option(
    "--traceback",
    is_flag=True,
    expose_value=False,
    help="Show where in the program an error was raised, too.",
)
@click.pass_context
def root(ctx: click.Context, color: str) -> None:
    """Judge the packets of this host and report every flow to collectors.

    Begin with `trireme-collector demo`: it needs no configuration.
    """
    ctx.color = color_default(color)
