"""The smallest plugin of the documentation, as a distribution of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.outside.workshop import Workshop

pytestmark = pytest.mark.outside

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-collector.md"
MAX_LINES = 12
RUN = """
from trireme_collector import ActionType, EndPoint, FlowRecord, Registry, build_pipeline
client, server = EndPoint(ip="192.0.2.1"), EndPoint(ip="192.0.2.2")
with build_pipeline({"print-rejects": {}}, Registry()) as pipeline:
    for action in (ActionType.ACCEPT, ActionType.REJECT):
        record = FlowRecord(source=client, destination=server, action=action, count=1)
        pipeline.collect_flow_event(record)
"""


def files_of_the_page() -> dict[str, str]:
    text = PAGE.read_text(encoding="utf-8")
    section = text.split("## The smallest one\n")[1].split("\n## ")[0]
    blocks = re.findall(
        r"^```\{code-block\} \w+\n:caption: (\S+)\n\n(.*?)^```$", section, re.MULTILINE | re.DOTALL
    )
    return dict(blocks)


def test_it_is_small() -> None:
    lines = files_of_the_page()["print_rejects.py"].splitlines()
    assert len(lines) <= MAX_LINES


def test_it_is_installed_and_run(workshop: Workshop) -> None:
    project = workshop.base / "smallest"
    project.mkdir()
    for name, text in files_of_the_page().items():
        (project / name).write_text(text, encoding="utf-8")
    workshop.install(project)
    listed = workshop.run("trireme-collector", "plugins", "list")
    assert re.search(r"^print-rejects +loaded ", listed, re.MULTILINE)
    assert workshop.run("python", "-c", RUN) == "192.0.2.1 -> 192.0.2.2\n"
    workshop.remove("print-rejects")


def test_it_is_typed(workshop: Workshop) -> None:
    project = workshop.base / "typed-smallest"
    project.mkdir()
    code = files_of_the_page()["print_rejects.py"]
    (project / "print_rejects.py").write_text(code, encoding="utf-8")
    python = str(workshop.python)
    words = ["--strict", "--python-executable", python, "print_rejects.py"]
    workshop.tool("mypy", *words, cwd=project)
    workshop.tool("pyright", "--pythonpath", python, "print_rejects.py", cwd=project)
