"""The manual pages and the completion of the shells fit the commands that there are."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from types import ModuleType

PACKAGING = Path(__file__).parents[2] / "packaging"
COMPLETION = PACKAGING / "completion"


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("man_pages", PACKAGING / "man_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    # In a process of its own: a command remembers the form of its help, which other tests chose.
    made = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, PACKAGING / "man_pages.py", made], check=True)
    return {path.name: path.read_text("utf-8") for path in made.iterdir()}


def test_the_pages_are_those_of_the_commands(pages: dict[str, str]) -> None:
    """When this fails, run ``make man`` and look at what it changed."""
    stored = {path.name: path.read_text("utf-8") for path in (PACKAGING / "man").iterdir()}
    assert stored.keys() == pages.keys()
    assert [name for name in pages if pages[name] != stored[name]] == []


def test_the_page_of_the_program_lists_every_exit_code(pages: dict[str, str]) -> None:
    lines = pages["trireme-collector.1"].splitlines()
    assert [code for code in ExitCode if rf"\fB{code.value}\fP" not in lines] == []


def test_text_cannot_be_taken_for_a_command_of_roff(writer: ModuleType) -> None:
    assert writer.escape(".so x\n'br \\fB") == "\\&.so x\n\\(aqbr \\efB"


@pytest.mark.parametrize(
    ("shell", "name"),
    [
        ("bash", "trireme-collector"),
        ("zsh", "_trireme-collector"),
        ("fish", "trireme-collector.fish"),
    ],
)
def test_completion_asks_the_program_for_its_shell(shell: str, name: str) -> None:
    assert f"_TRIREME_COLLECTOR_COMPLETE={shell}_source" in (COMPLETION / name).read_text("utf-8")
    program = Path(sys.executable).with_name("trireme-collector")
    script = subprocess.run(
        [program],
        env={**os.environ, "_TRIREME_COLLECTOR_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_trireme_collector_completion" in script.stdout


@pytest.mark.parametrize("argument", ["trireme-collector", ""], ids=["named", "alone"])
def test_bash_completes_a_command(argument: str) -> None:
    """Bash is everywhere; it loads the file as bash-completion does, and asks the program."""
    program = Path(sys.executable).with_name("trireme-collector")
    script = f"""
    PATH={program.parent}:$PATH
    compopt() {{ :; }}
    . {COMPLETION / "trireme-collector"} {argument}
    COMP_WORDS=(trireme-collector poli); COMP_CWORD=1
    _trireme_collector_completion trireme-collector
    echo "${{COMPREPLY[*]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "policy\n"
