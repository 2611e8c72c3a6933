"""The filters of `trireme-collector observe`: their options, and the order in which they came."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import click

from trireme_datapath.cli._observe_filters import FILTER_FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from trireme_datapath.cli._observe_filters import FilterFlag

__all__ = ["ObserveCommand", "filter_options"]


class ObserveCommand(click.Command):
    """A command that remembers the order of its filters: one option turns the next one round."""

    FLAGS: ClassVar[str] = "trireme_datapath.observe.flags"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as always, and keep names and values of filters in ``ctx.meta``."""
        values, _, order = self.make_parser(ctx).parse_args(list(args))
        left = {name: list(found) for name, found in values.items() if isinstance(found, list)}
        flags: list[tuple[str, str]] = []
        for parameter in order:
            name = (parameter.name or "").replace("_", "-")
            if name == "negated":
                flags.append(("not", ""))
            elif name in FILTER_FLAGS:
                waiting = left.get(parameter.name or "")
                flags.append((name, waiting.pop(0) if waiting else ""))
        ctx.meta[self.FLAGS] = flags
        return super().parse_args(ctx, args)


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each filter."""
    for name, flag in reversed(tuple(FILTER_FLAGS.items())):
        command = _option(name, flag)(command)
    return command


def _option(name: str, flag: FilterFlag) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    spellings = [f"--{name}", *([f"-{flag.short}"] if flag.short else [])]
    if flag.metavar:
        return click.option(
            *spellings, name.replace("-", "_"), multiple=True, metavar=flag.metavar, help=flag.help
        )
    return click.option(*spellings, name.replace("-", "_"), count=True, help=flag.help)
