"""The kernel rules that bring packets to a queue, as a description and as text.

Everything here is pure; `trireme_datapath.kernel.install` puts it in place. The rules stand in
chains of our own in the ``filter`` table, entered from the first rule of each hook, so one
transaction replaces them and no packet passes in between.
"""

from __future__ import annotations

from trireme_datapath.kernel.rules._comparison import problems_in
from trireme_datapath.kernel.rules._description import (
    TABLES,
    CgroupMark,
    QueueMode,
    QueueRules,
    RuleHook,
)
from trireme_datapath.kernel.rules._text import chain_rules, install_text, remove_text

__all__ = [
    "TABLES",
    "CgroupMark",
    "QueueMode",
    "QueueRules",
    "RuleHook",
    "chain_rules",
    "install_text",
    "problems_in",
    "remove_text",
]
