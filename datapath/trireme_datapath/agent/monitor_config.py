"""The configuration of an agent whose records come from the monitor of a Cilium node."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from trireme_collector.config import Configuration, LoadedConfiguration, load_config
from trireme_collector.control import ControlConfig
from trireme_collector.errors import TriremeError
from trireme_collector.strict_toml import load_document
from trireme_datapath.observer.config import ObserverConfig

if TYPE_CHECKING:
    import os

    from trireme_collector.registry import Registry

__all__ = [
    "MonitorAgentConfiguration",
    "MonitorSourceConfig",
    "SourceName",
    "load_monitor_config",
    "names_source",
]

PacketMessage = Literal["policy-verdict", "drop", "trace"]
_ALL: Final[tuple[PacketMessage, ...]] = ("policy-verdict", "drop", "trace")


class SourceName(enum.StrEnum):
    """Where the records of an agent come from."""

    CILIUM_MONITOR = "cilium-monitor"


class MonitorSourceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the notifications of a Cilium node become records.

    Attributes:
        socket: The socket of Cilium's agent, or of one of ours that publishes its decisions.
        profile: The version of Cilium that the messages are of.
        stall_seconds: How long the agent may pause inside a message before the connection is
            given up for another one.
        flows: The messages that become flow records. One denied packet causes a verdict and a
            drop, and one that passes several traces: to count flows, choose one kind.
        packets: The messages that become packet reports.
    """

    socket: Annotated[str, msgspec.Meta(min_length=1)] = "/var/run/cilium/monitor1_2.sock"
    profile: Literal["1.16", "1.9"] = "1.16"
    stall_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=3600)] = 10.0
    flows: tuple[PacketMessage, ...] = _ALL
    packets: tuple[PacketMessage, ...] = ("drop",)


class MonitorAgentConfiguration(
    Configuration, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """The whole configuration file of an agent that judges nothing itself.

    Attributes:
        source: ``cilium-monitor``.
        monitor: What is read, and how.
        control: Where a running agent takes commands.
        observer: Where the last flows can be asked for, and followed.
    """

    source: SourceName
    monitor: MonitorSourceConfig = MonitorSourceConfig()
    control: ControlConfig = ControlConfig()
    observer: ObserverConfig = ObserverConfig()


def names_source(path: str | os.PathLike[str]) -> bool:
    """Say whether a configuration file is for an agent whose records come from elsewhere.

    Returns:
        Whether it has the key ``source``, or is about nothing but a monitor and lacks it; False
        for a file that cannot be read.
    """
    try:
        keys = load_document(path).data.keys()
    except TriremeError:
        return False
    return "source" in keys or ("monitor" in keys and "datapath" not in keys)


def load_monitor_config(
    path: str | os.PathLike[str], *, registry: Registry | None = None
) -> LoadedConfiguration[MonitorAgentConfiguration]:
    """Read the configuration file of an agent whose records come from a Cilium node.

    Args:
        path: The file.
        registry: The plugins to use instead of the installed ones that the file allows.

    Raises:
        ConfigError: The file cannot be read or has mistakes; all of them are listed.
        PluginError: The only mistakes are plugins that are unknown, blocked or broken.
    """
    return load_config(path, MonitorAgentConfiguration, registry=registry)
