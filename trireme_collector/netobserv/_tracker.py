"""The tracker of conversations, as programs use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from trireme_collector.errors import ConfigError
from trireme_collector.netobserv._config import read_tracking_config
from trireme_collector.netobserv._table import DEFAULT_MAX_CONVERSATIONS, ConversationTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trireme_collector.netobserv._config import Profile
    from trireme_collector.netobserv._handover import ConversationState
    from trireme_collector.netobserv._hash import Numbers

__all__ = ["Tracker", "comparable"]

# Values of these types are the same if they are equal, unlike 1, 1.0 and True.
_COMPARABLE = frozenset({int, str, UnsetType})


class Tracker:
    """Follows conversations through flow logs, and reports their beginning, course and end.

    Time is what it is told: nothing happens but in `process`, `tick` and `flush`.

    Attributes:
        profile: Whose rules it follows.
        numbers: With which types numbers got in.
        table: The live conversations.
    """

    def __init__(self, table: ConversationTable, *, profile: Profile, numbers: Numbers) -> None:
        """Take a table; use `from_config`."""
        self.profile: Profile = profile
        self.numbers: Numbers = numbers
        self.table = table

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, object],
        *,
        profile: Profile = "default",
        numbers: Numbers = "agent",
        max_conversations: int = DEFAULT_MAX_CONVERSATIONS,
    ) -> Tracker:
        """Make a tracker.

        Args:
            config: What the original calls ``conntrack`` parameters, as JSON gives them.
            profile: ``strict`` to do as the original does, ``default`` to do better.
            numbers: ``agent`` if numbers count as the integers of the agent's protocol, ``json``
                if as floats. It decides about ids, and strictly about zeros in records.
            max_conversations: How many conversations the default profile keeps if the
                configuration does not say.

        Raises:
            ConfigError: The configuration cannot be used; ``problems`` lists every reason.
        """
        if numbers not in ("json", "agent"):
            msg = f"the numbers of a tracker are 'json' or 'agent', not {numbers!r}"
            raise ConfigError(msg)
        if max_conversations < 1:
            msg = f"a tracker keeps at least one conversation, not {max_conversations}"
            raise ConfigError(msg)
        read = read_tracking_config(config, profile)
        limit = max(0, read.max_connections_tracked)
        if profile == "default" and not limit:
            limit = max_conversations
        table = ConversationTable(read, profile, numbers, limit)
        return cls(table, profile=profile, numbers=numbers)

    def __len__(self) -> int:
        """Count the live conversations."""
        return len(self.table)

    def process(
        self, flows: Sequence[Mapping[str, object]], now_ms: int
    ) -> list[dict[str, object]]:
        """Take a batch of flow logs, then let the time pass until now.

        Args:
            flows: The flow logs; none to let time pass only.
            now_ms: The time in milliseconds. Its zero does not matter.

        Returns:
            The records, in order: those that flow logs caused, then ends, then heartbeats.
        """
        records: list[dict[str, object]] = []
        give = records.append
        self.table.set_clock(now_ms)
        if flows:
            copy = self.table.plan.copy_flow_log

            def give_flow_log(flow: Mapping[str, object], row: object, text: str) -> None:
                del row
                record = copy(flow)
                if text:
                    record["_HashId"] = text
                record["_RecordType"] = "flowLog"
                give(record)

            self.table.observe(self._items(flows), give_flow_log, give)
        self.table.advance(give)
        return records

    def tick(self, now_ms: int) -> list[dict[str, object]]:
        """Let the time pass until now; give the ends and heartbeats that are due."""
        return self.process((), now_ms)

    def flush(self, now_ms: int | None = None) -> list[dict[str, object]]:
        """End all conversations, as at a shutdown.

        Args:
            now_ms: The time; what is due until then comes first.
        """
        records = [] if now_ms is None else self.tick(now_ms)
        self.table.flush(records.append)
        return records

    def due_ms(self) -> int | None:
        """Say at which time, at the earliest, `tick` has something to give without flow logs.

        Returns:
            A time in milliseconds; None if no conversation is live.
        """
        due_ns = self.table.due_ns()
        return None if due_ns is None else due_ns // 1_000_000 + 1

    def save(self) -> list[ConversationState]:
        """Write down every live conversation; the tracker keeps them.

        A tracker of the same configuration, profile and numbers that adopts them goes on as this
        one would have.
        """
        return self.table.save()

    def adopt(self, states: Iterable[ConversationState]) -> None:
        """Take up conversations that another tracker saved.

        Flow logs that it has counted must not come again, and those that it has not must. All of
        the states are taken, or none.

        Args:
            states: The conversations. None may be live here.

        Raises:
            ValueError: A state is of another configuration, or of a live conversation.
        """
        self.table.adopt(states)

    def metrics(self) -> dict[str, int]:
        """List what was counted, by the names of the original: ``name|label=value|...``."""
        return self.table.account.metrics(self.table.groups)

    def _items(
        self, flows: Iterable[Mapping[str, object]]
    ) -> Iterable[tuple[tuple[object, ...] | None, list[object], Mapping[str, object]]]:
        names, width = self.table.plan.names, self.table.plan.key_width
        for flow in flows:
            get = flow.get
            row = [get(name, UNSET) for name in names]
            yield comparable(row[:width]), row, flow


def comparable(key: Sequence[object]) -> tuple[object, ...] | None:
    """Give the beginning of a row as the key of a cache, if it can be one."""
    return tuple(key) if _COMPARABLE.issuperset(map(type, key)) else None
