"""A policy made of a cluster's objects decides as a plain reading of the API's words would."""

from __future__ import annotations

import ipaddress
import json
import random
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireme_datapath.judgement import FlowTuple
from trireme_datapath.policy import compile_policy, parse_kubernetes_policy
from trireme_datapath.policy.explain import explain

pytest.importorskip("yaml")

Plain: TypeAlias = Any  # what an object of the API is: nested, and of no certain type
PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}

# --- an independent evaluator: it reads the objects as they are ----------------------------------


def selected(selector: Plain, labels: dict[str, str]) -> bool:
    for key, value in selector.get("matchLabels", {}).items():
        if key not in labels or labels[key] != value:
            return False
    for one in selector.get("matchExpressions", []):
        has = one["key"] in labels
        listed = has and labels[one["key"]] in one.get("values", [])
        holds = {"In": listed, "NotIn": not listed, "Exists": has, "DoesNotExist": not has}
        if not holds[one["operator"]]:
            return False
    return True


def addresses(pod: Plain) -> list[str]:
    return [one["ip"] for one in pod["status"]["podIPs"]]


def owner(pods: list[Plain], address: str) -> Plain:
    return next((pod for pod in pods if address in addresses(pod)), None)


def is_peer(peer: Plain, address: str, home: str, pods: list[Plain], spaces: Plain) -> bool:
    if "ipBlock" in peer:
        ip = ipaddress.ip_address(address)
        block = peer["ipBlock"]
        inside = ip in ipaddress.ip_network(block["cidr"])
        return inside and not any(
            ip in ipaddress.ip_network(one) for one in block.get("except", [])
        )
    pod = owner(pods, address)
    if pod is None:
        return False
    space = pod["metadata"]["namespace"]
    if "namespaceSelector" in peer:
        if not selected(peer["namespaceSelector"], spaces[space]):
            return False
    elif space != home:
        return False
    return selected(peer.get("podSelector", {}), pod["metadata"]["labels"])


def is_port(one: Plain, protocol: int, port: int, server: Plain) -> bool:
    if PROTOCOLS[one.get("protocol", "TCP")] != protocol:
        return False
    wanted = one.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, int):
        return bool(wanted <= port <= one.get("endPort", wanted))
    if server is None:
        return False
    return any(
        named.get("name") == wanted
        and PROTOCOLS[named.get("protocol", "TCP")] == protocol
        and named["containerPort"] == port
        for container in server["spec"]["containers"]
        for named in container["ports"]
    )


def side_allows(
    world: Plain, pod: Plain, peer_address: str, server: Plain, traffic: tuple[int, int], way: str
) -> bool:
    pods, spaces, policies = world
    if peer_address in addresses(pod):
        return True
    home = pod["metadata"]["namespace"]
    isolated = False
    for policy in policies:
        spec = policy["spec"]
        types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
        if (
            policy["metadata"]["namespace"] != home
            or way.title() not in types
            or not selected(spec["podSelector"], pod["metadata"]["labels"])
        ):
            continue
        isolated = True
        for rule in spec.get(way, []):
            peers = rule.get("from" if way == "ingress" else "to", [])
            ports = rule.get("ports", [])
            if peers and not any(is_peer(p, peer_address, home, pods, spaces) for p in peers):
                continue
            if not ports or any(is_port(one, *traffic, server) for one in ports):
                return True
    return not isolated


def allowed(world: Plain, source: str, destination: str, traffic: tuple[int, int]) -> bool:
    client, server = owner(world[0], source), owner(world[0], destination)
    if client is None and server is None:
        return False
    return (
        client is None or side_allows(world, client, destination, server, traffic, "egress")
    ) and (server is None or side_allows(world, server, source, server, traffic, "ingress"))


# --- clusters ------------------------------------------------------------------------------------

