"""Tables of the reference that are read from the code.

``{options}`` has configuration keys, from the type that checks them; ``{metrics}`` has metrics,
from the tuple that holds them; ``{exit-codes}`` has the codes that commands end with.
"""

from __future__ import annotations

import abc
import importlib
from typing import TYPE_CHECKING, cast

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from trireme_collector.cli._options import describe_options
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    import msgspec
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

    from trireme_collector.metrics import MetricSpec


class _Table(SphinxDirective):
    """Renders rows as Markdown, and lets the page parse them."""

    head: tuple[str, ...]

    @abc.abstractmethod
    def cells(self) -> Iterator[tuple[str, ...]]:
        """Give the cells of each row."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        rows = [self.head, ("---",) * len(self.head), *self.cells()]
        lines = [
            "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |" for cells in rows
        ]
        container = nodes.container()
        self.state.nested_parse(StringList(lines, self.name), self.content_offset, container)
        return list(container.children)

    def named(self) -> object:
        """Give what the argument ``module:name`` names."""
        module, _, name = self.arguments[0].partition(":")
        return getattr(importlib.import_module(module), name)


class OptionTable(_Table):
    """Has one row for each field of ``module:Type``, but those whose value is a table."""

    required_arguments = 1
    head = ("key", "value", "default", "meaning")

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Give key, type, default and help."""
        for option in describe_options(cast("type[msgspec.Struct]", self.named())):
            if option.type == "table":
                continue
            default = "required" if option.required else f"`{option.default}`"
            default = "" if default in {'`""`', "``"} else default
            yield f"`{option.name}`", option.type, default, option.help.replace("``", "`")


class MetricTable(_Table):
    """Has one row for each metric of the tuple ``module:NAME``."""

    required_arguments = 1
    head = ("name", "type", "labels", "meaning")

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Give the name that is exposed, the kind, the labels and the help."""
        for spec in cast("tuple[MetricSpec, ...]", self.named()):
            labels = ", ".join(f"`{label}`" for label in spec.labels)
            yield f"`{spec.exposed_name}`", spec.kind.value, labels, spec.help


class ExitCodeTable(_Table):
    """Has one row for each exit code."""

    head = ("code", "name", "meaning")

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Give the number, the name and the description."""
        for code in ExitCode:
            yield str(code.value), f"`{code.name}`", code.description


def setup(app: Sphinx) -> ExtensionMetadata:
    """Make the directives known."""
    app.add_directive("options", OptionTable)
    app.add_directive("metrics", MetricTable)
    app.add_directive("exit-codes", ExitCodeTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
