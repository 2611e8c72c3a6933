"""The configuration and the policy that an agent runs with, and how they are read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trireme_collector.errors import ConfigError, PluginError, TriremeError
from trireme_datapath.agent.config import AgentConfiguration, load_agent_config
from trireme_datapath.policy import compile_policy, load_policy

if TYPE_CHECKING:
    from pathlib import Path

    import msgspec

    from trireme_collector.config import LoadedConfiguration
    from trireme_datapath.policy import CompiledPolicy

__all__ = ["AgentFiles", "Reading"]

_POLICY_KEY = "datapath.policy"  # the only one that a running agent takes over


class Reading(NamedTuple):
    """What the files say now.

    Attributes:
        policy: The policy.
        policy_file: Where it stands.
        restart_needed: The keys that differ from those that the agent runs with.
    """

    policy: CompiledPolicy
    policy_file: Path
    restart_needed: tuple[str, ...]


class AgentFiles:
    """Reads the files of an agent; what is in force stays until somebody takes the reading over.

    Args:
        config: The configuration that the agent runs with.
    """

    def __init__(self, config: LoadedConfiguration[AgentConfiguration]) -> None:
        """Keep what the agent runs with; read nothing."""
        self._running = config
        self.policy_file = config.resolve(config.settings.datapath.policy)

    def load_policy(self) -> CompiledPolicy:
        """Read the policy that the running configuration names.

        Raises:
            ConfigError: It cannot be read, or has mistakes.
        """
        return compile_policy(load_policy(self.policy_file))

    def read_again(self) -> Reading:
        """Read both files anew.

        Raises:
            ConfigError: One of them cannot be used; the mistakes of both are listed.
        """
        problems: list[str] = []
        found = self._running
        policy = None
        policy_file = self.policy_file
        try:
            found = self._load_config()
            policy_file = found.resolve(found.settings.datapath.policy)
        except TriremeError as error:
            problems += _lines(error)
        try:
            policy = compile_policy(load_policy(policy_file))
        except TriremeError as error:
            problems += _lines(error)
        if policy is None or problems:
            raise ConfigError("\n".join(problems), problems=problems)
        changed = _differences(self._running.settings, found.settings)
        return Reading(policy, policy_file, tuple(key for key in changed if key != _POLICY_KEY))

    def _load_config(self) -> LoadedConfiguration[AgentConfiguration]:
        path = self._running.path
        try:
            return load_agent_config(path, registry=self._running.registry)
        except PluginError:
            # Perhaps other plugins may load now; those that run were chosen at the start.
            return load_agent_config(path)


def _lines(error: TriremeError) -> tuple[str, ...]:
    return tuple(getattr(error, "problems", ())) or (str(error),)


def _differences(old: msgspec.Struct, new: msgspec.Struct, prefix: str = "") -> list[str]:
    """Name the keys that differ; a table of the datapath is looked into, others are named whole."""
    keys: list[str] = []
    for name in old.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if name == "datapath":
            keys += _differences(before, after, f"{name}.")
        else:
            keys.append(prefix + name)
    return keys
