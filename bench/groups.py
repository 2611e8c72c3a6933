"""What an instance of a consumer group spends on a partition, without the client of Kafka.

The flow logs are those of ``bench.netobserv``. A partition is followed as an instance follows it;
then a checkpoint of all live conversations is written, and another instance takes them up.
``--full`` keeps 50,000 conversations alive, otherwise it is a tenth.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from bench.figures import show
from bench.netobserv import ALL_TYPES, FLOWS_PER_CONVERSATION, write_flows
from trireme_collector.netobserv import (
    ConversationStream,
    Following,
    PartitionConversations,
    Tracker,
    default_tracking_config,
)
from trireme_collector.netobserv.sharing import Partition, Portion

SOME, MANY = 5_000, 50_000
BATCH = 2_000  # as the source fetches
PLACE = Partition("flows", 0)
RUNS = 3
MICROSECONDS = 1_000_000


def _follow(record_types: str) -> PartitionConversations:
    types = record_types.split(",")
    # Nothing ends while it is measured: the clock would, within the span of the flow logs.
    patient = {"heartbeatInterval": "30s", "endConnectionTimeout": "1h", "terminatingTimeout": "1h"}
    config = default_tracking_config() | {"outputRecordTypes": types, "scheduling": [patient]}
    tracker = Tracker.from_config(config, numbers="json")
    stream = ConversationStream(tracker, by_time=False)
    following = Following(tracker, stream, stream.take_lines, by_time=False)
    return PartitionConversations(PLACE, following, "bench")


def _portions(lines: list[bytes]) -> list[Portion]:
    return [
        Portion(
            PLACE,
            range(begin, begin + len(part)),
            [1_700_000_000_000 + n // 10 for n in range(begin, begin + len(part))],
            part,
        )
        for begin in range(0, len(lines), BATCH)
        for part in (lines[begin : begin + BATCH],)
    ]


def _resident_mebibytes() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


def run() -> bool:
    """Measure processor times; there is no target but that of the tracker."""
    conversations = MANY if os.environ.get("BENCH_FULL") else SOME
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "flows.json"
        write_flows(path, conversations * FLOWS_PER_CONVERSATION)
        lines = path.read_bytes().splitlines()
    portions = _portions(lines)
    print(f"  {len(lines):,} flow logs of {conversations:,} conversations, on one core")
    rates: dict[str, list[float]] = {"endConnection": [], ALL_TYPES: []}
    kept: list[float] = []
    taken: list[float] = []
    sizes: list[float] = []
    memory: list[float] = []
    for _ in range(RUNS):
        for types, found in rates.items():
            before = _resident_mebibytes()
            partition = _follow(types)
            begin = time.process_time()
            for portion in portions:
                partition.take(portion)
            found.append((time.process_time() - begin) / len(lines) * MICROSECONDS)
            live = len(partition.following.tracker)
            if not memory:  # later ones use what the first has left
                memory.append((_resident_mebibytes() - before) * 1024 / live)
            begin = time.process_time()
            checkpoint = partition.checkpoint()
            kept.append((time.process_time() - begin) / live * MICROSECONDS)
            if checkpoint is None:
                raise AssertionError("nothing is to be kept of live conversations")
            sizes.append(sum(map(len, checkpoint.states or ())) / live)
            heir = _follow(types)
            begin = time.process_time()
            heir.restore(checkpoint)
            taken.append((time.process_time() - begin) / live * MICROSECONDS)
            if len(heir.following.tracker) != live:
                raise AssertionError("conversations are missing after the partition changed hands")
    show("a flow log, endConnection only", rates["endConnection"], "µs")
    show("a flow log, all record types", rates[ALL_TYPES], "µs")
    show("a live conversation, in memory", memory, "KiB")
    show("a live conversation, in the topic of states", sizes, "bytes")
    show("a checkpoint, for each live conversation", kept, "µs")
    show("taking over, for each live conversation", taken, "µs")
    return True
