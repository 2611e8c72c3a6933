"""`trireme-collector run`: judge the packets of this host until told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trireme_collector.cli.output import json_option
from trireme_collector.exit_codes import ExitCode

if TYPE_CHECKING:
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

    With `source = "cilium-monitor"` the notifications of a Cilium node are reported instead.

    SIGHUP reopens the outputs and reads the configuration and the policy again; if one of them
    has mistakes, both are refused and those in force stay. SIGUSR2 exchanges every process for
    one that runs the program as it is installed now. The log goes to standard error.
    """
    from trireme_datapath.cli._logging import configure_logging
    from trireme_datapath.cli._serving import serve

    configure_logging(as_json=as_json, color=ctx.color)
    words = ("json" if as_json else "text", "color" if ctx.color else "plain")
    interrupted = serve(_build(config_path, remove_rules=remove_rules, log=words), as_json=as_json)
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

        return Supervisor(loaded, remove_rules=remove_rules, log=log, whole_program=True)
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
