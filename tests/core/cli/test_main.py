"""Commands are found by entry points; whatever goes wrong is one message and an exit code."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from trireme_collector import cli
from trireme_collector.cli import _group, _main
from trireme_collector.cli.errors import exit_code_of
from trireme_collector.errors import (
    ConfigError,
    DatapathError,
    DeliveryError,
    MissingExtraError,
    PluginError,
    PrivilegeError,
    RetryableDeliveryError,
    TriremeError,
)
from trireme_collector.exit_codes import ExitCode
from trireme_collector.strict_toml import parse_document


class OwnCodeError(TriremeError):
    exit_code = ExitCode.INPUT


RAISED: list[BaseException] = []


@click.command()
@click.option("--json", "as_json", is_flag=True)
def failing(*, as_json: bool) -> None:
    """Raise what the test wants."""
    del as_json
    raise RAISED[-1]


@click.command()
@click.argument("path", required=False)
def fine(path: str | None) -> None:
    """Work."""
    click.secho(f"done {path}", fg="green")


NOT_A_COMMAND = 3


class Foreign(importlib.metadata.EntryPoint):
    """An entry point of somebody else's distribution."""


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> _group.CommandGroup:
    module = __name__
    monkeypatch.setitem(sys.modules, module, sys.modules[module])

    def point(name: str, value: str) -> importlib.metadata.EntryPoint:
        return importlib.metadata.EntryPoint(name, value, _group.COMMAND_GROUP)

    class Group(_group.CommandGroup):
        entry_points = (
            point("failing", f"{module}:failing"),
            point("fine", f"{module}:fine"),
            point("gone", "module_that_is_not_there:command"),
            point("number", f"{module}:NOT_A_COMMAND"),
        )

    return Group(name="trireme-collector", callback=_group.root.callback, params=_group.root.params)


def raises(error: BaseException) -> None:
    RAISED[:] = [error]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), ExitCode.CONFIG),
        (PluginError("x"), ExitCode.PLUGIN),
        (PrivilegeError("x"), ExitCode.PRIVILEGE),
        (DatapathError("x"), ExitCode.FAILURE),
        (MissingExtraError("x"), ExitCode.MISSING_EXTRA),
        (DeliveryError("x"), ExitCode.OUTPUT),
        (RetryableDeliveryError("x"), ExitCode.OUTPUT),
        (OwnCodeError("x"), ExitCode.INPUT),
        (OSError(28, "No space left on device"), ExitCode.OUTPUT),
        (ValueError("x"), ExitCode.FAILURE),
        (click.UsageError("x"), ExitCode.USAGE),
        (click.ClickException("x"), ExitCode.FAILURE),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_every_kind_of_error_has_its_exit_code(error: Exception, code: ExitCode) -> None:
    assert exit_code_of(error) == code


def test_an_error_is_one_line_on_stderr(
    group: _group.CommandGroup, capsys: pytest.CaptureFixture[str]
) -> None:
    raises(PrivilegeError("queue 0 cannot be opened: run as root"))
    assert _main.run(["failing"], group=group) == ExitCode.PRIVILEGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: queue 0 cannot be opened: run as root\n"


def test_the_problems_of_a_file_are_listed(
    group: _group.CommandGroup, capsys: pytest.CaptureFixture[str]
) -> None:
    raises(ConfigError("a:1:1: x\na:2:1: y", problems=["a:1:1: x", "a:2:1: y"]))
    assert _main.run(["failing"], group=group) == ExitCode.CONFIG
    assert capsys.readouterr().err == "error: 2 mistakes were found\na:1:1: x\na:2:1: y\n"


def test_an_error_in_json(group: _group.CommandGroup, capsys: pytest.CaptureFixture[str]) -> None:
    document = parse_document("a = 1\n", "a.toml")
    document.add_problem(("a",), expected="nothing")
    with pytest.raises(ConfigError) as caught:
        document.raise_problems()
    raises(caught.value)
    assert _main.run(["failing", "--json"], group=group) == ExitCode.CONFIG
    out, err = capsys.readouterr()
    assert out == ""
    shown = json.loads(err)
    assert shown["version"] == 1
    assert shown["error"]["exit_code"] == 3
    assert shown["error"]["code"] == "CONFIG"
    assert shown["error"]["problems"] == ["a.toml:1:5: a: found integer 1, expected nothing"]
    assert shown["error"]["details"][0]["column"] == 5


