"""The directive ``{options}``: configuration keys, read from the type that checks them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from trireme_collector.cli._options import describe_options

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata


class OptionTable(SphinxDirective):
    """Writes one row for each field of ``module:Type``, but those whose value is a table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Render the rows as Markdown and let the page parse them."""
        module, _, name = self.arguments[0].partition(":")
        rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
        for option in describe_options(getattr(importlib.import_module(module), name)):
            if option.type == "table":
                continue
            default = "required" if option.required else f"`{option.default}`"
            default = "" if default in {'`""`', "``"} else default
            cells = (f"`{option.name}`", option.type, default, option.help.replace("``", "`"))
            rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
        container = nodes.container()
        self.state.nested_parse(StringList(rows, self.arguments[0]), self.content_offset, container)
        return list(container.children)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Make the directive known."""
    app.add_directive("options", OptionTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
