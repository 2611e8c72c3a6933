"""Fuzz policies in YAML: ``python -m tests.fuzz.fuzz_kubernetes_policy --seconds 60 --seed 1``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.fuzz.harness import Target, main
from trireme_collector.errors import ConfigError, MissingExtraError
from trireme_datapath.policy import compile_policy, parse_kubernetes_policy

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TARGET"]

_SEEDS = tuple(
    one.encode()
    for one in (
        """\
apiVersion: v1
kind: Namespace
metadata: {name: a, labels: {t: x}}
---
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: a, labels: &l {app: w}}
spec: {containers: [{ports: [{name: h, containerPort: 80}]}]}
status: {podIP: 10.0.0.1}
""",
        """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: n, namespace: a}
spec:
  podSelector: {matchLabels: {app: w}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
    - podSelector:
        matchExpressions: [{key: a, operator: NotIn, values: [x]}]
    ports: [{port: h}, {protocol: UDP, port: 5, endPort: 9}]
""",
        "apiVersion: trireme-collector/v1\nkind: PolicySettings\nnodeAddresses: ['::1']\n",
        "apiVersion: v1\nkind: List\nitems: [&a {b: [*a]}]\n",
    )
)


def run(data: bytes) -> Hashable:
    """Read a policy; a mistake has a place."""
    problems: tuple[str, ...] = ()
    try:
        policy = compile_policy(parse_kubernetes_policy(data.decode(errors="replace"), "f"))
    except MissingExtraError:
        return "PyYAML is not installed"
    except ConfigError as error:
        problems = error.problems or ("no problem at all",)
    else:
        tables = [table for unit in policy.units for table in (unit.ingress, unit.egress)]
        return len(policy.units), sum(len(table.rules) for table in tables)
    assert all(problem.startswith("f:") for problem in problems), problems
    return len(problems), problems[0][-40:]


TARGET = Target(name="kubernetes_policy", seeds=_SEEDS, run=run, max_bytes=4_000, max_seconds=0.5)

if __name__ == "__main__":
    sys.exit(main([TARGET]))