def test_an_unexpected_error_says_how_to_see_more(
    group: _group.CommandGroup, capsys: pytest.CaptureFixture[str]
) -> None:
    raises(RuntimeError("boom\x1b[31m"))
    assert _main.run(["failing"], group=group) == ExitCode.FAILURE
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "unexpected RuntimeError in test_main.py" in err
    assert "TRIREME_TRACEBACK=1" in err
    assert "\x1b" not in err


@pytest.mark.parametrize("how", ["option", "variable"])
def test_the_traceback_is_shown_on_request(
    group: _group.CommandGroup,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    raises(RuntimeError("boom"))
    if how == "variable":
        monkeypatch.setenv("TRIREME_TRACEBACK", "1")
    words = ["--traceback", "failing"] if how == "option" else ["failing"]
    assert _main.run(words, group=group) == ExitCode.FAILURE
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c(group: _group.CommandGroup, error: BaseException) -> None:
    raises(error)
    assert _main.run(["failing"], group=group) == ExitCode.INTERRUPTED


def test_a_reader_that_went_away_is_no_error(
    group: _group.CommandGroup, capsys: pytest.CaptureFixture[str]
) -> None:
    for error in (BrokenPipeError(), BrokenPipeError(errno.EPIPE, "Broken pipe")):
        raises(error)
        assert _main.run(["failing"], group=group) == ExitCode.OK
    assert capsys.readouterr().err == ""


def test_the_nearest_command_is_suggested(
    group: _group.CommandGroup, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main.run(["fien"], group=group) == ExitCode.USAGE
    assert "There is no command 'fien'. Did you mean 'fine'?" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "why"), [("gone", "ModuleNotFoundError"), ("number", "int")])
def test_a_command_that_cannot_be_loaded(
    group: _group.CommandGroup, capsys: pytest.CaptureFixture[str], name: str, why: str
) -> None:
    assert _main.run([name], group=group) == ExitCode.PLUGIN
    err = capsys.readouterr().err
    assert f"command '{name}'" in err
    assert why in err


def test_help_does_not_load_the_commands_of_others(
    group: _group.CommandGroup, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main.run(["--help"], group=group) == ExitCode.OK
    out = capsys.readouterr().out
    assert "Commands of other distributions:" in out
    assert "gone     from (unknown)" in out
    assert "broken" not in out


@pytest.mark.parametrize(
    ("words", "environment", "colored"),
    [
        ([], {}, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        (["--color=never"], {"FORCE_COLOR": "1"}, False),
        ([], {"FORCE_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_color(
    group: _group.CommandGroup,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    environment: dict[str, str],
    colored: bool,
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert _main.run([*words, "fine"], group=group) == ExitCode.OK
    assert ("\x1b[" in capsys.readouterr().out) is colored


def test_the_version_needs_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == "trireme-collector 0.1.0\n"


def test_the_version_among_other_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--color", "never", "--version"]) == 0
    assert capsys.readouterr().out == "trireme-collector 0.1.0\n"


def test_no_words_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == ExitCode.USAGE
    assert "Usage: trireme-collector" in capsys.readouterr().err


def test_help_and_version_load_no_plugin() -> None:
    code = (
        "import sys; from trireme_collector.cli import main; code = main(sys.argv[1:]);"
        " wrong = {m.partition('.')[0] for m in sys.modules if m.startswith(('trireme_collector_',"
        " 'structlog', 'xml', 'asyncio'))}; sys.exit(f'loaded: {wrong}' if wrong else code)"
    )
    for word in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", code, word], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


PROGRAM = "import sys; from trireme_collector.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize("word", ["schema", "--help", "--version"])
def test_output_that_cannot_be_written(word: str) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, word],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )
    assert done.returncode == ExitCode.OUTPUT
    assert "the output cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("word", ["schema", "--help", "--version"])
def test_a_reader_that_went_away_before_the_first_line(word: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, word],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")


@pytest.mark.parametrize("word", ["schema", "--version", "plugins list"])
def test_standard_streams_that_are_closed(word: str) -> None:
    script = f"""exec <&- >&- 2>&-; {sys.executable} -c '{PROGRAM}' {word}"""
    done = subprocess.run(["/bin/sh", "-c", script], check=False)
    assert done.returncode == ExitCode.OK


def test_no_file_gets_the_number_of_a_closed_stream() -> None:
    code = (
        "from trireme_collector.cli import main; main(['--version']);"
        "number = open('/dev/null').fileno(); raise SystemExit(0 if number > 2 else 3)"
    )
    script = f"""exec <&- >&- 2>&-; {sys.executable} -c "{code}" """
    assert subprocess.run(["/bin/sh", "-c", script], check=False).returncode == 0
