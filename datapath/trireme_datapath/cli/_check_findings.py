"""What `check` found: as a list, as JSON and as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from trireme_collector.cli.output import printable

if TYPE_CHECKING:
    from trireme_collector.config import LoadedConfiguration
    from trireme_collector.errors import TriremeError
    from trireme_collector.exit_codes import ExitCode
    from trireme_datapath.agent import AgentConfiguration, MonitorAgentConfiguration
    from trireme_datapath.policy import Policy

    AnyConfiguration = (
        LoadedConfiguration[AgentConfiguration] | LoadedConfiguration[MonitorAgentConfiguration]
    )

__all__ = ["Finding", "fields_of", "findings_of", "show"]


class Finding(NamedTuple):
    """One thing that is wrong, or that may be."""

    subject: str
    message: str
    code: ExitCode


def findings_of(subject: str, error: TriremeError) -> list[Finding]:
    """Make findings of an error, one for each mistake that it lists."""
    from trireme_collector.cli.errors import exit_code_of

    lines = getattr(error, "problems", ()) or str(error).splitlines()
    return [Finding(subject, line, exit_code_of(error)) for line in lines]


def fields_of(finding: Finding) -> dict[str, object]:
    """Give a finding as JSON has it."""
    return {
        "subject": finding.subject,
        "message": finding.message,
        "exit_code": finding.code.value,
        "code": finding.code.name,
    }


def show(
    path: str,
    loaded: AnyConfiguration | None,
    policy: Policy | None,
    problems: list[Finding],
    warnings: list[Finding],
) -> None:
    """Print what was found, and what a sound configuration means."""
    for label, color, findings in (("error", "red", problems), ("warning", "yellow", warnings)):
        for finding in findings:
            head = click.style(f"{label}:", fg=color, bold=True)
            # A problem of a file begins with its place, which says more than the subject.
            subject = "" if finding.message.startswith((path, "/")) else f"{finding.subject}: "
            click.echo(f"{head} {subject}{printable(finding.message)}")
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        click.echo(click.style(f"{printable(path)}: {count}", bold=True))
        return
    if loaded is None:
        return
    from trireme_datapath.agent import AgentConfiguration

    collectors = ", ".join(f"{c.name} ({c.spec.name})" for c in loaded.collectors)
    click.echo(f"{click.style('ok', fg='green', bold=True)}  {printable(path)}")
    settings = loaded.settings
    if not isinstance(settings, AgentConfiguration):
        monitor = settings.monitor
        click.echo(f"  source      cilium-monitor, {monitor.socket}, profile {monitor.profile}")
    elif policy is not None:
        units = len(policy.units)
        plural = "" if units == 1 else "s"
        click.echo(f"  policy      {settings.datapath.policy}: {units} processing unit{plural}")
        click.echo(f"  queue       {settings.datapath.queue}, backend {settings.datapath.backend}")
    click.echo(f"  collectors  {collectors}")
    volatile = loaded.in_memory
    if len(volatile) == len(loaded.collectors):
        remedy = "[delivery] state_directory keeps them over a crash"
        click.echo(f"  records     wait in memory; {remedy}")
    else:
        places = {str(c.delivery.state_directory) for c in loaded.collectors}
        kept = ", ".join(printable(place) for place in sorted(places - {""}))
        but = f", but in memory for {', '.join(volatile)}" if volatile else ""
        click.echo(f"  records     wait on disk, in {kept}{but}")
