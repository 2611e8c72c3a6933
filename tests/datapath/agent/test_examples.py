"""The configurations that are shown as examples are sound, and so are their policies."""

from __future__ import annotations

from pathlib import Path

import pytest

from trireme_datapath.agent import load_agent_config
from trireme_datapath.demo._setting import POLICY
from trireme_datapath.policy import compile_policy, load_policy

EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "config").glob("*.toml"))


def test_there_are_examples() -> None:
    assert [path.stem for path in EXAMPLES] == ["gateway", "minimal", "watch-only"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_is_sound(path: Path) -> None:
    config = load_agent_config(path)
    compile_policy(load_policy(config.resolve(config.settings.datapath.policy)))
    config.pipeline()


def test_the_policy_of_the_demo_is_sound() -> None:
    assert [unit.id for unit in compile_policy(load_policy(POLICY)).units] == ["web", "database"]
