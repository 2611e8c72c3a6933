"""The kernel rules that a configuration and its policy ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trireme_datapath.kernel.install import KernelRules
from trireme_datapath.kernel.marks import ConnectionMark
from trireme_datapath.kernel.rules import CgroupMark, QueueRules

if TYPE_CHECKING:
    from trireme_datapath.agent.config import DatapathConfig
    from trireme_datapath.policy import CompiledPolicy

__all__ = ["rules_of"]


def rules_of(config: DatapathConfig, policy: CompiledPolicy) -> KernelRules:
    """Describe the rules; nothing is put in place yet."""
    wanted = config.rules
    masks = {value: mask for value, mask, _ in policy.mark_units}
    return KernelRules(
        QueueRules(
            queue=config.queue,
            opening_queue=config.opening_queue,
            mode=wanted.mode,
            hooks=tuple(wanted.hooks),
            interfaces=tuple(wanted.interfaces),
            fail_open=wanted.fail_open,
            refuse_mark=config.refuse_mark if config.refuse else None,
            loopback=wanted.loopback,
            follow_connections=config.accounting.enabled,
            accept_mark=config.accept_mark,
            connection_mark=ConnectionMark(mask=config.connection_mark_mask),
            cgroups=tuple(
                CgroupMark(path=path, value=value, mask=masks[value])
                for path, value in policy.cgroup_marks.items()
            ),
        )
    )
