"""`trireme-collector check`: say everything that is wrong before a start would."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, TypeVar

import click

from trireme_collector.cli.output import json_option, print_json
from trireme_collector.exit_codes import ExitCode
from trireme_datapath.cli._check_findings import Finding, fields_of, findings_of, show

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trireme_collector.config import LoadedConfiguration
    from trireme_collector.errors import TriremeError
    from trireme_datapath.agent import AgentConfiguration, MonitorAgentConfiguration
    from trireme_datapath.policy import CompiledPolicy, Policy

    AnyConfiguration = (
        LoadedConfiguration[AgentConfiguration] | LoadedConfiguration[MonitorAgentConfiguration]
    )

__all__ = ["check"]

LoadedT = TypeVar("LoadedT")


@click.command()
@click.option(
    "-c",
    "--config",
    "config_path",
    required=True,
    metavar="FILE",
    help="The configuration file.",
)
@json_option
@click.pass_context
def check(ctx: click.Context, config_path: str, *, as_json: bool) -> None:
    """Check a configuration, its policy, its plugins and its outputs, all at once.

    Every output is opened as a start would, and closed; a file that was not there is made. No
    packet is received and no rule is touched, so no privilege is needed.
    """
    from pathlib import Path

    from trireme_datapath.agent import load_agent_config, load_monitor_config, names_source
    from trireme_datapath.cli._logging import configure_logging

    configure_logging(as_json=as_json, color=ctx.color, quiet=True)
    problems: list[Finding] = []
    warnings: list[Finding] = []
    loaded: AnyConfiguration | None
    policy: Policy | None = None
    if names_source(config_path):
        loaded = watching = _check_config(load_monitor_config, config_path, problems)
        if watching is not None:
            _check_monitor(watching, warnings)
    else:
        loaded = judging = _check_config(load_agent_config, config_path, problems)
        policy = _check_policy(Path(config_path), judging, problems)
        if judging is not None:
            _check_backend(judging, problems)
            _check_user(judging, problems)
            _check_discovery(judging, problems)
            _check_control(judging, problems, warnings)
            _check_publish(judging, problems, warnings)
    if loaded is not None:
        _check_observer(loaded, problems, warnings)
        _check_metrics(loaded, problems, warnings)
        _check_outputs(loaded, problems, warnings)
    code = problems[0].code if problems else ExitCode.OK
    if as_json:
        print_json(
            {
                "ok": not problems,
                "exit_code": code.value,
                "problems": [fields_of(problem) for problem in problems],
                "warnings": [fields_of(warning) for warning in warnings],
                "settings": None if loaded is None else loaded.redacted(),
            }
        )
    else:
        show(config_path, loaded, policy, problems, warnings)
    ctx.exit(code)


def _check_config(
    load: Callable[[str], LoadedT], path: str, problems: list[Finding]
) -> LoadedT | None:
    from trireme_collector.errors import TriremeError

    try:
        return load(path)
    except TriremeError as error:
        problems.extend(findings_of("configuration", error))
        return None


def _check_policy(
    path: Path,
    loaded: LoadedConfiguration[AgentConfiguration] | None,
    problems: list[Finding],
) -> Policy | None:
    """Check the policy even where the configuration has mistakes, if it can be found."""
    from trireme_collector.errors import TriremeError
    from trireme_collector.strict_toml import load_document
    from trireme_datapath.policy import compile_policy, load_policy

    try:
        if loaded is not None:
            written: object = loaded.settings.datapath.policy
        else:
            written = load_document(path).get(("datapath", "policy"))
        if not isinstance(written, str) or not written:
            return None
    except TriremeError:
        return None  # the file cannot be read at all, and that was said
    try:
        policy = load_policy(path.parent / written)
        compiled = compile_policy(policy)
    except TriremeError as error:
        problems.extend(findings_of("policy", error))
        return None
    if loaded is not None:
        _check_rules(loaded, compiled, problems)
    return policy


def _check_rules(
    loaded: LoadedConfiguration[AgentConfiguration],
    policy: CompiledPolicy,
    problems: list[Finding],
) -> None:
    """Describe the kernel rules, which is to say whether marks and queues go together."""
    from msgspec.structs import replace

    from trireme_collector.errors import ConfigError
    from trireme_datapath.agent._rules import rules_of

    settings = loaded.settings
    if not settings.datapath.rules.install:
        return
    rules = replace(rules_of(settings.datapath, policy).rules, queues=settings.processes.workers)
    try:
        rules.check()
    except ConfigError as error:
        problems.extend(findings_of("datapath", error))


def _check_backend(
    loaded: LoadedConfiguration[AgentConfiguration], problems: list[Finding]
) -> None:
    import importlib.util

    from trireme_datapath.agent import BackendName

    is_missing = importlib.util.find_spec("netfilterqueue") is None
    if loaded.settings.datapath.backend is BackendName.NFQUEUE and is_missing:
        message = (
            'backend "nfqueue" needs the package NetfilterQueue:'
            ' pip install "trireme-collector[nfqueue]", or use backend = "netlink"'
        )
        problems.append(Finding("backend", message, ExitCode.MISSING_EXTRA))


def _check_user(loaded: LoadedConfiguration[AgentConfiguration], problems: list[Finding]) -> None:
    from trireme_collector.errors import ConfigError
    from trireme_datapath.processes._privileges import find_user

    if not loaded.settings.processes.user:
        return
    try:
        find_user(loaded.settings.processes.user)
    except ConfigError as error:
        problems.extend(findings_of("processes", error))


def _check_discovery(
    loaded: LoadedConfiguration[AgentConfiguration], problems: list[Finding]
) -> None:
    """Build what finds units as a start would; that opens nothing."""
    from trireme_collector.errors import TriremeError
    from trireme_datapath.agent._discovery import build_discoverers

    try:
        build_discoverers(loaded.settings.discovery, loaded.registry)
    except TriremeError as error:
        problems.extend(findings_of("discovery", error))


def _check_monitor(
    loaded: LoadedConfiguration[MonitorAgentConfiguration], warnings: list[Finding]
) -> None:
    from contextlib import closing

    from trireme_datapath.monitor.sources import MonitorSocket, SourceError

    path = str(loaded.resolve(loaded.settings.monitor.socket))
    with closing(MonitorSocket(path).open()) as source:
        # A start goes on: it waits for the agent.
        warnings.extend(
            Finding("monitor", event.message, ExitCode.INPUT)
            for event in source.turn()
            if isinstance(event, SourceError)
        )


def _check_metrics(
    loaded: AnyConfiguration,
    problems: list[Finding],
    warnings: list[Finding],
) -> None:
    from trireme_collector.errors import ConfigError, MissingExtraError
    from trireme_collector.metrics import MetricsServer

    if not loaded.settings.metrics.listen:
        return
    try:
        server = MetricsServer(loaded.settings.metrics, ())
        try:
            server.open()
        finally:
            server.close()
    except MissingExtraError as error:
        problems.append(Finding("metrics", str(error), ExitCode.MISSING_EXTRA))
    except ConfigError as error:
        # It may be the running agent itself that has the address.
        warnings.append(Finding("metrics", str(error), ExitCode.CONFIG))


def _check_control(
    loaded: LoadedConfiguration[AgentConfiguration],
    problems: list[Finding],
    warnings: list[Finding],
) -> None:
    from trireme_collector.control import CommandTable, ControlServer, SocketBusyError
    from trireme_collector.errors import ConfigError

    config = loaded.settings.control
    if not config.is_demanded:
        return  # an offer of the start, which goes on without it
    server = ControlServer(config, CommandTable())
    try:
        server.open()
    except SocketBusyError as error:
        # It may be the running agent itself that has it.
        warnings.append(Finding("control", str(error), ExitCode.CONFIG))
    except ConfigError as error:
        problems.append(Finding("control", str(error), ExitCode.CONFIG))
    finally:
        server.close()


def _check_publish(
    loaded: LoadedConfiguration[AgentConfiguration],
    problems: list[Finding],
    warnings: list[Finding],
) -> None:
    from trireme_collector.errors import ConfigError

    config = loaded.settings.publish
    if not config.socket:
        return
    from trireme_collector.socket_path import SocketBusyError
    from trireme_datapath.monitor.publishing import MonitorServer

    server = MonitorServer(loaded.resolve(config.socket), mode=config.mode)
    try:
        server.open()
    except SocketBusyError as error:
        # It may be the running agent itself that has it.
        warnings.append(Finding("publish", str(error), ExitCode.CONFIG))
    except ConfigError as error:
        problems.append(Finding("publish", str(error), ExitCode.CONFIG))
    finally:
        server.close()


def _check_observer(
    loaded: AnyConfiguration,
    problems: list[Finding],
    warnings: list[Finding],
) -> None:
    from trireme_collector.cli.errors import exit_code_of
    from trireme_collector.control import SocketBusyError
    from trireme_collector.errors import ConfigError
    from trireme_datapath.agent._services import AgentServices

    try:
        services = AgentServices(
            loaded.settings.observer, node_name="check", resolve=loaded.resolve
        )
    except ConfigError as error:
        problems.append(Finding("observer", str(error), exit_code_of(error)))
        return
    try:
        services.open()
    except SocketBusyError as error:
        # It may be the running agent itself that has it.
        warnings.append(Finding("observer", str(error), ExitCode.CONFIG))
    except ConfigError as error:
        problems.append(Finding("observer", str(error), ExitCode.CONFIG))
    finally:
        services.close()


def _check_outputs(
    loaded: AnyConfiguration,
    problems: list[Finding],
    warnings: list[Finding],
) -> None:
    from trireme_collector.errors import ConfigError, DeliveryError

    for name, error in loaded.probe_outputs():
        subject = f"collectors.{name}"
        message = (
            f"{loaded.places[name]}: {subject}: {error}" if name in loaded.places else str(error)
        )
        if _is_held(error):
            # It may be the running agent itself that writes there.
            warnings.append(Finding(subject, message, ExitCode.OUTPUT))
        elif isinstance(error, DeliveryError):
            # A start goes on: the records wait until the receiver is there.
            warnings.append(Finding(subject, message, ExitCode.OUTPUT))
        elif isinstance(error, ConfigError):
            code = getattr(error, "exit_code", ExitCode.OUTPUT)
            problems.append(Finding(subject, message, code))
        else:
            problems.extend(findings_of(subject, error))
    unusable = loaded.probe_lookups()
    if unusable is not None:
        problems.extend(findings_of("enrichment", unusable))


def _is_held(error: TriremeError) -> bool:
    """Whether an output cannot be opened because another process has it."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in {errno.EAGAIN, errno.EBUSY}
