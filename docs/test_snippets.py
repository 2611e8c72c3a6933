"""What is not executed has a reason, and its commands at least exist."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from trireme_collector.cli._group import root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

DOCS = Path(__file__).parent


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("snippets", DOCS / "snippets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


snippets = _load()


def _commands(text: str) -> Iterator[str]:
    """Find the commands of ours in the blocks of a page, without what follows a pipe."""
    for block in snippets.blocks(text):
        if block.language not in {"", "console"}:
            continue
        start = r"\$ " if any(line.startswith("$ ") for line in block.lines) else ""
        joined = re.sub(r"\\\n\s*", " ", "\n".join(block.lines))
        for line in joined.splitlines():
            found = re.match(f"{start}(trireme-collector .+)", line.strip())
            if found:
                yield found[1]


def _parse(line: str) -> None:
    """Parse a command line as the program would, and run nothing.

    Raises:
        click.UsageError: The program would not understand it.
    """
    words = shlex.split(line, comments=True)[1:]
    words = words[: next((i for i, word in enumerate(words) if word in {"|", ">", "&"}), None)]
    context = root.make_context("trireme-collector", words)
    while isinstance(context.command, click.Group):
        rest = [*context._protected_args, *context.args]  # noqa: SLF001  there is no public name
        if not rest:
            return
        name, command, rest = context.command.resolve_command(context, rest)
        assert command is not None
        context = command.make_context(name, rest, parent=context)


PAGES = [path.relative_to(DOCS).as_posix() for path in sorted(DOCS.glob("*/*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_shown_is_understood(page: str) -> None:
    wrong = []
    for line in _commands((DOCS / page).read_text("utf-8")):
        try:
            _parse(line)
        except click.exceptions.Exit:
            continue  # --help and --version end at once
        except click.UsageError as error:
            wrong.append(f"{line}: {error.message}")
    assert wrong == []


def test_a_wrong_command_is_seen() -> None:
    (line,) = _commands("text\n\n    trireme-collector run \\\n        --conf x | tee y\n")
    assert line == "trireme-collector run  --conf x | tee y"
    with pytest.raises(click.UsageError):
        _parse("trireme-collector run --conifg x")


def test_blocks_and_reasons_are_found() -> None:
    page = (
        'Text\n\n    make x\n\n<!-- skip: next "why" -->\n\n'
        "```console\n$ trireme-collector run\n```\n\n"
        "```console\n$ ls\n$ trireme-collector demo\n```\n\n"
        "- list\n\n    of it\n"
    )
    found = [(one.begins, one.reason) for one in snippets.of_page("p", page)]
    assert found == [
        ("make x", snippets.SHOWN[""]),
        ("$ trireme-collector run", "why"),
        ("$ ls", "the command of another program"),
    ]


def test_python_and_configurations_are_skipped_for_a_reason_only() -> None:
    """What could run does, unless the page says why not."""
    languages = {
        (page, block.language, block.skipped)
        for page in PAGES
        for block in snippets.blocks((DOCS / page).read_text("utf-8"))
        if block.skipped
    }
    assert {language for _, language, _ in languages} <= snippets.EXECUTED
    assert all(len(reason) > 5 for _, _, reason in languages)
