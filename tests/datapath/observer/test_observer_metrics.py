"""What an observer counts, as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trireme_collector.records import ActionType, EndPoint, FlowRecord

pytest.importorskip("grpc")

from trireme_datapath.agent._services import AgentServices
from trireme_datapath.grpc_server import parse_address
from trireme_datapath.observer import FlowsRequest
from trireme_datapath.observer._grpc_client import ObserverClient
from trireme_datapath.observer.config import ObserverConfig

if TYPE_CHECKING:
    from pathlib import Path


def read(services: AgentServices) -> dict[str, float]:
    return {one.spec.exposed_name: one.samples[0][1] for one in services.metrics()}


def test_what_is_kept_sent_and_lost(tmp_path: Path) -> None:
    place = f"unix://{tmp_path}/s"
    services = AgentServices(ObserverConfig(listen=[place], max_flows=16), node_name="n")
    services.open()
    observer = services.observer
    assert observer is not None
    try:
        for port in range(1, 21):
            record = FlowRecord(
                source=EndPoint(ip="192.0.2.1", port=port),
                action=ActionType.ACCEPT,
                l4_protocol=17,
            )
            observer.observe(record, port)
        services.note_lost(5)
        with ObserverClient(parse_address(place)) as client:
            assert len([r for r in client.flows(FlowsRequest(number=3)) if "flow" in r]) == 3
            following = client.flows(FlowsRequest(number=1, follow=True))
            next(following)
            assert read(services)["trireme_observer_clients"] == 1
        found = read(services)
    finally:
        services.close()
    assert read(services)["trireme_observer_clients"] == 0
    del found["trireme_observer_clients"]
    assert found == {
        "trireme_observer_flows": 16,
        "trireme_observer_max_flows": 16,
        "trireme_observer_flows_seen_total": 20,
        "trireme_observer_events_lost_total": 5,
        "trireme_observer_messages_unsound_total": 0,
        "trireme_observer_flows_sent_total": 4,
        "trireme_observer_flows_missed_total": 0,
    }


def test_without_an_observer_nothing_is_measured() -> None:
    assert read(AgentServices(ObserverConfig(), node_name="n")) == {}
