"""Addresses get names, and a look-up that fails or is slow is in nobody's way."""

from __future__ import annotations

from typing import Any

import pytest

from trireme_collector import EnricherSpec, NoOptions, PluginError, Registry, hookimpl
from trireme_collector.netobserv import Enricher, KubernetesObject

POD = KubernetesObject(
    name="web-1",
    type="Pod",
    namespace="shop",
    owner_name="web",
    owner_type="Deployment",
    host_ip="198.51.100.1",
    host_name="worker-1",
    zone="a",
    network_name="primary",
)


class Lookup:
    """Knows what it was told and counts who asks."""

    def __init__(self, known: dict[str, KubernetesObject | Exception]) -> None:
        self.known = known
        self.asked: list[str] = []

    def find(self, address: str) -> KubernetesObject | None:
        self.asked.append(address)
        found = self.known.get(address)
        if isinstance(found, Exception):
            raise found
        return found


def test_a_match_has_all_its_fields() -> None:
    record = Enricher(Lookup({"a": POD})).enrich({"SrcAddr": "a", "DstAddr": "b"}, 0)
    assert record == {
        "SrcAddr": "a",
        "DstAddr": "b",
        "SrcK8S_Name": "web-1",
        "SrcK8S_Type": "Pod",
        "SrcK8S_OwnerName": "web",
        "SrcK8S_OwnerType": "Deployment",
        "SrcK8S_Namespace": "shop",
        "SrcK8S_HostIP": "198.51.100.1",
        "SrcK8S_HostName": "worker-1",
        "SrcK8S_NetworkName": "primary",
        "SrcK8S_Zone": "a",
        "K8S_FlowLayer": "app",
    }


def test_what_is_empty_is_absent() -> None:
    node = KubernetesObject(name="n", type="Node", host_name="n")
    record = Enricher(Lookup({"a": node})).enrich({"DstAddr": "a"}, 0)
    assert record == {
        "DstAddr": "a",
        "DstK8S_Name": "n",
        "DstK8S_Type": "Node",
        "DstK8S_OwnerName": "n",
        "DstK8S_OwnerType": "Node",
        "K8S_FlowLayer": "infra",
    }


@pytest.mark.parametrize(
    ("source", "destination", "agent", "before", "after"),
    [
        ("1", "2", "1", 0, 1),
        ("1", "2", "2", 1, 0),
        ("1", "2", "3", 0, 0),
        ("1", "1", "1", 0, 2),
        ("1", "1", "9", 0, 2),
        ("", "", "1", 1, 1),
        ("", "2", "2", 1, 0),
        ("1", "2", None, 0, 0),
    ],
)
def test_the_direction_is_that_of_the_node(
    source: str, destination: str, agent: str | None, before: int, after: int
) -> None:
    known: dict[str, Any] = {
        "a": KubernetesObject(name="a", type="Pod", host_ip=source),
        "b": KubernetesObject(name="b", type="Pod", host_ip=destination),
    }
    record = {"SrcAddr": "a", "DstAddr": "b", "FlowDirection": before}
    if agent is not None:
        record["AgentIP"] = agent
    assert Enricher(Lookup(known)).enrich(record, 0)["FlowDirection"] == after


@pytest.mark.parametrize(
    ("namespace", "kind", "name", "layer"),
    [
        ("shop", "Pod", "x", "app"),
        ("openshift-dns", "Pod", "x", "infra"),
        ("netobserv", "Pod", "x", "infra"),
        ("default", "Service", "kubernetes", "infra"),
        ("default", "Service", "openshift", "infra"),
        ("default", "Pod", "kubernetes", "app"),
    ],
)
def test_who_talks(namespace: str, kind: str, name: str, layer: str) -> None:
    found = KubernetesObject(name=name, type=kind, namespace=namespace)
    assert Enricher(Lookup({"a": found})).enrich({"SrcAddr": "a"}, 0)["K8S_FlowLayer"] == layer


def test_answers_are_believed_for_a_while() -> None:
    lookup = Lookup({"a": POD})
    enricher = Enricher(lookup, lifetime_ms=1_000)
    for now_ms in (0, 999, 1_000, 1_500):
        assert "SrcK8S_Name" in enricher.enrich({"SrcAddr": "a", "DstAddr": "b"}, now_ms)
    assert lookup.asked == ["a", "b", "a", "b"], "that there is none is an answer, too"
    assert (enricher.hits, enricher.misses) == (4, 4)
    enricher.enrich({"SrcAddr": "a"}, -10_000)
    assert len(lookup.asked) == 5, "a clock that was set back keeps no answer alive"


def test_answers_are_bounded_and_those_in_use_stay() -> None:
    lookup = Lookup({"a": POD})
    enricher = Enricher(lookup, max_entries=4)
    for number in range(50):
        enricher.enrich({"SrcAddr": "a", "DstAddr": str(number)}, 0)
    assert lookup.asked.count("a") == 1


def test_a_look_up_that_fails_costs_no_record() -> None:
    enricher = Enricher(Lookup({"a": OSError("gone")}))
    assert enricher.enrich({"SrcAddr": "a", "Bytes": 1}, 0)["Bytes"] == 1
    assert enricher.failures == 1


def test_a_look_up_may_have_an_end() -> None:
    class Closing(Lookup):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    lookup = Closing({})
    Enricher(lookup).close()
    assert lookup.closed == 1
    Enricher(Lookup({})).close()


def test_addresses_may_be_anything() -> None:
    lookup = Lookup({})
    Enricher(lookup).enrich({"SrcAddr": None, "DstAddr": ["x"]}, 0)
    assert lookup.asked == []


class Plugin:
    """Offers what it is given."""

    def __init__(self, *offered: object) -> None:
        self.offered = offered

    @hookimpl
    def trireme_register_enrichers(self) -> list[object]:
        return list(self.offered)


def test_a_plugin_offers_look_ups() -> None:
    spec: EnricherSpec[NoOptions] = EnricherSpec(
        name="mine", factory=lambda _: Lookup({}), summary="Mine."
    )
    registry = Registry(entry_points=[])
    info = registry.register(Plugin(spec), name="mine")
    assert info.enrichers == (spec,)
    assert info.collectors == ()
    assert registry.enricher_spec("mine") is spec
    with pytest.raises(PluginError, match="offers no collector"):
        registry.collector_spec("mine")


def test_a_plugin_without_the_look_up() -> None:
    registry = Registry(entry_points=[])
    registry.register(Plugin(), name="empty")
    with pytest.raises(PluginError, match=r"offers no look-up$"):
        registry.enricher_spec("empty")
    with pytest.raises(PluginError, match="there is no plugin 'other'"):
        registry.enricher_spec("other")


def test_a_plugin_that_offers_something_else_is_broken() -> None:
    registry = Registry(entry_points=[])
    with pytest.raises(PluginError, match="must return EnricherSpec"):
        registry.register(Plugin("x"), name="broken")
