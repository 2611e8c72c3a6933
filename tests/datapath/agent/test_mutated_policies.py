"""300 mutated policies: no traceback, and never a policy half in force."""

from __future__ import annotations

import random
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.datapath.test_datapath import HTTP, SSH, Bench
from trireme_collector.errors import ConfigError
from trireme_datapath.policy import CompiledPolicy, compile_policy, load_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "policies").glob("*.toml"))
CLUSTER = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{ports: [{name: http, containerPort: 80}]}]}
status: {podIPs: [{ip: 198.51.100.20}, {ip: "2001:db8::20"}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}
    - namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [x]}]}
    ports: [{port: http}, {protocol: UDP, port: 53, endPort: 60}]
"""
PIECES = [
    *("[", "]", "{", "}", '"', "'", "=", "\n", "\x00", "\ufeff", "#", "[[unit]]", "accept"),
    *("reject", "any", "10.0.0.0/8", "::/0", "-1", "99999", "*", "&a", "*a", "!!x", "---", ": "),
]


def mutated(text: str, dice: random.Random) -> str:
    """Change a text at one to four places, as typing mistakes and bad disks do."""
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(text) + 1)
        kind = dice.randrange(5)
        if kind == 0:
            text = text[:at] + dice.choice(PIECES) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + dice.randint(1, 30) :]
        elif kind == 2:
            text = text[:at] + chr(dice.randrange(1, 0x3000)) + text[at + 1 :]
        elif kind == 3:
            lines = text.split("\n")
            lines.insert(dice.randrange(len(lines)), dice.choice(lines))
            text = "\n".join(lines)
        else:
            text = text[:at]
    return text


def sources() -> Iterator[tuple[str, str]]:
    for path in EXAMPLES:
        yield "policy.toml", path.read_text(encoding="utf-8")
    yield "policy.yaml", CLUSTER


def test_300_mutated_policies_are_in_force_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    dice = random.Random(300)
    bench = Bench()
    texts = list(sources())
    accepted = refused = 0
    with bench.datapath as datapath:
        for number in range(300):
            name, text = texts[number % len(texts)]
            file = tmp_path / name
            file.write_text(mutated(text, dice), encoding="utf-8", newline="")
            file.chmod(0o600)
            before = datapath.engine.policy
            told: tuple[str, ...] = ()
            future: Future[str] = Future()
            try:
                future = datapath.replace_policy(file)
            except ConfigError as error:
                told = error.problems or ("no problem is named",)
            datapath.judge()
            if told:
                refused += 1
                assert all(problem.startswith(str(file)) for problem in told)
                assert datapath.engine.policy is before
                continue
            accepted += 1
            again = compile_policy(load_policy(file))
            assert future.result(0) == datapath.engine.policy.revision == again.revision
            judged_alike(bench, again)
    assert accepted > 10
    assert refused > 100


def judged_alike(bench: Bench, policy: CompiledPolicy) -> None:
    """Packets are judged as a fresh engine with that policy would judge them."""
    other = Bench()
    other.datapath.replace_policy(policy)
    verdicts = []
    for one in (bench, other):
        if one is other:
            one.datapath.open()
        queue = one.queues[-1]
        known = len(queue.verdicts)
        one.now_ns += 10**15  # whatever was open is long forgotten
        one.datapath.engine.flows.sweep(one.now_ns)
        queue.feed(HTTP, SSH)
        one.datapath.judge()
        verdicts.append([found.verdict for found in queue.verdicts.values()][known:])
    assert verdicts[0] == verdicts[1]
