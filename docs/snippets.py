"""The directive ``{unexecuted}``: every block of these pages that no test executes, and why.

What is executed, and how, is in ``conftest.py``. ``unexecuted`` reads the pages, so the list cannot
be out of date.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

DOCS = Path(__file__).parent
COMMAND = "trireme-collector"
SKIP = re.compile(r'<!-- skip: next "(?P<reason>[^"]+)" -->')
FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,})(?P<language>.*)$")
LANGUAGE = re.compile(r"\{code-block\} *(\w+)|(\w*)")
# What runs or is read, by the language of a block; console blocks are looked into.
EXECUTED = frozenset({"python", "toml", "console", "yaml"})
SHOWN = {
    "": "lines for a shell, or what is printed: for the reader",
    "text": "no code",
    "ini": "the file of another program",
    "json": "an example of what is written",
    "yaml": "checked by another test",
}


class Snippet(NamedTuple):
    """A block that is not executed.

    Attributes:
        page: Where it is, below the documentation.
        line: The line in which it begins.
        begins: Its first line.
        reason: Why it is not executed.
    """

    page: str
    line: int
    begins: str
    reason: str


class Block(NamedTuple):
    """A block of a page: its language, its lines, and the reason to skip it, if there is one."""

    line: int
    language: str
    lines: list[str]
    skipped: str


def blocks(text: str) -> Iterator[Block]:
    """Find the blocks of a page: fenced ones, and those that are indented."""
    lines = text.splitlines()
    reason = ""
    at = 0
    while at < len(lines):
        line = lines[at]
        if found := SKIP.search(line):
            reason = found["reason"]
        elif fence := FENCE.match(line):
            end = at + 1
            while end < len(lines) and lines[end].strip() != fence["fence"]:
                end += 1
            named = LANGUAGE.match(fence["language"].strip())
            language = "".join(filter(None, named.groups())) if named else ""
            if language or not fence["language"].strip():
                yield Block(at + 1, language, lines[at + 1 : end], reason)
            reason = ""
            at = end
        elif line.startswith("    ") and not lines[at - 1].strip() and is_text(lines, at):
            end = at
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            yield Block(at + 1, "", [each.strip() for each in lines[at:end] if each.strip()], "")
            at = end - 1
        at += 1


def is_text(lines: list[str], at: int) -> bool:
    """Tell whether what comes before an indented block is no list, to which it would belong."""
    before = next((line for line in reversed(lines[:at]) if line.strip()), "")
    return not re.match(r"\s*([-*:]|\d+\.) |\s", before)


def of_page(page: str, text: str) -> Iterator[Snippet]:
    """List the blocks of a page that are not executed."""
    for block in blocks(text):
        code = [line for line in block.lines if line.strip() and not line.startswith(":")]
        begins = code[0] if code else ""
        if block.skipped:
            yield Snippet(page, block.line, begins, block.skipped)
        elif block.language == "console":
            for line in code:
                if line.startswith("$ ") and line.split()[1] not in {COMMAND, "echo"}:
                    yield Snippet(page, block.line, line, "the command of another program")
        elif block.language not in EXECUTED:
            yield Snippet(page, block.line, begins, SHOWN[block.language])


def unexecuted() -> list[Snippet]:
    """List every block that is not executed, page by page."""
    return [
        snippet
        for path in sorted(DOCS.glob("*/*.md"))
        for snippet in of_page(path.relative_to(DOCS).as_posix(), path.read_text("utf-8"))
    ]


class Unexecuted(SphinxDirective):
    """Writes the list as a table."""

    def run(self) -> list[nodes.Node]:
        """Render the rows as Markdown and let the page parse them."""
        rows = ["| page | block | why |", "|---|---|---|"]
        for snippet in unexecuted():
            begins = snippet.begins.replace("|", r"\|").replace("`", "'")[:60]
            rows.append(f"| [{snippet.page}](../{snippet.page}) | `{begins}` | {snippet.reason} |")
        container = nodes.container()
        self.state.nested_parse(StringList(rows, "unexecuted"), self.content_offset, container)
        self.env.note_dependency(str(DOCS))
        return list(container.children)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Make the directive known."""
    app.add_directive("unexecuted", Unexecuted)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
