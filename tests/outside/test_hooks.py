"""The examples of all hooks and of commands, as one distribution, on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.core.test_hook_examples import HOOKS, example
from trireme_collector import EndPoint, FlowRecord, encode_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.outside.workshop import Workshop

pytestmark = pytest.mark.outside

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "hooks.md"


@pytest.fixture(scope="module")
def project(workshop: Workshop) -> Iterator[Path]:
    made = workshop.base / "all-hooks"
    made.mkdir()
    points = []
    for hook in HOOKS:
        module = hook.replace("trireme_register", "example_of")
        code = example(hook)
        (made / f"{module}.py").write_text(code, encoding="utf-8")
        (name,) = re.findall(r'name="([a-z-]+)",', code)[-1:]
        points.append(f'{name} = "{module}"')
    command, named = re.findall(
        r"^```(?:python|toml)\n(.*?)^```$",
        PAGE.read_text(encoding="utf-8").split("\n## Commands\n")[1],
        re.MULTILINE | re.DOTALL,
    )[:2]
    (made / "my_package").mkdir()
    (made / "my_package" / "__init__.py").touch()
    (made / "my_package" / "commands.py").write_text(command, encoding="utf-8")
    modules = ", ".join(f'"{path.stem}"' for path in sorted(made.glob("*.py")))
    (made / "pyproject.toml").write_text(
        '[project]\nname = "all-hooks"\nversion = "1.0"\n'
        + named
        + "[project.entry-points.trireme_collector]\n"
        + "\n".join(points)
        + f'\n[tool.setuptools]\npackages = ["my_package"]\npy-modules = [{modules}]\n',
        encoding="utf-8",
    )
    workshop.install(made)
    yield made
    workshop.remove("all-hooks")


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "records.jsonl"
    flow = FlowRecord(source=EndPoint(ip="10.0.0.1"), destination=EndPoint(ip="192.0.2.2"), count=1)
    path.write_bytes(encode_json(flow) + b"\n")
    return path


@pytest.mark.usefixtures("project")
def test_every_example_is_found(workshop: Workshop) -> None:
    listed = json.loads(workshop.run("trireme-collector", "plugins", "list", "--json"))["plugins"]
    ours = {one["name"]: one for one in listed if one["distribution"] == "all-hooks 1.0"}
    assert len(ours) == len(HOOKS)
    assert {(one["state"], one["error"]) for one in ours.values()} == {("loaded", None)}
    kinds = set()
    for name in ours:
        shown = json.loads(workshop.run("trireme-collector", "plugins", "show", name, "--json"))
        kinds |= {f"trireme_register_{kind}" for kind, found in shown.items() if is_specs(found)}
    assert kinds == set(HOOKS)


def is_specs(value: object) -> bool:
    return isinstance(value, list) and bool(value)


@pytest.mark.usefixtures("project")
def test_the_format_is_written(workshop: Workshop, records: Path) -> None:
    written = workshop.run("trireme-collector", "convert", "--to", "pairs", str(records))
    assert "10.0.0.1,192.0.2.2\n" in written


@pytest.mark.usefixtures("project")
def test_the_command_is_typed(workshop: Workshop) -> None:
    assert workshop.run("trireme-collector", "count-hosts", "a", "b") == "2 hosts\n"
    said = workshop.run("trireme-collector", "count-hosts", expect=3)
    assert said == "error: there is no host to count: name at least one\n"
    assert "from all-hooks 1.0" in workshop.run("trireme-collector", "--help")


@pytest.mark.usefixtures("project")
def test_a_configuration_names_them(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("version = 1\n", encoding="utf-8")
    config = tmp_path / "agent.toml"
    right = (
        f'[datapath]\npolicy = "policy.toml"\n[collectors.file]\npath = "{tmp_path}/flows"\n'
        'format = "pairs"\n[collectors.file.filter.plugins.foreign]\nnetwork = "10.0.0.0/8"\n'
        "[collectors.print-rejects]\n"
    )
    config.write_text(right, encoding="utf-8")
    workshop.run("trireme-collector", "check", "--config", str(config))
    config.write_text(
        right.replace('"pairs"', '"pears"').replace("network =", "netwrok ="), encoding="utf-8"
    )
    said = workshop.run("trireme-collector", "check", "--config", str(config), expect=3)
    assert re.search(r'agent\.toml:5:10: collectors\.file\.format: found string "pears"', said)
    assert "did you mean pairs?" in said
    assert "agent.toml:7:1: collectors.file.filter.plugins.foreign.netwrok" in said
    assert "did you mean network?" in said
