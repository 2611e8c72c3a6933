"""What a tracker counts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trireme_collector.netobserv._groups import Group

__all__ = ["Account"]


class Account:
    """Counters of one tracker, by the names that the original gives to its metrics.

    Attributes:
        inputs: Flow logs by what became of them.
        outputs: Records by type.
        ends: Conversations by group and the reason of their end.
        actions: What was done because of TCP flags.
        hash_errors: Key fields that could not be hashed, by error and field.
        aggregator_errors: Values that could not be added up, by error and field.
        clock_reversals: How often the clock was set back.
    """

    def __init__(self) -> None:
        """Begin at zero."""
        self.inputs: Counter[str] = Counter()
        self.outputs: Counter[str] = Counter()
        self.ends: Counter[tuple[str, str]] = Counter()
        self.actions: Counter[str] = Counter()
        self.hash_errors: Counter[tuple[str, str]] = Counter()
        self.aggregator_errors: Counter[tuple[str, str]] = Counter()
        self.clock_reversals = 0

    def metrics(self, groups: Iterable[Group]) -> dict[str, int]:
        """List all counters: name, then each label, with a stroke between."""
        found: dict[str, int] = {}
        for name, label, counter in (
            ("input_records", "classification", self.inputs),
            ("output_records", "type", self.outputs),
            ("tcp_flags", "action", self.actions),
        ):
            found |= {f"conntrack_{name}|{label}={key}": n for key, n in counter.items()}
        for name, first, second, pairs in (
            ("end_connections", "group", "reason", self.ends),
            ("hash_errors", "error", "field", self.hash_errors),
            ("aggregator_errors", "error", "field", self.aggregator_errors),
        ):
            found |= {
                f"conntrack_{name}|{first}={one}|{second}={other}": n
                for (one, other), n in pairs.items()
            }
        for group in groups:
            memory = f"conntrack_memory_connections|group={group.label}|phase"
            found[f"{memory}=active"] = group.active_count
            found[f"{memory}=terminating"] = group.terminating_count
        if self.clock_reversals:
            found["conntrack_clock_reversals"] = self.clock_reversals
        return dict(sorted(found.items()))
