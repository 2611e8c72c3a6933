"""The control socket: how people and scripts look into a running agent, and steer it."""

from __future__ import annotations

from trireme_collector.control._client import (
    CommandFailedError,
    ControlClient,
    ControlDeniedError,
    ControlError,
    NoAnswerError,
    NotRunningError,
)
from trireme_collector.control._commands import (
    CommandTable,
    ControlCommand,
    Later,
    NoArguments,
    Peer,
)
from trireme_collector.control._config import DEFAULT_PATH, ControlConfig
from trireme_collector.control._lifecycle import (
    UnitArguments,
    UnitResult,
    UserArguments,
    UserResult,
)
from trireme_collector.control._observing import ObserveArguments, ObserveResult
from trireme_collector.control._pinging import PingArguments, PingProbe, PingResult
from trireme_collector.control._protocol import (
    MAX_ANSWER_BYTES,
    MAX_REQUEST_BYTES,
    PROTOCOL_VERSION,
    ErrorKind,
)
from trireme_collector.control._server import ControlLimits, ControlServer
from trireme_collector.control._socket import SocketBusyError
from trireme_collector.control._status import (
    AgentState,
    AgentStatus,
    CrossingStatus,
    DrainArguments,
    DrainResult,
    HealthStatus,
    PacketStatus,
    PolicyStatus,
    ProcessStatus,
    QueueStatus,
    ReloadResult,
    RestartResult,
)
from trireme_collector.control._tracing import (
    TraceArguments,
    TraceResult,
    TraceRulesArguments,
    TraceRulesResult,
)

__all__ = [
    "DEFAULT_PATH",
    "MAX_ANSWER_BYTES",
    "MAX_REQUEST_BYTES",
    "PROTOCOL_VERSION",
    "AgentState",
    "AgentStatus",
    "CommandFailedError",
    "CommandTable",
    "ControlClient",
    "ControlCommand",
    "ControlConfig",
    "ControlDeniedError",
    "ControlError",
    "ControlLimits",
    "ControlServer",
    "CrossingStatus",
    "DrainArguments",
    "DrainResult",
    "ErrorKind",
    "HealthStatus",
    "Later",
    "NoAnswerError",
    "NoArguments",
    "NotRunningError",
    "ObserveArguments",
    "ObserveResult",
    "PacketStatus",
    "Peer",
    "PingArguments",
    "PingProbe",
    "PingResult",
    "PolicyStatus",
    "ProcessStatus",
    "QueueStatus",
    "ReloadResult",
    "RestartResult",
    "SocketBusyError",
    "TraceArguments",
    "TraceResult",
    "TraceRulesArguments",
    "TraceRulesResult",
    "UnitArguments",
    "UnitResult",
    "UserArguments",
    "UserResult",
]
