"""What an agent offers over gRPC: nothing by default, and its flows where it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trireme_collector.errors import ConfigError
from trireme_collector.testing import MemoryCollector
from trireme_datapath.agent import load_agent_config
from trireme_datapath.agent._services import AgentServices
from trireme_datapath.monitor.sources import Payload, PayloadType
from trireme_datapath.observer import FlowsRequest, LostEvents, SeenFlow
from trireme_datapath.observer.config import ObserverConfig

if TYPE_CHECKING:
    from pathlib import Path


def test_an_agent_that_nobody_watches_offers_nothing() -> None:
    services = AgentServices(ObserverConfig(), node_name="host")
    memory = MemoryCollector()
    services.open()
    assert services.before(memory) is memory
    services.see(Payload(data=b"\x01"))
    services.close()
    assert services.observer is None


def test_messages_of_a_datapath_are_shown(tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    config = ObserverConfig(listen=["unix:s"])
    services = AgentServices(config, node_name="host", resolve=tmp_path.joinpath)
    services.open()
    assert (tmp_path / "s").is_socket()
    drop = bytes.fromhex("01850000000000000000000000000000") + bytes(20)
    services.see(Payload(data=drop))
    services.see(Payload(lost=5, cpu=2, type=PayloadType.LOST))
    assert services.observer is not None
    flow, lost = services.observer.read(FlowsRequest()).read(9, 0)
    assert isinstance(flow, SeenFlow)
    assert flow.flow is not None
    assert flow.flow["verdict"] == "DROPPED"
    assert isinstance(lost, LostEvents)
    assert (lost.source, lost.count, lost.cpu) == ("PERF_EVENT_RING_BUFFER", 5, 2)
    services.close()
    assert list(tmp_path.iterdir()) == []


def test_mistakes_of_the_section_are_found_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(
        "[datapath]\npolicy = 'policy.toml'\n[collectors.console]\n"
        "[observer]\nlisten = ['example.org']\nmax_flows = 0\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_agent_config(path)
    assert len(caught.value.problems) == 2
    assert "expected unix:///PATH, HOST:PORT or [IPV6]:PORT" in str(caught.value)
