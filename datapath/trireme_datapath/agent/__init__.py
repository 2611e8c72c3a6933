"""The agent: one process that runs a backend, an engine and a pipeline."""

from __future__ import annotations

from trireme_datapath.agent._agent import Agent
from trireme_datapath.agent._outputs import OutputError
from trireme_datapath.agent._parts import OpenBackend, PacketBackend, Rules, open_backend
from trireme_datapath.agent._report import AgentReport
from trireme_datapath.agent.config import (
    AgentConfiguration,
    BackendName,
    DatapathConfig,
    PublishConfig,
    QueueMode,
    RuleHook,
    RulesConfig,
    load_agent_config,
)
from trireme_datapath.agent.monitor_config import (
    MonitorAgentConfiguration,
    MonitorSourceConfig,
    SourceName,
    load_monitor_config,
    names_source,
)

__all__ = [
    "Agent",
    "AgentConfiguration",
    "AgentReport",
    "BackendName",
    "DatapathConfig",
    "MonitorAgentConfiguration",
    "MonitorSourceConfig",
    "OpenBackend",
    "OutputError",
    "PacketBackend",
    "PublishConfig",
    "QueueMode",
    "RuleHook",
    "Rules",
    "RulesConfig",
    "SourceName",
    "load_agent_config",
    "load_monitor_config",
    "names_source",
    "open_backend",
]
