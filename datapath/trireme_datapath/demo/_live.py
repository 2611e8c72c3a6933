"""The demo with real packets."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from trireme_collector.errors import DatapathError
from trireme_datapath.agent import Agent
from trireme_datapath.demo._attempts import ATTEMPTS, Result, try_out
from trireme_datapath.demo._report import DemoReport
from trireme_datapath.demo._servers import Servers
from trireme_datapath.demo._setting import POLICY, setting
from trireme_datapath.demo._topology import CLIENT, DATABASE, WEB, Topology

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from trireme_datapath.agent import AgentReport
    from trireme_datapath.demo._screen import Screen
    from trireme_datapath.kernel.namespaces import Namespace

__all__ = ["run_live"]

_START_SECONDS: Final = 10.0
_RECORD_SECONDS: Final = 2.0


def run_live(screen: Screen, *, backend: str, refuse: bool) -> DemoReport:
    """Build the network, judge real packets in it, and show what happens.

    Args:
        screen: Where to show it.
        backend: The backend of the agent.
        refuse: Whether rejected clients are told so.

    Raises:
        DatapathError: The network or the queue cannot be made; the subclass says why.
    """
    results: list[Result] = []
    with (
        setting(screen, backend=backend, refuse=refuse) as place,
        Topology() as topology,
        Servers(topology),
    ):
        agent = Agent(place.config)
        with _Running(agent, topology.enforcer) as running:
            _introduce(screen, agent, backend)
            for attempt in ATTEMPTS:
                expected = len(screen.records) + 1
                screen.hold()
                result = try_out(topology, attempt)
                results.append(result)
                screen.show(result)
                screen.release()
                screen.wait_for(expected, _RECORD_SECONDS)
        report = running.report
        # The datagrams are in the socket; an end of our own comes behind them.
        place.syslog.close()
        return DemoReport(
            mode="live",
            missing=(),
            backend=backend,
            policy=str(POLICY),
            attempts=tuple(results),
            records=tuple(screen.records),
            packets_judged=report.counters.get("packets", 0),
            kernel_dropped=report.kernel_dropped,
            file_lines=place.file_lines(),
            syslog_messages=tuple(place.syslog.messages),
        )


class _Running:
    """Runs an agent in a thread that lives in a namespace, from its start to its end."""

    def __init__(self, agent: Agent, namespace: Namespace) -> None:
        self._agent = agent
        self._namespace = namespace
        self._started = threading.Event()
        self._report: AgentReport | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name="demo-agent", daemon=True)

    @property
    def report(self) -> AgentReport:
        """What the agent did, after its end."""
        if self._report is None:
            raise self._error or DatapathError("the agent of the demo did not end")
        return self._report

    def _live(self) -> None:
        try:
            # The queue, the rules and the kernel's counters belong to the thread's namespace.
            self._namespace.enter()
            self._agent.start()
            self._started.set()
            self._report = self._agent.run()
        except BaseException as error:  # noqa: BLE001  carried to the thread that waits
            self._error = error
            self._started.set()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(_START_SECONDS):
            raise DatapathError("the agent of the demo did not start within 10 seconds")
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._agent.stop()
        self._thread.join()


def _introduce(screen: Screen, agent: Agent, backend: str) -> None:
    policy = agent.engine.policy
    screen.say("Real packets, in network namespaces made for this and removed at the end:\n")
    screen.say(f"  {CLIENT.name} {CLIENT.ipv4} ---- enforcer ---- {WEB.name} {WEB.ipv4}")
    screen.say(f"{'':>37}`---- {DATABASE.name} {DATABASE.ipv4}    (and IPv6)\n")
    screen.say(f"  policy   {POLICY} (revision {policy.revision})")
    screen.say(f"  packets  what is forwarded, through queue 0; backend {backend}\n")
    screen.say("What a client sees, and below it what the enforcer records:", bold=True)
    screen.say()
