"""The files of an agent are read again as one: both are sound, or nothing changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trireme_collector.errors import ConfigError
from trireme_datapath.agent import load_agent_config
from trireme_datapath.agent._files import AgentFiles

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """
version = 1
[[unit]]
id = "web"
select.address = "198.51.100.20"
"""
CONFIG = """
instance = "a"
[datapath]
policy = "policy.toml"
[collectors.file]
path = "/nowhere/flows.json"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "policy.toml").write_text(POLICY)
    (tmp_path / "other.toml").write_text(POLICY.replace("web", "db"))
    (tmp_path / "agent.toml").write_text(CONFIG)
    return tmp_path


def files(place: Path) -> AgentFiles:
    return AgentFiles(load_agent_config(place / "agent.toml"))


def test_nothing_changed(place: Path) -> None:
    made = files(place)
    reading = made.read_again()
    assert reading.policy.revision == made.load_policy().revision
    assert reading.restart_needed == ()


def test_another_policy_file_is_read(place: Path) -> None:
    made = files(place)
    (place / "agent.toml").write_text(CONFIG.replace("policy.toml", "other.toml"))
    reading = made.read_again()
    assert reading.policy.units[0].id == "db"
    assert reading.policy_file == place / "other.toml"
    assert reading.restart_needed == ()


def test_what_needs_a_restart_is_named(place: Path) -> None:
    made = files(place)
    text = CONFIG.replace('"a"', '"b"').replace("flows", "f").replace("[coll", "queue = 3\n[coll")
    text += "[datapath.rules]\nloopback = true\n[control]\nenabled = false\n"
    (place / "agent.toml").write_text(text)
    assert set(made.read_again().restart_needed) == {
        "instance", "collectors", "datapath.queue", "datapath.rules", "control",
    }  # fmt: skip


def test_the_mistakes_of_both_files_are_listed(place: Path) -> None:
    made = files(place)
    (place / "agent.toml").write_text(CONFIG.replace("policy =", "polcy ="))
    (place / "policy.toml").write_text(POLICY.replace("select", "selct"))
    with pytest.raises(ConfigError) as caught:
        made.read_again()
    problems = caught.value.problems
    assert any(line.startswith(f"{place}/agent.toml:4:1: ") for line in problems)
    assert any(line.startswith(f"{place}/policy.toml:5:1: ") for line in problems)
    assert "did you mean" in str(caught.value)


def test_a_mistake_in_one_file_is_enough(place: Path) -> None:
    made = files(place)
    (place / "agent.toml").write_text(CONFIG + "[metrics]\nlisten = 3\n")
    with pytest.raises(ConfigError, match=r"agent\.toml:\d+:\d+: "):
        made.read_again()
    (place / "agent.toml").unlink()
    with pytest.raises(ConfigError, match=r"agent\.toml"):
        made.read_again()


def test_a_plugin_that_may_load_from_now_on_is_no_mistake(place: Path) -> None:
    (place / "agent.toml").write_text(
        '[plugins]\nallow = ["file"]\n' + CONFIG.replace('instance = "a"', "")
    )
    made = files(place)
    text = '[plugins]\nallow = ["file", "syslog"]\n' + CONFIG.replace('instance = "a"', "")
    (place / "agent.toml").write_text(text + "[collectors.syslog]\n")
    assert set(made.read_again().restart_needed) == {"plugins", "collectors"}
