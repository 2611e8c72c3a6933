"""Write the manual pages from the commands: ``python packaging/man_pages.py [DIRECTORY]``.

One page for the program and one for each command; a group of commands has one page. What is
installed by other distributions is left out. A test compares ``packaging/man`` with this.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import sys
from pathlib import Path

import click

from trireme_collector.cli._group import root
from trireme_collector.exit_codes import ExitCode

PROGRAM = "trireme-collector"
COMMAND_GROUP = "trireme_collector.commands"

FILES = {
    "/etc/trireme/agent.toml": "Where the service expects its configuration.",
    "/var/lib/trireme-collector": "The state directory of the service: spools and dead letters.",
    "/run/trireme-collector/control.sock": "The control socket of the service.",
}
VARIABLES = {
    "NO_COLOR, FORCE_COLOR": "Never colour what is printed, or also where no terminal is.",
    "TRIREME_TRACEBACK": "Set to 1: show where in the program an error was raised.",
    "TRIREME_OBSERVER, HUBBLE_SERVER": "The server that observe asks.",
    "CILIUM_MONITOR_SOCK": "The socket that monitor reads.",
}


def commands() -> dict[str, click.Command]:
    """Load every command of this distribution, by name."""
    own = importlib.metadata.distribution(PROGRAM).entry_points.select(group=COMMAND_GROUP)
    return {entry.name: entry.load() for entry in sorted(own, key=lambda entry: entry.name)}


def escape(text: str) -> str:
    """Write text so that roff takes none of it for its own."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\`")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def paragraphs(text: str) -> list[str]:
    """Set the paragraphs of a docstring; words in code marks become bold."""
    lines = []
    for block in inspect.cleandoc(text).split("\n\n"):
        flat = " ".join(block.replace("\b", "").split()).replace("``", "`")
        marked = [escape(part) for part in flat.split("`")]
        bold = [rf"\fB{part}\fP" if index % 2 else part for index, part in enumerate(marked)]
        lines += [".PP", re.sub(r"^([.'])", r"\\&\1", "".join(bold))]
    return lines


def term(words: str, meaning: str) -> list[str]:
    """Set a definition."""
    return [".TP", words, *paragraphs(meaning)[1:]]


def context_of(name: str, command: click.Command) -> click.Context:
    """Give a command the settings that it inherits from the program."""
    return click.Context(command, info_name=name, **root.context_settings)


def synopsis(name: str, command: click.Command) -> str:
    """Say in one line how a command is written."""
    context = context_of(name, command)
    pieces = [rf"\fB{escape(name)}\fP"]
    pieces += [escape(piece) for piece in command.collect_usage_pieces(context)]
    return " ".join(pieces)


def options(name: str, command: click.Command) -> list[str]:
    """Set the options of a command, as its help lists them."""
    context = context_of(name, command)
    lines: list[str] = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1]:
            words = re.sub(r"(--?[\w-]+)", r"<\1>", record[0])
            words = escape(words).replace("<", r"\fB").replace(">", r"\fP")
            lines += term(words, record[1])
    return lines


def section(name: str, command: click.Command) -> list[str]:
    """Describe a command and what belongs to it."""
    if isinstance(command, click.Group):
        return [
            line
            for part, child in command.commands.items()
            for line in section(f"{name} {part}", child)
        ]
    lines = [f'.SS "{escape(name)}"', *paragraphs(command.help or "")]
    return lines + options(name, command)


def header(page: str, summary: str) -> list[str]:
    """Begin a page."""
    version = importlib.metadata.version(PROGRAM)
    title = page.upper().replace("-", r"\-")
    return [
        r".\" Made by packaging/man_pages.py from the commands. Changes here are lost.",
        f'.TH "{title}" "1" "" "{PROGRAM} {version}" "{PROGRAM}"',
        ".nh",
        ".ad l",
        ".SH NAME",
        rf"{escape(page)} \- {escape(summary)}",
    ]


def summary(command: click.Command) -> str:
    """Take the first sentence of a command, without its full stop."""
    text = command.get_short_help_str(limit=200)
    return (text[:1].lower() + text[1:]).rstrip(".")


def exit_codes() -> list[str]:
    """List what the process says when it ends."""
    lines = [".SH EXIT STATUS"]
    for code in ExitCode:
        lines += term(rf"\fB{code.value}\fP", code.description)
    return lines


def command_page(name: str, command: click.Command) -> str:
    """Write the page of a command or a group of them."""
    page = f"{PROGRAM}-{name}"
    lines = header(page, summary(command))
    full = f"{PROGRAM} {name}"
    if isinstance(command, click.Group):
        lines += [".SH SYNOPSIS"]
        for part, child in command.commands.items():
            lines += [".PP", synopsis(f"{full} {part}", child)]
        lines += [".SH COMMANDS", *section(full, command)]
    else:
        lines += [".SH SYNOPSIS", synopsis(full, command), ".SH DESCRIPTION"]
        lines += [*paragraphs(command.help or ""), ".SH OPTIONS", *options(full, command)]
    lines += [".SH EXIT STATUS", rf"See \fB{escape(PROGRAM)}\fP(1)."]
    lines += [".SH SEE ALSO", rf"\fB{escape(PROGRAM)}\fP(1)"]
    return "\n".join(lines) + "\n"


def program_page(found: dict[str, click.Command]) -> str:
    """Write the page of the program."""
    metadata = importlib.metadata.metadata(PROGRAM)
    text = str(metadata["Summary"])
    lines = header(PROGRAM, text[:1].lower() + text[1:])
    lines += [".SH SYNOPSIS", synopsis(PROGRAM, root), ".SH DESCRIPTION"]
    lines += [*paragraphs(root.help or ""), ".SH COMMANDS"]
    for name, command in found.items():
        lines += term(rf"\fB{escape(f'{PROGRAM}-{name}')}\fP(1)", command.get_short_help_str(200))
    lines += [".SH OPTIONS", *options(PROGRAM, root)]
    lines += exit_codes()
    for title, table in (("ENVIRONMENT", VARIABLES), ("FILES", FILES)):
        lines += [f".SH {title}"]
        for words, meaning in table.items():
            lines += term(rf"\fB{escape(words)}\fP", meaning)
    lines += [".SH SEE ALSO"]
    lines += [", ".join(rf"\fB{escape(f'{PROGRAM}-{name}')}\fP(1)" for name in found)]
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Write every page, by the name of its file."""
    found = commands()
    written = {f"{PROGRAM}.1": program_page(found)}
    written.update({f"{PROGRAM}-{name}.1": command_page(name, c) for name, c in found.items()})
    return written


def main() -> None:
    """Write the pages into a directory, and remove those of commands that are gone."""
    directory = Path(*sys.argv[1:2]) if sys.argv[1:] else Path(__file__).parent / "man"
    directory.mkdir(parents=True, exist_ok=True)
    written = pages()
    for old in directory.glob("*.1"):
        if old.name not in written:
            old.unlink()
    for name, text in written.items():
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
