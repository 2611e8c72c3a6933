"""Policies as tests give them: a path, a text, or what was read or compiled before."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from trireme_datapath.engine import Engine
from trireme_datapath.policy import (
    CompiledPolicy,
    Policy,
    compile_policy,
    load_policy,
    parse_kubernetes_policy,
    parse_policy,
)

if TYPE_CHECKING:
    import os

__all__ = ["PolicySource", "compiled", "engine_for", "read"]

PolicySource: TypeAlias = "CompiledPolicy | Policy | str | os.PathLike[str]"
"""A policy in any form: compiled, as data, the path of its file, or its text, which has more than
one line. A text with a line that begins with ``apiVersion:`` is YAML of Kubernetes."""

_KUBERNETES: Final = re.compile(r"^(?:- |  )?apiVersion:", re.MULTILINE)


def read(policy: Policy | str | os.PathLike[str]) -> Policy:
    """Read a policy.

    Raises:
        ConfigError: It cannot be read, or has mistakes; all of them are listed.
    """
    if isinstance(policy, Policy):
        return policy
    if isinstance(policy, str) and "\n" in policy:
        if _KUBERNETES.search(policy):
            return parse_kubernetes_policy(policy)
        return parse_policy(policy)
    return load_policy(policy)


def compiled(policy: PolicySource) -> CompiledPolicy:
    """Read and compile a policy.

    Raises:
        ConfigError: It cannot be read, or has mistakes; all of them are listed.
    """
    return policy if isinstance(policy, CompiledPolicy) else compile_policy(read(policy))


def engine_for(policy: PolicySource) -> Engine:
    """Make an engine that enforces a policy, and learns what names in its rules stand for.

    Raises:
        ConfigError: It cannot be read, or has mistakes; all of them are listed.
    """
    engine = Engine(compiled(policy))
    engine.observe_dns()
    return engine