SPACES = ["red", "blue"]
KEYS, VALUES = ["app", "x.io/tier"], ["a", "b", ""]
BLOCKS: list[Plain] = [
    {"cidr": "10.0.0.0/30"},
    {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/31", "192.0.2.0/24"]},
    {"cidr": "192.0.2.0/24", "except": ["192.0.2.1/32"]},
    {"cidr": "2001:db8::/32", "except": ["2001:db8::/64"]},
]
OUTSIDE = ["192.0.2.1", "192.0.2.2", "10.0.0.9", "2001:db8::1", "2001:db8:1::1"]


class Dice:
    """Draws objects. Hypothesis gives the seed only: what it draws itself is rarely of any use."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.one_of = self.random.choice

    def some(self, values: list[str], most: int) -> list[str]:
        return self.random.sample(values, self.random.randint(1, most))

    def happens(self, percent: int) -> bool:
        return self.random.randrange(100) < percent

    def labels(self) -> dict[str, str]:
        return {key: self.one_of(VALUES) for key in KEYS if self.happens(60)}

    def selector(self, empty: int = 30) -> Plain:
        if self.happens(empty):
            return {}
        if self.happens(30):
            return {"matchLabels": {self.one_of(KEYS): self.one_of(VALUES)}}
        operator = self.one_of(["In", "NotIn", "NotIn", "Exists", "DoesNotExist"])
        one: Plain = {"key": self.one_of(KEYS), "operator": operator}
        if operator in {"In", "NotIn"}:
            one["values"] = self.some(VALUES, 2)
        return {"matchExpressions": [one]}

    def peer(self) -> Plain:
        if self.happens(25):
            return {"ipBlock": self.one_of(BLOCKS)}
        peer = {}
        if self.happens(50):
            peer["namespaceSelector"] = self.selector()
        if not peer or self.happens(50):
            peer["podSelector"] = self.selector()
        return peer

    def port(self) -> Plain:
        port: Plain = {}
        if self.happens(40):
            port["protocol"] = self.one_of(sorted(PROTOCOLS))
        if self.happens(80):
            port["port"] = self.one_of([80, 81, "http", "http", "dns"])
            if port["port"] == 80 and self.happens(60):
                port["endPort"] = self.random.randint(80, 82)
        return port

    def rule(self, key: str) -> Plain:
        rule = {}
        if self.happens(85):
            rule[key] = [self.peer() for _ in range(self.random.randint(1, 2))]
        if self.happens(50):
            rule["ports"] = [self.port() for _ in range(self.random.randint(1, 2))]
        return rule

    def spec(self) -> Plain:
        spec: Plain = {"podSelector": self.selector(60)}
        for direction, key in (("ingress", "from"), ("egress", "to")):
            if self.happens(60):
                spec[direction] = [self.rule(key) for _ in range(self.random.randint(0, 2))]
        if self.happens(50):
            spec["policyTypes"] = self.some(["Ingress", "Egress"], 2)
        return spec

    def pod(self, number: int) -> Plain:
        ports = [
            {"name": self.one_of(["http", "dns"]), "containerPort": self.random.randint(79, 82)}
            for _ in range(self.random.randint(0, 2))
        ]
        for port in ports:
            if self.happens(30):
                port["protocol"] = "UDP"
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"p{number}",
                "namespace": self.one_of(SPACES),
                "labels": self.labels(),
            },
            "spec": {"containers": [{"name": "c", "ports": ports}]},
            "status": {"podIPs": [{"ip": f"10.0.0.{number}"}, {"ip": f"2001:db8::a{number}"}]},
        }

    def world(self) -> tuple[list[Plain], dict[str, dict[str, str]], list[Plain]]:
        policies = [
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": f"np{number}", "namespace": self.one_of(SPACES)},
                "spec": self.spec(),
            }
            for number in range(self.random.randint(1, 3))
        ]
        spaces = {name: self.labels() for name in SPACES}
        return [self.pod(number) for number in range(4)], spaces, policies


@given(st.integers(0, 2**32))
def test_it_decides_as_the_words_of_the_api(seed: int) -> None:
    dice = Dice(seed)
    world = dice.world()
    pods, spaces, policies = world
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        for name, labels in spaces.items()
    ]
    text = "\n---\n".join(json.dumps(one) for one in [*pods, *namespaces, *policies])
    policy = compile_policy(parse_kubernetes_policy(text))
    known = [address for pod in pods for address in addresses(pod)]
    for _ in range(20):
        source = dice.one_of([*known, *OUTSIDE])
        family = [one for one in [*known, *OUTSIDE] if (":" in one) == (":" in source)]
        destination = dice.one_of(family)
        traffic = (dice.one_of([6, 6, 17, 132]), dice.random.randint(79, 83))
        flow = FlowTuple(
            source=ipaddress.ip_address(source).packed,
            destination=ipaddress.ip_address(destination).packed,
            protocol=traffic[0],
            port=traffic[1],
        )
        found = explain(policy, flow).action == "accept"
        assert found == allowed(world, source, destination, traffic), (source, destination, traffic)
