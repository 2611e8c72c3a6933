"""The command ``trace_rules`` of a running agent."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

from trireme_collector.control import Peer, TraceRulesArguments, TraceRulesResult
from trireme_collector.errors import ConfigError, DatapathError
from trireme_datapath.agent._rule_tracing import trace_rules_command
from trireme_datapath.kernel.trace_session import FlowSelection, TraceSession

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trireme_collector.records import Record

PEER = Peer(1, 0, 0)


class FakeSession(TraceSession):
    """Runs until it is told to end."""

    def __init__(
        self, flow: FlowSelection, until_ns: int, report: Callable[[Record], None]
    ) -> None:
        super().__init__(flow, until_ns, report)
        self.flow = flow
        self.opened = False
        self.end = threading.Event()
        self.ended: Future[None] = Future()

    def open(self) -> None:
        self.opened = True

    def run(self) -> None:
        self.end.wait(5)
        self.ended.set_result(None)


def test_one_at_a_time() -> None:
    made: list[FakeSession] = []

    def session(
        flow: FlowSelection, until_ns: int, report: Callable[[Record], None]
    ) -> FakeSession:
        made.append(FakeSession(flow, until_ns, report))
        return made[-1]

    command = trace_rules_command(lambda _: None, session)
    result = command.handler(TraceRulesArguments(destination="192.0.2.1", port=80), PEER)
    assert isinstance(result, TraceRulesResult)
    assert result.until_ns > 0
    assert made[0].opened
    assert made[0].flow == FlowSelection(protocol="tcp", destination="192.0.2.1/32", port=80)
    with pytest.raises(DatapathError, match="already"):
        command.handler(TraceRulesArguments(port=80), PEER)
    made[0].end.set()
    made[0].ended.result(5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (TraceRulesArguments(), "every packet"),
        (TraceRulesArguments(source="example.com"), "source 'example.com'"),
        (TraceRulesArguments(source="192.0.2.1", destination="2001:db8::1"), "different versions"),
        (TraceRulesArguments(protocol="icmp", source="192.0.2.1", port=1), "no ports"),
        (TraceRulesArguments(protocol="icmpv6", source="192.0.2.1"), "does not go with"),
        (TraceRulesArguments(source="-j ACCEPT"), "source '-j ACCEPT'"),
    ],
)
def test_what_can_not_be_traced(arguments: TraceRulesArguments, words: str) -> None:
    command = trace_rules_command(lambda _: None, FakeSession)
    with pytest.raises(ConfigError, match=words):
        command.handler(arguments, PEER)


def test_rules_that_are_refused_leave_nothing_behind() -> None:
    called: list[str] = []

    def run(command: Sequence[str]) -> str:
        called.append(" ".join(command[:6]))
        if "-A" in command and "OUTPUT" in command:
            raise DatapathError("no")
        return "iptables v1.8.9 (nf_tables)"

    session = TraceSession(FlowSelection(protocol="icmp", source="192.0.2.1"), 1, print, run=run)
    with pytest.raises(DatapathError, match="no"):
        session.open()
    removed = [text for text in called if " -D " in f"{text} "]
    assert len(removed) == 4


def test_the_legacy_variant_is_refused() -> None:
    flow = FlowSelection(protocol="icmp", source="192.0.2.1")
    session = TraceSession(flow, 1, print, run=lambda _: "iptables v1.8.9 (legacy)")
    with pytest.raises(DatapathError, match="legacy"):
        session.open()
