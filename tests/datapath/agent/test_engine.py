"""The engine of an agent does what the configuration asks for, and nothing besides."""

from __future__ import annotations

import pytest

from tests.datapath.agent.test_agent import HTTP, POLICY, SSH
from trireme_collector.records import CounterReport
from trireme_datapath.agent import DatapathConfig, QueueMode, RulesConfig
from trireme_datapath.agent._engine import build_engine
from trireme_datapath.agent.config import DNSConfig
from trireme_datapath.packets import Verdict
from trireme_datapath.policy import compile_policy, parse_policy
from trireme_datapath.testing import SECOND_NS, START_NS, craft

UNIT = '[[unit]]\nid = "web"\nselect.address = "198.51.100.20"\n'
COMPILED = compile_policy(parse_policy(POLICY))


def config_of(**settings: object) -> DatapathConfig:
    return DatapathConfig(policy="policy.toml", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("refuse", [True, False])
def test_what_is_refused_is_marked_or_dropped(refuse: bool) -> None:
    config = config_of(refuse=refuse)
    decision = build_engine(config, COMPILED, dict).receive(craft(SSH), START_NS)
    if refuse:
        assert decision.mark == config.refuse_mark
    else:
        assert (decision.verdict, decision.mark) == (Verdict.DROP, None)


@pytest.mark.parametrize("mode", QueueMode)
def test_only_where_new_connections_are_queued_are_accepted_packets_marked(mode: QueueMode) -> None:
    config = config_of(rules=RulesConfig(mode=mode))
    decision = build_engine(config, COMPILED, dict).receive(craft(HTTP), START_NS)
    assert decision.verdict is not Verdict.DROP
    assert decision.mark == (config.accept_mark if mode is QueueMode.NEW else None)


@pytest.mark.parametrize("seconds", [0, 30])
def test_counters_are_reported_as_often_as_asked_for(seconds: int) -> None:
    asked: list[int] = []

    def totals() -> dict[str, int]:
        asked.append(seconds)
        return {}

    engine = build_engine(config_of(counter_report_seconds=seconds), COMPILED, totals)
    engine.take_records(START_NS)
    engine.receive(craft(HTTP), START_NS)
    found = engine.take_records(START_NS + 31 * SECOND_NS)
    reports = [one for one in found if isinstance(one, CounterReport)]
    assert bool(reports) == bool(asked) == bool(seconds)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_kernel_keeps_no_look_ups_to_itself_that_are_observed(enabled: bool) -> None:
    config = config_of(dns=DNSConfig(enabled=enabled))
    policy = compile_policy(parse_policy('version = 1\ndefault = "accept"\n' + UNIT))
    query = craft("udp 198.51.100.20:40000 > 192.0.2.53:53")
    decision = build_engine(config, policy, dict).receive(query, START_NS)
    assert decision.verdict is not Verdict.DROP
    assert decision.mark == (None if enabled else config.accept_mark)
