"""The sections of the datapath stand in the same file, and are as strict as the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trireme_collector import CollectorSpec, NullCollector, hookimpl
from trireme_collector.errors import ConfigError
from trireme_collector.registry import Registry
from trireme_datapath.agent import BackendName, RuleHook, load_agent_config

if TYPE_CHECKING:
    from pathlib import Path


class Syslog:
    @hookimpl
    def trireme_register_collectors(self) -> list[CollectorSpec]:
        return [CollectorSpec(name="syslog", factory=lambda _config, _context: NullCollector())]


@pytest.fixture
def registry() -> Registry:
    registry = Registry(entry_points=())
    registry.register(Syslog(), name="syslog")
    return registry


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "agent.toml"


def test_the_defaults_are_safe(file: Path, registry: Registry) -> None:
    file.write_text('[datapath]\npolicy = "policy.toml"\n', encoding="utf-8")
    config = load_agent_config(file, registry=registry)
    datapath = config.settings.datapath
    assert config.resolve(datapath.policy) == file.parent / "policy.toml"
    assert datapath.backend is BackendName.NETLINK
    assert not datapath.fail_open
    assert not datapath.rules.remove_at_stop
    assert datapath.rules.install


def test_everything_can_be_said(file: Path, registry: Registry) -> None:
    text = """
        [datapath]
        policy = "/etc/p.toml"
        backend = "nfqueue"
        queue = 7
        queue_length = 100
        copy_range = 256
        fail_open = true
        gso = false
        refuse = true
        [datapath.rules]
        install = false
        remove_at_stop = true
        hooks = ["forward"]
        mode = "all"
        interfaces = ["eth0"]
        [datapath.limits]
        max_flows = 900
    """
    file.write_text(text, encoding="utf-8")
    datapath = load_agent_config(file, registry=registry).settings.datapath
    assert (datapath.backend, datapath.queue, datapath.copy_range) == (BackendName.NFQUEUE, 7, 256)
    assert datapath.rules.hooks == [RuleHook.FORWARD]
    assert datapath.rules.mode == "all"
    assert datapath.limits.max_flows == 900


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: datapath: found an empty file, expected a table"),
        ("[datapath]", "1:2: datapath.policy: found nothing, expected the path of a file"),
        ("[datapath]\npolicy = ''", "2:10: datapath.policy: found string"),
        ("[datapath]\npolicy = 'p'\nqueue = 65536", "3:9: datapath.queue: found integer 65536"),
        ("[datapath]\npolicy = 'p'\nqueu = 1", '3:1: datapath.queu: found unknown key "queu"'),
        (
            "[datapath]\npolicy = 'p'\nbackend = 'nfq'",
            '3:11: datapath.backend: found string "nfq", expected one of "netlink", "nfqueue"',
        ),
        (
            "[datapath]\npolicy = 'p'\n[datapath.rules]\nhooks = []",
            "4:9: datapath.rules.hooks: found an empty array",
        ),
        (
            "[datapath]\npolicy = 'p'\n[datapath.rules]\ninterfaces = ['a b']",
            "4:15: datapath.rules.interfaces[0]: found string",
        ),
    ],
)
def test_a_mistake_has_its_place(file: Path, registry: Registry, text: str, expected: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_agent_config(file, registry=registry)
    (problem,) = caught.value.problems
    assert problem.removeprefix(f"{file}:").startswith(expected)
