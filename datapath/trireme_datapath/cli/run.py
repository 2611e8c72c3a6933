"""`trireme-collector run`: judge the packets of this host until told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trireme_collector.cli.output import json_option, print_json
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
    from types import FrameType

    from trireme_datapath.agent import Agent
    from trireme_datapath.agent._monitor_agent import MonitorAgent
    from trireme_datapath.processes.supervisor import Supervisor

__all__ = ["run"]


@click.command()
@click.option(
    "-c",
    "--config",
    "config_path",
    required=True,
    metavar="FILE",
    help="The configuration file.",
)
@click.option(
    "--remove-rules",
    is_flag=True,
    help="Remove the kernel rules at the end; without this and without an agent, their packets"
    " are dropped.",
)
@json_option
@click.pass_context
def run(ctx: click.Context, config_path: str, *, remove_rules: bool, as_json: bool) -> None:
    """Judge packets and report flows, in the foreground, until SIGTERM or Ctrl-C.

    With ``source = "cilium-monitor"`` the notifications of a Cilium node are reported instead.

    SIGHUP reopens the outputs and reads the configuration and the policy again; if one of them
    has mistakes, both are refused and those in force stay. SIGUSR2 exchanges every process for
    one that runs the program as it is installed now. The log goes to standard error.
    """
    import gc
    import signal

    import msgspec

    from trireme_datapath.cli._logging import configure_logging

    configure_logging(as_json=as_json, color=ctx.color)
    words = ("json" if as_json else "text", "color" if ctx.color else "plain")
    agent = _build(config_path, remove_rules=remove_rules, log=words)

    interrupted = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = number == signal.SIGINT
        agent.stop()

    def reload(_number: int, _frame: FrameType | None) -> None:
        agent.reload()

    def restart(_number: int, _frame: FrameType | None) -> None:
        if exchange is not None:
            exchange()

    # A signal that comes while the queue and the rules are set up waits until they stand.
    signals = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
    exchange = getattr(agent, "restart", None)
    if exchange is not None:
        signals[signal.SIGUSR2] = restart
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    previous = {number: signal.signal(number, handler) for number, handler in signals.items()}
    try:
        agent.start()
        # What stands now stays: the collector of garbage need not look at it again.
        gc.collect()
        gc.freeze()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        report = agent.run()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        for number, handler in previous.items():
            signal.signal(number, handler)
    if as_json:
        print_json({"report": msgspec.to_builtins(report)}, indent=False)
    else:
        click.echo(report.summary())
    if interrupted:
        ctx.exit(ExitCode.INTERRUPTED)


def _build(
    path: str, *, remove_rules: bool, log: tuple[str, str] = ("text", "plain")
) -> Agent | MonitorAgent | Supervisor:
    """Build the agent that a configuration asks for."""
    from trireme_datapath.agent import (
        Agent,
        BackendName,
        load_agent_config,
        load_monitor_config,
        names_source,
    )
    from trireme_datapath.processes import ProcessLayout

    if names_source(path):
        from trireme_datapath.agent._monitor_agent import MonitorAgent

        watching = load_monitor_config(path)
        _tell_volatile(watching.in_memory)
        return MonitorAgent(watching)
    loaded = load_agent_config(path)
    _tell_volatile(loaded.in_memory)
    wants_tree = loaded.settings.processes.layout is ProcessLayout.TREE
    # NetfilterQueue opens its queue itself: nobody else can hold it.
    if wants_tree and loaded.settings.datapath.backend is BackendName.NETLINK:
        from trireme_datapath.processes.supervisor import Supervisor

        return Supervisor(loaded, remove_rules=remove_rules, log=log)
    return Agent(loaded, remove_rules=remove_rules)


def _tell_volatile(collectors: tuple[str, ...]) -> None:
    """Say whose records a crash would cost."""
    import structlog

    if collectors:
        structlog.get_logger().info(
            "records_wait_in_memory",
            collectors=collectors,
            remedy="set delivery.state_directory to keep them over a crash",
        )
