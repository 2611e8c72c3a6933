"""The rules that can apply to a peer, and the decision about one of its flows."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from trireme_datapath.policy._buckets import Bucket, Entry
    from trireme_datapath.policy.flow_policy import Match
    from trireme_datapath.policy.rule_table import RuleTable

    Buckets: TypeAlias = tuple[tuple[Bucket, ...], ...]

__all__ = ["Candidates", "MemoBudget"]

_ICMPS = (1, 58)
# Answers are remembered because floods repeat themselves; the bounds keep a flood of new
# ports from growing the process.
_MAX_MEMO_OF_CANDIDATES = 4_096
_MAX_MEMO_OF_POLICY = 65_536
# Settled answers are kept for ever, hence their own bound; settling more rules than this at
# once would hold up the packets behind.
_SETTLE_AFTER = 16
_MAX_SETTLED = 1_024
_MAX_SEGMENTS = 1_048_576


class MemoBudget:
    """Bounds the answers that a whole policy remembers.

    Attributes:
        entries: How many single answers are remembered.
        segments: How many segments the settled answers have.
    """

    __slots__ = ("_memos", "entries", "max_entries", "max_segments", "segments")

    def __init__(
        self, max_entries: int = _MAX_MEMO_OF_POLICY, max_segments: int = _MAX_SEGMENTS
    ) -> None:
        self.entries = 0
        self.segments = 0
        self.max_entries = max_entries
        self.max_segments = max_segments
        self._memos: list[dict[int, Match]] = []

    def spend(self, memo: dict[int, Match]) -> None:
        """Count one more answer, about to be kept in a memo; forget all when there are too many."""
        if self.entries >= self.max_entries:
            for known in self._memos:
                known.clear()
            self._memos.clear()
            self.entries = 0
        if not memo:
            self._memos.append(memo)
        elif len(memo) >= _MAX_MEMO_OF_CANDIDATES:
            self.entries -= len(memo)
            memo.clear()
        self.entries += 1


class Candidates:
    """The rules that can apply to a peer: every address with the same rules shares one.

    Answers are remembered one by one. When a protocol keeps being asked about new ports, its
    whole 16-bit scale is settled at once, if the rules are not too many for that.
    """

    __slots__ = ("_buckets", "_memo", "_misses", "_settled", "_table")

    def __init__(self, table: RuleTable, buckets: Buckets) -> None:
        """Take, for each rank, the buckets in the order in which they are tried."""
        self._table = table
        self._buckets = buckets
        self._memo: dict[int, Match] = {}
        self._settled: dict[int, tuple[list[int], list[Match]]] = {}
        self._misses = 0

    def decide(self, protocol: int, port: int = 0, icmp_type: int = 0, icmp_code: int = 0) -> Match:
        """Judge a flow.

        Args:
            protocol: The IP protocol number.
            port: The destination port of the flow, 0 where the protocol has none.
            icmp_type: The type, for ICMP and ICMPv6.
            icmp_code: The code, for ICMP and ICMPv6.

        Returns:
            The answer; the same object for the same answer, as long as it is remembered.
        """
        value = icmp_type << 8 | icmp_code if protocol in _ICMPS else port
        settled = self._settled.get(protocol)
        if settled is not None:
            return settled[1][bisect_right(settled[0], value) - 1]
        key = protocol << 16 | value
        match = self._memo.get(key)
        if match is None:
            match = self._judge(protocol, value)
            self._table.budget.spend(self._memo)
            self._memo[key] = match
            self._misses += 1
            if not self._misses % _SETTLE_AFTER:
                self._settle(protocol)
        return match

    def _judge(self, protocol: int, value: int) -> Match:
        observed_rejects, rejects, observed_accepts, accepts, applies = self._buckets
        report = _first(observed_rejects, protocol, value) if observed_rejects else None
        if rejects:
            found = _first(rejects, protocol, value)
            if found is not None:
                return self._table.match(report or found, found)
        if report is None and observed_accepts:
            report = _first(observed_accepts, protocol, value)
        found = _first(accepts, protocol, value) or _first(applies, protocol, value)
        return self._table.match(report or found, found)

    def _settle(self, protocol: int) -> None:
        """Judge every segment of a protocol, unless that costs more than it is going to save."""
        budget = self._table.budget
        buckets = [bucket for rank in self._buckets for bucket in rank]
        if sum(len(bucket.entries) for bucket in buckets) > min(self._misses, _MAX_SETTLED):
            return
        points = sorted({0, *(start for b in buckets for start in b.starts(protocol))})
        if budget.segments + len(points) > budget.max_segments:
            return
        starts: list[int] = []
        matches: list[Match] = []
        for point in points:
            match = self._judge(protocol, point)
            if not matches or matches[-1] is not match:
                starts.append(point)
                matches.append(match)
        budget.segments += len(starts)
        budget.entries -= len(self._memo)
        self._memo.clear()
        self._settled[protocol] = (starts, matches)


def _first(buckets: tuple[Bucket, ...], protocol: int, value: int) -> Entry | None:
    for bucket in buckets:
        found = bucket.find(protocol, value)
        if found is not None:
            return found
    return None
