"""The examples of the README run as they stand there."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from trireme_collector import EndPoint, FlowRecord, Registry, build_pipeline

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MAX_LINES = 14  # ten lines that do something, and their imports


def examples() -> dict[str, str]:
    """Map the heading above each example to its code."""
    text = README.read_text(encoding="utf-8")
    found = {}
    for section in re.split(r"^## +", text, flags=re.MULTILINE)[1:]:
        blocks = BLOCK.findall(section)
        if blocks:
            found[section.splitlines()[0]] = "".join(blocks)
    return found


def run(heading: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Execute an example as a module of its own."""
    module = types.ModuleType("readme_example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(examples()[heading], f"README.md, {heading}", "exec"), module.__dict__)
    return module


def test_embedding_and_a_plugin_are_shown() -> None:
    assert len(examples()) >= 2


@pytest.mark.parametrize("heading", sorted(examples()))
def test_example_is_short(heading: str) -> None:
    lines = [line for line in examples()[heading].splitlines() if line.strip()]
    assert len(lines) <= MAX_LINES


@pytest.mark.parametrize("heading", sorted(examples()))
def test_example_runs(
    heading: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("readme_example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    run(heading, monkeypatch)
    promised = re.findall(r"# prints: (.+)$", examples()[heading], re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == promised


def test_the_plugin_collects(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = run("Write a collector", monkeypatch)
    registry = Registry()
    registry.register(module, name="print-flows")
    flow = FlowRecord(
        source=EndPoint(ip="192.0.2.1"), destination=EndPoint(ip="192.0.2.2"), count=1
    )
    with build_pipeline({"print-flows": {}}, registry) as pipeline:
        pipeline.collect_flow_event(flow)
        pipeline.collect_flow_event(flow)
    assert capsys.readouterr().out == "192.0.2.1 -> 192.0.2.2 x2\n"
