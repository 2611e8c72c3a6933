"""What users may rely on is in the documentation: hooks, commands, options, exit codes, records."""

from __future__ import annotations

import configparser
import importlib.metadata
import inspect
import re
from pathlib import Path

import click
import pytest

from trireme_collector import hookspecs
from trireme_datapath.agent import load_agent_config

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
COMMAND_GROUP = "trireme_collector.commands"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def hooks() -> list[str]:
    return [name for name in vars(hookspecs) if name.startswith("trireme_")]


def commands() -> dict[str, click.Command]:
    """Find every command that can be typed, with its full name."""
    found: dict[str, click.Command] = {}

    def add(name: str, command: click.Command) -> None:
        if isinstance(command, click.Group):
            for part, child in command.commands.items():
                add(f"{name} {part}", child)
        else:
            found[name] = command

    for entry_point in importlib.metadata.entry_points(group=COMMAND_GROUP):
        add(f"trireme-collector {entry_point.name}", entry_point.load())
    return found


def spellings(command: click.Command) -> list[tuple[str, ...]]:
    """List the ways to write each option and argument of a command."""
    found: list[tuple[str, ...]] = []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            found.append((parameter.human_readable_name,))
        elif isinstance(parameter, click.Option) and not parameter.hidden:
            found.append((*parameter.opts, *parameter.secondary_opts))
    return found


def sections(text: str) -> dict[str, str]:
    """Split a page at its headings; code marks around a heading do not count."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"^#+ +(.+)$", text, flags=re.MULTILINE)
    return {
        head.strip().strip("`"): body for head, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_every_hook_is_documented_with_its_arguments() -> None:
    expected = {
        f"{name}({', '.join(inspect.signature(getattr(hookspecs, name)).parameters)})"
        for name in hooks()
    }
    described = {head for head in sections(page("reference/hooks.md")) if head.endswith(")")}
    assert described == expected


def test_the_description_of_every_hook_is_shown_with_its_example() -> None:
    shown = re.findall(
        r"autofunction:: trireme_collector\.hookspecs\.(\w+)$",
        page("reference/hooks.md"),
        re.MULTILINE,
    )
    assert sorted(shown) == sorted(hooks())
    for name in hooks():
        assert "Example:" in (getattr(hookspecs, name).__doc__ or "")


def test_every_group_of_entry_points_is_documented() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    # Those of other programs, those of the testing kit, and the one of the hooks.
    other = {"console_scripts", "pytest11", "trireme_collector.testing"}
    other.add(hookspecs.ENTRY_POINT_GROUP)
    named = re.findall(r"an entry point of the group \[`([\w.]+)`\]", page("reference/hooks.md"))
    assert set(named) == set(parser["options.entry_points"]) - other


def test_every_command_is_documented() -> None:
    described = {h for h in sections(page("reference/commands.md")) if h.startswith("trireme-")}
    assert described - {"trireme-collector"} == commands().keys()


def test_every_option_and_argument_is_documented() -> None:
    described = sections(page("reference/commands.md"))
    missing = [
        f"{name} {words[-1]}"
        for name, command in commands().items()
        for words in spellings(command)
        if not any(f"`{word}" in described[name] for word in words)
    ]
    assert missing == []


def test_no_option_is_documented_that_does_not_exist() -> None:
    described = sections(page("reference/commands.md"))
    invented = [
        f"{name} {word}"
        for name, command in commands().items()
        for word in re.findall(r"^`(--[a-z-]+)", described[name], re.MULTILINE)
        if not any(word in words for words in spellings(command))
    ]
    assert invented == []


def test_every_command_can_print_json() -> None:
    without = [
        name
        for name, command in commands().items()
        if not any("--json" in words for words in spellings(command))
    ]
    assert without == []


MODULES = {"http": "httpx2", "kafka": "confluent_kafka", "loki": "cramjam", "otlp": "httpx2"}
SHOWN = re.findall(
    r"^:caption: (\w+)\.toml\n\n(\[collectors.+?)^```$",
    page("how-to/send-records.md"),
    re.MULTILINE | re.DOTALL,
)


def test_every_collector_is_shown() -> None:
    plugins = {path.stem.partition("-")[2] for path in (DOCS / "reference").glob("collectors-*.md")}
    assert {name for name, _ in SHOWN} - {"filter"} == plugins


@pytest.mark.parametrize(("name", "text"), SHOWN, ids=[name for name, _ in SHOWN])
def test_what_is_shown_of_a_collector_is_sound(name: str, text: str, tmp_path: Path) -> None:
    if name in MODULES:
        pytest.importorskip(MODULES[name], reason="it needs an extra")
    (tmp_path / "policy.toml").write_text("version = 1\n", encoding="utf-8")
    config = tmp_path / "agent.toml"
    config.write_text(f'[datapath]\npolicy = "policy.toml"\n{text}', encoding="utf-8")
    assert len(load_agent_config(config).settings.collectors) == text.count("[collectors.")


def test_every_promise_names_a_test() -> None:
    rows = re.findall(r"^\| .+ \| (`tests/.+) \|$", page("explanation/promises.md"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert len(rows) > 15
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_every_extra_is_documented() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ", page("how-to/install.md"), re.MULTILINE)
    assert rows == list(parser["options.extras_require"])


@pytest.mark.parametrize("part", ["explanation", "how-to", "reference", "tutorial"])
def test_every_page_is_in_the_overview_of_its_part(part: str) -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", page(f"{part}/index.md")))
    assert {path.name for path in (DOCS / part).glob("*.md")} - {"index.md"} == linked


def test_every_page_is_reachable() -> None:
    for index in DOCS.glob("*/index.md"):
        assert ":glob:" in index.read_text(encoding="utf-8")
    nested = [p for p in DOCS.glob("*/*/*.md") if "_build" not in p.parts]
    assert nested == [], "the indexes list one level of pages"


@pytest.mark.parametrize("path", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_to_files_lead_somewhere(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_command_of_make_and_tox_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for path in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / path).read_text(encoding="utf-8")
        named = set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", text, re.MULTILINE))
        assert named <= targets
