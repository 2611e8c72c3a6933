"""The policy: its model, its file, its compiled form and its explanation."""

from __future__ import annotations

from trireme_datapath.policy._candidates import Candidates
from trireme_datapath.policy.compile import CompiledPolicy, CompiledUnit, compile_policy
from trireme_datapath.policy.flow_policy import FlowPolicy, Match, Peer, drop_reason
from trireme_datapath.policy.kubernetes import (
    load_kubernetes_policy,
    parse_kubernetes_policy,
)
from trireme_datapath.policy.load import load_policy, parse_policy
from trireme_datapath.policy.model import Policy, Rule, Unit
from trireme_datapath.policy.rule_table import RuleTable

__all__ = [
    "Candidates",
    "CompiledPolicy",
    "CompiledUnit",
    "FlowPolicy",
    "Match",
    "Peer",
    "Policy",
    "Rule",
    "RuleTable",
    "Unit",
    "compile_policy",
    "drop_reason",
    "load_kubernetes_policy",
    "load_policy",
    "parse_kubernetes_policy",
    "parse_policy",
]
