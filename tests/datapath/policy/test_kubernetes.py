"""Objects of a cluster become a policy, or one line for each mistake says where and what."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from trireme_collector.errors import ConfigError
from trireme_datapath.judgement import FlowTuple
from trireme_datapath.policy import _kubernetes_rules as rules
from trireme_datapath.policy import (
    compile_policy,
    load_policy,
    parse_kubernetes_policy,
)
from trireme_datapath.policy.explain import explain
from trireme_datapath.policy.model import Policy, Prefix, RuleAction

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("yaml")

Plain: TypeAlias = Any  # what an object of the API is: nested, and of no certain type

SHOP = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop, empty: ""}}
---
apiVersion: v1
kind: Namespace
metadata: {name: ops, labels: {team: ops}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web, tier: ""}, creationTimestamp: null}
spec:
  nodeName: one
  containers:
  - {name: web, image: x, ports: [{name: http, containerPort: 8080}, {containerPort: 9}]}
status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: "2001:db8::1"}]}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: {name: db, namespace: shop, labels: {app: db}}
  spec: {nodeName: two, containers: [{ports: [{name: http, containerPort: 81}]}]}
  status: {podIP: 10.0.0.2}
- apiVersion: v1
  kind: Pod
  metadata: {name: watch, namespace: ops, labels: {app: watch}}
  spec: {nodeName: one}
  status: {podIP: 10.0.1.1}
"""
POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: np, namespace: shop}
spec:
"""
NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1}


def shop(spec: str, more: str = "") -> Policy:
    indented = "".join(f"  {line}\n" for line in spec.splitlines())
    return parse_kubernetes_policy(f"{SHOP}---\n{POLICY}{indented}{more}", "p.yaml")


def passes(policy: Policy, source: str, destination: str, port: int = 80, way: str = "tcp") -> bool:
    flow = FlowTuple(
        source=ipaddress.ip_address(source).packed,
        destination=ipaddress.ip_address(destination).packed,
        protocol=NUMBERS[way],
        port=0 if way == "icmp" else port,
        icmp_type=8 if way == "icmp" else 0,
    )
    return explain(compile_policy(policy), flow).action == "accept"


WEB, DB, WATCH, OUTSIDE = "10.0.0.1", "10.0.0.2", "10.0.1.1", "192.0.2.1"


def problems_of(text: str) -> list[str]:
    try:
        parse_kubernetes_policy(text, "p")
    except ConfigError as error:
        return list(error.problems)
    return []


# --- what it means ----------------------------------------------------------------------------


def test_labels_become_tags_and_pods_units() -> None:
    policy = parse_kubernetes_policy(SHOP, "p.yaml")
    web = policy.units[0]
    assert (web.id, web.namespace, len(web.select.addresses)) == ("shop/web", "shop", 2)
    assert set(web.tags) == {
        "app=web",
        'tier=""',
        "@namespace=shop",
        "@namespace.team=shop",
        '@namespace.empty=""',
        "@namespace.kubernetes.io/metadata.name=shop",
    }
    assert (policy.default, policy.unmatched) == (RuleAction.REJECT, RuleAction.REJECT)


def test_a_pod_that_no_policy_selects_lets_everything_through() -> None:
    policy = parse_kubernetes_policy(SHOP, "p.yaml")
    assert passes(policy, OUTSIDE, WEB)
    assert passes(policy, WEB, WATCH, way="icmp")


def test_an_empty_selector_and_no_rules_deny_all_that_comes_in() -> None:
    policy = shop("podSelector: {}")
    assert not passes(policy, OUTSIDE, WEB)
    assert not passes(policy, DB, WEB, way="udp")
    assert passes(policy, WEB, OUTSIDE)
    assert passes(policy, WEB, WEB, way="udp")  # never between a pod and itself
    assert passes(policy, DB, WATCH)


@pytest.mark.parametrize(
    ("spec", "ingress", "egress"),
    [
        ("podSelector: {}\npolicyTypes: [Egress]", True, False),
        ("podSelector: {}\npolicyTypes: [Ingress, Egress]", False, False),
        ("podSelector: {}\negress: [{ports: [{port: 1}]}]", False, False),
        ("podSelector: {}\negress: []", False, True),
        ("podSelector: {}\npolicyTypes: [Ingress]\negress: [{}]", False, True),
        ("podSelector: {}\ningress: [{}]", True, True),
        ("podSelector: {}\ningress: [{from: []}]", True, True),
        ("podSelector: {matchLabels: {app: other}}", True, True),
    ],
)
def test_policy_types_say_which_directions_are_isolated(
    spec: str, *, ingress: bool, egress: bool
) -> None:
    policy = shop(spec)
    assert passes(policy, OUTSIDE, WEB) is ingress
    assert passes(policy, WEB, OUTSIDE) is egress


def test_ports_have_names_ranges_and_protocols() -> None:
    policy = shop(
        "podSelector: {}\ningress: [{ports: [{port: http}, {port: 20, endPort: 22},"
        " {protocol: UDP}, {protocol: SCTP, port: 7}, {port: nowhere}]}]"
    )
    assert passes(policy, OUTSIDE, WEB, 8080)
    assert not passes(policy, OUTSIDE, WEB, 81)
    assert passes(policy, OUTSIDE, DB, 81)
    assert not passes(policy, OUTSIDE, DB, 8080)
    assert [passes(policy, OUTSIDE, WEB, p) for p in (19, 20, 22, 23)] == [False, True, True, False]
    assert passes(policy, OUTSIDE, WEB, 9999, "udp")
    assert passes(policy, OUTSIDE, WEB, 7, "sctp")
    assert not passes(policy, OUTSIDE, WEB, way="icmp")


def test_a_name_that_nobody_has_opens_nothing() -> None:
    policy = shop("podSelector: {}\ningress: [{ports: [{port: nowhere}]}]")
    assert not any(passes(policy, OUTSIDE, WEB, port) for port in (80, 8080, 81))


def test_a_name_in_egress_is_the_number_that_the_callee_gives_it() -> None:
    policy = shop(
        "podSelector: {matchLabels: {app: web}}\n"
        "egress: [{to: [{podSelector: {}}], ports: [{port: http}]}]"
    )
    assert passes(policy, WEB, DB, 81)
    assert not passes(policy, WEB, DB, 8080)
    assert not passes(policy, WEB, OUTSIDE, 81)


def test_a_block_has_exceptions() -> None:
    policy = shop(
        "podSelector: {}\n"
        "ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.64/26]}}]}]"
    )
    assert passes(policy, "192.0.2.63", WEB)
    assert not passes(policy, "192.0.2.64", WEB)
    assert not passes(policy, "192.0.2.127", WEB)
    assert passes(policy, "192.0.2.128", WEB)
    assert not passes(policy, "192.0.3.1", WEB)


def test_not_in_takes_pods_without_the_label_too() -> None:
    policy = shop(
        "podSelector: {matchLabels: {app: web}}\ningress: [{from: [{namespaceSelector: {},"
        " podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [db]}]}}]}]"
    )
    assert passes(policy, WATCH, WEB)
    assert not passes(policy, DB, WEB)
    assert not passes(policy, OUTSIDE, WEB)


def test_settings_say_which_pods_are_here_and_who_the_node_is() -> None:
    settings = (
        "---\napiVersion: trireme-collector/v1\nkind: PolicySettings\nname: n\nnode: one\n"
        "nodeAddresses: [192.0.2.9]\nunmatched: accept\nmidstream: judge\nobserveOnly: true\n"
    )
    policy = shop("podSelector: {}", settings)
    assert [unit.id for unit in policy.units] == ["shop/web", "ops/watch"]
    assert [peer.id for peer in policy.peers] == ["shop/db"]
    assert policy.observe_only
    assert policy.judge_midstream
    assert policy.unmatched is RuleAction.ACCEPT
    node = shop("podSelector: {}", settings.replace("observeOnly: true", ""))
    assert passes(node, "192.0.2.9", WEB)


def test_pods_that_have_no_address_of_their_own_are_left_out() -> None:
    base = {"apiVersion": "v1", "kind": "Pod"}
    objects: list[Plain] = [
        {**base, "metadata": {"name": "a"}, "spec": {"hostNetwork": True}},
        {**base, "metadata": {"name": "b"}, "status": {"phase": "Failed", "podIP": "10.0.0.1"}},
        {**base, "metadata": {"name": "c"}},
        {**base, "metadata": {"name": "d", "annotations": {"trireme-collector/interface": "v1"}}},
        {**base, "metadata": {"name": "e", "annotations": {"trireme-collector/cgroup": "a/b"}}},
    ]
    policy = parse_kubernetes_policy("\n---\n".join(map(json.dumps, objects)), "p")
    assert [unit.id for unit in policy.units] == ["default/d", "default/e"]
    assert [unit.select.interfaces for unit in policy.units] == [("v1",), ()]


def test_files_are_told_apart_by_their_names(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(SHOP)
    file.chmod(0o644)
    assert len(load_policy(file).units) == 3
    file.chmod(0o646)
    with pytest.raises(ConfigError, match="every user of this machine can change it"):
        load_policy(file)


def test_exceptions_leave_the_fewest_networks() -> None:
    whole = Prefix(bytes([10, 0, 0, 0]), 8)
    hole = Prefix(bytes([10, 0, 0, 1]), 32)
    assert len(rules.subtract(whole, [hole, hole])) == 24
    assert rules.subtract(whole, [whole]) == ()
    assert rules.subtract(whole, []) == (whole,)


# --- what it cannot mean ----------------------------------------------------------------------

# what stands in the spec, the place, and pieces of the message
SPEC_MISTAKES = [
    ("ingress: []", "3:1", "podSelector", "found nothing"),
    ("podSelector: {}\nengress: []", "6:3", "unknown key", "did you mean egress?"),
    ("podSelector:", "5:15", "found null", "what is empty and what is absent differ"),
    ("podSelector: {}\ningress: [{from: null}]", "6:20", "found null", "or no such key"),
    ("podSelector: {}\ningress: [null]", "6:13", "ingress[0]", "found null"),
    ("podSelector: {}\npolicyTypes: [ingress]", "6:17", '"ingress"', 'mean "Ingress"'),
    ("podSelector: {}\ningress: [{from: [{}]}]", "6:21", "an empty peer", "podSelector, namesp"),
    ("podSelector: {matchLabels: {a: 1}}", "5:34", "integer 1", "in quotes"),
    ("podSelector: {matchLabels: {a: true}}", "5:34", "true", "in quotes"),
    ("podSelector: {matchLabels: {a: 'x y'}}", "5:34", '"x y"', "letters, digits"),
    ("podSelector: {matchLabels: {'a b': x}}", "5:31", '"a b"', "the key of a label"),
    (
        "podSelector: {matchExpressions: [{key: a, operator: In}]}",
        *("5:36", "found nothing", "values that In compares"),
    ),
    (
        "podSelector: {matchExpressions: [{key: a, operator: Exists, values: [x]}]}",
        *("5:63", "values", "no values with Exists"),
    ),
    (
        "podSelector: {matchExpressions: [{key: a, operator: Gt, values: ['1']}]}",
        *("5:55", '"Gt"', 'one of "DoesNotExist", "Exists", "In", "NotIn"'),
    ),
    ("podSelector: {}\ningress: [{ports: [{port: 0}]}]", "6:29", "integer 0", "1 to 65535"),
    ("podSelector: {}\ningress: [{ports: [{port: '80'}]}]", "6:29", '"80"', "did you mean 80?"),
    ("podSelector: {}\ningress: [{ports: [{port: Http}]}]", "6:29", '"Http"', "name of one"),
    ("podSelector: {}\ningress: [{ports: [{endPort: 9}]}]", "6:23", "endPort", "beside the number"),
    (
        "podSelector: {}\ningress: [{ports: [{port: 9, endPort: 8}]}]",
        *("6:41", "integer 8", "a port from 9 to 65535"),
    ),
    (
        "podSelector: {}\ningress: [{ports: [{protocol: ICMP}]}]",
        *("6:33", '"ICMP"', 'one of "SCTP", "TCP", "UDP"'),
    ),
    (
        "podSelector: {}\ningress: [{from: [{ipBlock: {cidr: 10.0.0.1/8}}]}]",
        *("6:38", "bits beyond its length", '"10.0.0.0/8"'),
    ),
    (
        "podSelector: {}\ningress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/9]}}]}]",
        *("6:59", '"11.0.0.0/9"', 'a part of "10.0.0.0/8"'),
    ),
    (
        "podSelector: {}\ningress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]",
        *("6:22", "ipBlock", "ipBlock alone"),
    ),
    (
        "podSelector: {}\ningress: [{from: [{podSelector: {matchExpressions: ["
        + ", ".join(f"{{key: k{n}, operator: NotIn, values: [x]}}" for n in range(7))
        + "]}}]}]",
        *("6:21", "128 combinations of NotIn", "at most 64"),
    ),
]


@pytest.mark.parametrize(("spec", "place", "one", "other"), SPEC_MISTAKES)
def test_one_mistake_in_a_spec_is_one_problem(spec: str, place: str, one: str, other: str) -> None:
    indented = "".join(f"  {line}\n" for line in spec.splitlines())
    problems = problems_of(f"{POLICY}{indented}")
    assert len(problems) == 1, problems
    if not place.startswith("3:"):
        assert problems[0].startswith(f"p:{place}: "), problems
    assert one in problems[0]
    assert other in problems[0]


OBJECT_MISTAKES = [
    ("- x", "1:1", "an array", "an object with apiVersion and kind"),
    ("kind: Deployment\napiVersion: apps/v1", "1:7", '"Deployment"', "one of Pod, Namespace"),
    ("kind: Networkpolicy", "1:7", '"Networkpolicy"', "did you mean NetworkPolicy?"),
    ("kind: NetworkPolicy\napiVersion: v1", "2:13", '"v1"', "networking.k8s.io/v1"),
    ("kind: CiliumNetworkPolicy\napiVersion: cilium.io/v2", "1:7", "Cilium", "one of Pod"),
    ("kind: Namespace\napiVersion: v1", "1:1", "found nothing", "a name"),
    ("kind: List\napiVersion: v1\nitems: x", "3:8", 'string "x"', "an array"),
    ("kind: Pod\napiVersion: v1\nmetadata: {name: A}", "3:18", '"A"', "lower case"),
    (
        "kind: Pod\napiVersion: v1\nmetadata: {name: a, labels: {a: null}}",
        *("3:33", "found null", "a value"),
    ),
    (
        "kind: Pod\napiVersion: v1\nmetadata: {name: a}\nstatus: {podIP: 10.0.0.0/8}",
        *("4:17", "a network", "one address"),
    ),
    (
        (
            "kind: Pod\napiVersion: v1\nmetadata: {name: a}\nstatus: {podIP: 10.0.0.1}\nspec:\n"
            "  containers: [{ports: [{name: x, containerPort: x}]}]"
        ),
        *("6:25", "containerPort", "1 to 65535"),
    ),
    (
        "kind: PolicySettings\napiVersion: trireme-collector/v1\nnodes: one",
        *("3:1", 'unknown key "nodes"', "did you mean node?"),
    ),
    ("{{", "1:2", "a key", "a text"),
]


@pytest.mark.parametrize(("text", "place", "one", "other"), OBJECT_MISTAKES)
def test_one_mistake_in_an_object_is_one_problem(
    text: str, place: str, one: str, other: str
) -> None:
    problems = problems_of(text)
    assert len(problems) == 1, problems
    assert problems[0].startswith(f"p:{place}: "), problems
    assert one in problems[0]
    assert other in problems[0]


def test_nothing_is_there_twice() -> None:
    problems = problems_of(f"{SHOP}---\n{SHOP}")
    assert len(problems) == 5
    assert "the object at line 1 has it" in problems[0]
    pod = '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "%s"}, '
    pod += '"status": {"podIP": "::1"}}'
    two = f'{{"apiVersion": "v1", "kind": "List", "items": [{pod % "a"}, {pod % "b"}]}}'
    assert ['the address "::1/128" again' in one for one in problems_of(two)] == [True]


def test_labels_of_a_namespace_must_be_known_to_be_asked_for() -> None:
    spec = "podSelector: {}\ningress: [{from: [{namespaceSelector: {matchLabels: {%s: x}}}]}]"
    pod = (
        "---\napiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: new}\n"
        "status: {podIP: '::1'}\n"
    )
    with pytest.raises(ConfigError, match='the namespace "new", whose labels a policy asks for'):
        shop(spec % "team", pod)
    assert shop(spec % "kubernetes.io/metadata.name", pod).units


def test_all_mistakes_are_told_at_once() -> None:
    spec = "  podSelector: {matchLabels: {a: 1}}\n  policyTypes: [x]\n  more: 1\n"
    assert len(problems_of(f"{POLICY}{spec}---\nkind: Service\n")) == 4
