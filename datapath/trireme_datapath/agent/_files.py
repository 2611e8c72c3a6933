"""The configuration and the policy that an agent runs with, and how they are read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from msgspec import structs

from trireme_collector.errors import ConfigError, PluginError, TriremeError
from trireme_datapath.agent._observing import ObserveMode
from trireme_datapath.agent.config import AgentConfiguration, load_agent_config
from trireme_datapath.policy import compile_policy, load_policy
from trireme_datapath.policy.told import settle_told

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import msgspec

    from trireme_collector.config import LoadedConfiguration
    from trireme_datapath.policy import CompiledPolicy, Policy
    from trireme_datapath.policy.told import ToldUnit

__all__ = ["AgentFiles", "Readable", "Reading", "SwitchedFiles", "ToldFiles", "changed_keys"]

_TAKEN_OVER = frozenset({"datapath.policy", "datapath.observe"})  # by a running agent


class Reading(NamedTuple):
    """What the files say now.

    Attributes:
        policy: The policy.
        policy_file: Where it stands.
        restart_needed: The keys that differ from those that the agent runs with.
        observe: What says whether the policy is only observed.
    """

    policy: CompiledPolicy
    policy_file: Path
    restart_needed: tuple[str, ...]
    observe: ObserveMode = ObserveMode()


class Readable(Protocol):
    """Where a new policy comes from."""

    def read_again(self) -> Reading:
        """Read it."""
        ...

    def take_over(self, reading: Reading) -> None:
        """Note that a reading is in force now."""
        ...


class AgentFiles:
    """Reads the files of an agent; what is in force stays until somebody takes the reading over.

    Args:
        config: The configuration that the agent runs with.

    Attributes:
        policy_file: Where the policy in force stands.
        observe: What says whether it is only observed.
    """

    def __init__(self, config: LoadedConfiguration[AgentConfiguration]) -> None:
        """Keep what the agent runs with; read nothing."""
        self._running = config
        self.policy_file = config.resolve(config.settings.datapath.policy)
        self.observe = ObserveMode(configuration=config.settings.datapath.observe)

    def load_policy(self) -> CompiledPolicy:
        """Read the policy that the running configuration names.

        Raises:
            ConfigError: It cannot be read, or has mistakes.
        """
        policy = load_policy(self.policy_file)
        self.observe = structs.replace(self.observe, policy=policy.observe_only)
        return compile_policy(self.observe.applied(policy))

    def again(self, told: Sequence[ToldUnit], before: CompiledPolicy) -> Readable:
        """Give what reads the files anew, for units that were told of.

        Args:
            told: Those.
            before: The policy in force.
        """
        return _FilesAgain(self, told, before)

    def read_again(
        self, told: Sequence[ToldUnit] = (), before: CompiledPolicy | None = None
    ) -> Reading:
        """Read both files anew.

        Args:
            told: Units that were told of.
            before: The policy in force.

        Raises:
            ConfigError: One of them cannot be used; the mistakes of both are listed.
        """
        problems: list[str] = []
        found = self._running
        policy = None
        policy_file = self.policy_file
        observe = self.observe
        try:
            found = self._load_config()
            policy_file = found.resolve(found.settings.datapath.policy)
        except TriremeError as error:
            problems += _lines(error)
        try:
            loaded = load_policy(policy_file)
            observe = structs.replace(
                observe,
                policy=loaded.observe_only,
                configuration=found.settings.datapath.observe,
            )
            policy = _compiled(observe.applied(loaded), told, before)
        except TriremeError as error:
            problems += _lines(error)
        if policy is None or problems:
            raise ConfigError("\n".join(problems), problems=problems)
        changed = changed_keys(self._running.settings, found.settings)
        restart_needed = tuple(key for key in changed if key not in _TAKEN_OVER)
        return Reading(policy, policy_file, restart_needed, observe)

    def take_over(self, reading: Reading) -> None:
        """Note that a reading is in force now."""
        self.policy_file = reading.policy_file
        self.observe = reading.observe

    def _load_config(self) -> LoadedConfiguration[AgentConfiguration]:
        path = self._running.path
        try:
            return load_agent_config(path, registry=self._running.registry)
        except PluginError:
            # Perhaps other plugins may load now; those that run were chosen at the start.
            return load_agent_config(path)


class _FilesAgain:
    """The files, with units that were told of."""

    def __init__(self, files: AgentFiles, told: Sequence[ToldUnit], before: CompiledPolicy) -> None:
        self._files = files
        self._told = told
        self._before = before

    def read_again(self) -> Reading:
        return self._files.read_again(self._told, self._before)

    def take_over(self, reading: Reading) -> None:
        self._files.take_over(reading)


class ToldFiles:
    """The policy in force again, with other units that were told of. Nothing is read.

    Args:
        files: What the agent runs with.
        policy: The policy in force.
        told: The units.
    """

    def __init__(self, files: AgentFiles, policy: CompiledPolicy, told: Sequence[ToldUnit]) -> None:
        """Do nothing yet."""
        self._files = files
        self._policy = policy
        self._told = told

    def read_again(self) -> Reading:
        """Give the policy with these units."""
        policy = _compiled(self._policy.policy, self._told, self._policy)
        return Reading(policy, self._files.policy_file, (), self._files.observe)

    def take_over(self, reading: Reading) -> None:
        """Note nothing: the files are those of before."""


class SwitchedFiles:
    """The policy in force again, observed or enforced as somebody asked for.

    Nothing is read: files with mistakes keep nobody from switching.

    Args:
        files: What the agent runs with.
        policy: The policy in force.
        asked: What is asked for; None for what the files say.
        uid: Who asks.
        told: The units that were told of.
    """

    def __init__(
        self,
        files: AgentFiles,
        policy: CompiledPolicy,
        asked: bool | None,  # noqa: FBT001  None is the third
        uid: int,
        told: Sequence[ToldUnit] = (),
    ) -> None:
        """Do nothing yet."""
        self._files = files
        self._policy = policy
        self._asked = asked
        self._uid = uid
        self._told = told

    def read_again(self) -> Reading:
        """Give the policy as it was, in the mode that is asked for."""
        observe = structs.replace(self._files.observe, asked=self._asked, asked_uid=self._uid)
        policy = _compiled(observe.applied(self._policy.policy), self._told, self._policy)
        return Reading(policy, self._files.policy_file, (), observe)

    def take_over(self, reading: Reading) -> None:
        """Note that it is in force now."""
        self._files.take_over(reading)


def _compiled(
    policy: Policy, told: Sequence[ToldUnit], before: CompiledPolicy | None
) -> CompiledPolicy:
    settled, _ = settle_told(policy, told)
    return compile_policy(policy, settled, before=before)


def _lines(error: TriremeError) -> tuple[str, ...]:
    return tuple(getattr(error, "problems", ())) or (str(error),)


def changed_keys(old: msgspec.Struct, new: msgspec.Struct, prefix: str = "") -> tuple[str, ...]:
    """Name the keys that differ; a table of the datapath is looked into, others are named whole."""
    keys: list[str] = []
    for name in old.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if name == "datapath":
            keys += changed_keys(before, after, f"{name}.")
        else:
            keys.append(prefix + name)
    return tuple(keys)
