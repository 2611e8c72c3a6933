"""`plugins new` writes a whole project or nothing, and says what it could not do."""

from __future__ import annotations

import ast
import json
import os
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import trireme_collector
from trireme_collector import __version__, cli
from trireme_collector.cli._plugin_template import LONGEST_NAME
from trireme_collector.exit_codes import ExitCode

LONGEST = "-".join(["longest"] * 5) + "x"
VARIANTS = ("simple", "batched")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): path.read_text(encoding="utf-8")
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_project_is_complete(
    variant: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plugins", "new", "my-sink", "--variant", variant]) == ExitCode.OK
    assert f"a {variant} collector called 'my-sink'" in capsys.readouterr().out
    found = files(place / "my-sink")
    assert sorted(found) == [
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "src/trireme_collector_my_sink/__init__.py",
        "src/trireme_collector_my_sink/_collector.py",
        "src/trireme_collector_my_sink/py.typed",
        "tests/test_collector.py",
        "tests/test_plugin.py",
        "tox.ini",
    ]
    assert [path for path, text in found.items() if "{{" in text] == []
    for path, text in found.items():
        if path.endswith(".py"):
            ast.parse(text, path)
    project = tomllib.loads(found["pyproject.toml"])["project"]
    assert project["name"] == "trireme-collector-my-sink"
    assert f"trireme-collector>={__version__}" in project["dependencies"]
    points = project["entry-points"]["trireme_collector"]
    assert points == {"my-sink": "trireme_collector_my_sink"}
    method = "def deliver" if variant == "batched" else "def collect_flow_event"
    assert method in found["src/trireme_collector_my_sink/_collector.py"]


def test_what_was_said_stands_in_it(place: Path) -> None:
    words = ["plugins", "new", "trireme-collector-pager", "--summary", "Wakes people, it's loud."]
    words += ["--author", "A. U. Thor", "--directory", "some/where", "--defaults"]
    assert cli.main(words) == ExitCode.OK
    found = files(place / "some" / "where")
    project = tomllib.loads(found["pyproject.toml"])["project"]
    assert project["description"] == "Wakes people, it's loud."
    assert project["authors"] == [{"name": "A. U. Thor"}]
    assert project["entry-points"]["trireme_collector"] == {"pager": "trireme_collector_pager"}


def test_it_says_what_it_did_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugins", "new", "my-sink", "--json"]) == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert (shown["name"], shown["directory"], shown["variant"]) == ("my-sink", "my-sink", "simple")
    assert set(shown["files"]) == set(files(Path("my-sink")))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My_Sink", "'my-sink' would do"),
        ("mySink", "'my-sink' would do"),
        ("9lives", "'lives' would do"),
        ("a--b", "'a-b' would do"),
        ("a/b", "'a-b' would do"),
        ("..", "no name for a collector"),
        ("é", "no name for a collector"),
        (LONGEST + "x" * 5, "at most 40"),
        ("file", "a plugin called 'file' is installed already"),
        ("trireme-collector-syslog", "a plugin called 'syslog' is installed already"),
    ],
)
def test_names_that_will_not_do_are_refused(
    name: str, said: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plugins", "new", name]) == ExitCode.USAGE
    assert said in capsys.readouterr().err
    assert list(place.iterdir()) == []


def test_the_longest_name_will_do(place: Path) -> None:
    assert len(LONGEST) == LONGEST_NAME
    for variant in VARIANTS:
        words = ["plugins", "new", LONGEST, "--variant", variant, "--directory", variant]
        assert cli.main([*words, "--summary", "x" * 60]) == ExitCode.OK
        for path, text in files(place / variant).items():
            long = [line for line in text.splitlines() if len(line) > 100]
            assert long == [] or not path.endswith(".py"), path


@pytest.mark.parametrize(
    "text", ["", " ", 'a "b"', "a\\b", "{{ name }}", "x" * 61, "a\nb", "\x1b[31m"]
)
@pytest.mark.parametrize("option", ["--summary", "--author"])
def test_texts_that_would_have_to_be_quoted_are_refused(
    option: str, text: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plugins", "new", "x", option, text]) == ExitCode.USAGE
    assert "expected 1 to 60 printable characters" in capsys.readouterr().err
    assert list(place.iterdir()) == []


def test_a_directory_that_exists_is_left_alone(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "my-sink").mkdir()
    assert cli.main(["plugins", "new", "my-sink"]) == ExitCode.OUTPUT
    assert "'my-sink' exists: choose another place with --directory" in capsys.readouterr().err
    assert list(place.iterdir()) == [place / "my-sink"]
    assert list((place / "my-sink").iterdir()) == []


def test_nothing_is_left_of_a_failure(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert cli.main(["plugins", "new", "my-sink"]) == ExitCode.OUTPUT
    assert "No space left on device" in capsys.readouterr().err
    assert list(place.iterdir()) == []


def test_a_place_that_is_a_file_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "file").touch()
    assert cli.main(["plugins", "new", "x", "--directory", "file/x"]) == ExitCode.OUTPUT
    assert "cannot write 'file/x'" in capsys.readouterr().err


def test_a_place_that_cannot_even_be_looked_at(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beyond = "d" * 300
    assert cli.main(["plugins", "new", "x", "--directory", f"{beyond}/x"]) == ExitCode.OUTPUT
    assert "File name too long; check the path" in capsys.readouterr().err
    assert list(place.iterdir()) == []


def test_files_have_the_rights_of_all_new_files(place: Path) -> None:
    before = os.umask(0o027)
    try:
        assert cli.main(["plugins", "new", "my-sink"]) == ExitCode.OK
    finally:
        os.umask(before)
    assert (place / "my-sink").stat().st_mode & 0o777 == 0o750
    assert (place / "my-sink" / "tox.ini").stat().st_mode & 0o777 == 0o640


def answer(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    left = list(answers)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: left.pop(0))
    return left


def test_on_a_terminal_it_asks_for_what_was_not_said(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = answer(monkeypatch, "batched", 'a "quote"', "Sends.", "")
    assert cli.main(["plugins", "new", "my-sink"]) == ExitCode.OK
    assert left == []
    project = tomllib.loads(files(place / "my-sink")["pyproject.toml"])["project"]
    assert (project["description"], project["authors"]) == ("Sends.", [{"name": "The authors"}])


def test_on_a_terminal_it_asks_nothing_when_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch)
    assert cli.main(["plugins", "new", "my-sink", "--defaults"]) == ExitCode.OK


class Distribution:
    def __init__(self, text: str | None) -> None:
        self.text = text

    def read_text(self, _name: str) -> str | None:
        return self.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ""),
        ("no json", ""),
        ("{}", ""),
        ('{"url": "file:///not/there.whl", "archive_info": {}}', ""),
        ('{"url": "file:///tmp", "dir_info": {}}', "trireme-collector @ file:///tmp"),
        (
            '{"url": "https://h.example/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}',
            "trireme-collector @ git+https://h.example/x.git@abc",
        ),
    ],
)
def test_tox_gets_the_library_from_where_it_was_installed(
    text: str | None, expected: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda _: Distribution(text))
    assert cli.main(["plugins", "new", "my-sink"]) == ExitCode.OK
    found = re.findall(
        r"^    (trireme-collector @ .*)$", files(place / "my-sink")["tox.ini"], re.MULTILINE
    )
    assert found == ([expected] if expected else [])


def test_the_copier_template_asks_for_this_version() -> None:
    template = Path(trireme_collector.__file__).parent / "plugin_template"
    text = (template / "copier.yml").read_text(encoding="utf-8")
    assert f"default: trireme-collector>={__version__}\n" in text
