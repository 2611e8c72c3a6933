"""Every collector that writes flow logs writes the names that it is given."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugins.http.servers import ScriptedServer, answer
from tests.plugins.loki.receiver import LokiReceiver
from trireme_collector import (
    CollectorContext,
    EndPoint,
    FlowRecord,
    PacketReport,
    Registry,
    RetryableDeliveryError,
)
from trireme_collector_http._bodies import text_form
from trireme_collector_kafka._messages import message_form
from trireme_collector_loki._entries import entry_form
from trireme_collector_otlp._logs import log_form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Enrich = Callable[[Mapping[str, object]], dict[str, object]]

FLOWS = [
    FlowRecord(
        source=EndPoint(ip="192.0.2.1", port=40_000),
        destination=EndPoint(ip="192.0.2.2", port=443),
        l4_protocol=6,
        packets=3,
        bytes=number,
        instance="host-7",
        epoch=1,
        sequence=number,
        end_time_ns=1_700_000_000_000_000_000,
    )
    for number in (1, 2)
]


def names() -> Enrich:
    """Give another name each time, as a cluster may."""
    numbers = itertools.count(1)

    def enrich(fields: Mapping[str, object]) -> dict[str, object]:
        return {**fields, "SrcK8S_Name": f"pod-{next(numbers)}", "SrcK8S_Namespace": "shop"}

    return enrich


def build(kind: str, enrich: Enrich | None, **options: object) -> Any:  # noqa: ANN401  any collector
    spec = Registry().collector_spec(kind)
    context = CollectorContext(name="c", instance="host-7", enrich=enrich)
    collector: Any = spec.factory(spec.config_type(**options), context)
    collector.open()
    return collector


def test_messages() -> None:
    (message,) = message_form("netobserv", keyed=True, enrich=names())(FLOWS[0])
    assert json.loads(message.value)["SrcK8S_Name"] == "pod-1"


def test_streams() -> None:
    (entry,) = entry_form("netobserv", enrich=names())(FLOWS[0], 0)
    assert ("SrcK8S_Namespace", "shop") in entry.labels
    assert json.loads(entry.line)["SrcK8S_Name"] == "pod-1"
    assert "SrcK8S_Namespace" not in json.loads(entry.line)


def test_logs() -> None:
    (log,) = log_form("netobserv", enrich=names())(FLOWS[0])
    assert log.attributes["SrcK8S_Name"] == "pod-1"
    assert json.loads(log.body)["SrcK8S_Namespace"] == "shop"


def test_bodies() -> None:
    two_ways = FlowRecord(source_packets=1, destination_packets=2)
    text = text_form("netobserv", agent_ip="192.0.2.9", enrich=names())(two_ways)
    there, back = map(json.loads, text.split(b"\n"))
    assert (there["SrcK8S_Name"], back["SrcK8S_Name"]) == ("pod-1", "pod-2")
    assert there["AgentIP"] == "192.0.2.9"


@pytest.mark.parametrize("kind", ["file", "http"])
def test_an_address_of_the_host_is_of_flow_logs_alone(kind: str) -> None:
    spec = Registry().collector_spec(kind)
    place = {"path": "x"} if kind == "file" else {"url": "http://127.0.0.1:1/"}
    with pytest.raises(ValueError, match="format = netobserv beside agent_ip"):
        spec.config_type(**place, agent_ip="192.0.2.9")


def test_a_request_goes_out_again_as_it_was() -> None:
    pytest.importorskip("httpx2", reason="the extra http is not installed")
    server = ScriptedServer()
    server.script = [answer(503)]
    collector = build("http", names(), url=server.url, format="netobserv")
    assert collector.kinds == {FlowRecord}
    with pytest.raises(RetryableDeliveryError):
        collector.deliver(FLOWS)
    collector.deliver(FLOWS)
    collector.close()
    server.close()
    first, second = server.requests
    assert first.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["SrcK8S_Name"] for line in first.body.splitlines()] == [
        "pod-1",
        "pod-2",
    ]
    assert first.body == second.body
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_a_line_goes_out_again_as_it_was() -> None:
    pytest.importorskip("httpx2", reason="the extra loki is not installed")
    pytest.importorskip("cramjam", reason="the extra loki is not installed")
    loki = LokiReceiver()
    loki.script = [(500, {}, b"")]
    collector = build("loki", names(), url=loki.url)
    with pytest.raises(RetryableDeliveryError):
        collector.deliver(FLOWS)
    collector.deliver(FLOWS)
    collector.close()
    loki.stop()
    assert [json.loads(line.text)["SrcK8S_Name"] for line in loki.lines] == ["pod-1", "pod-2"]


def test_what_is_no_flow_has_no_text() -> None:
    assert text_form("netobserv")(PacketReport(packet_id=1)) == b""
