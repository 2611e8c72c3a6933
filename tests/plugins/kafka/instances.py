"""Instances of `trireme-collector conversations --group` in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.plugins.kafka.topics import read
from trireme_collector.netobserv import default_tracking_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Group", "Outcome"]

_PATIENCE_SECONDS = 90.0
_HOSTS = 40
_SERVER_PORT = 443


class Outcome:
    """What a group has given out.

    Attributes:
        records: Records by their place.
        repeated: How many came twice.
        differing: The places that came with different records.
    """

    def __init__(self, found: Sequence[tuple[str, bytes]]) -> None:
        self.records: dict[str, bytes] = {}
        self.repeated = 0
        self.differing: list[str] = []
        for place, line in found:
            if place in self.records:
                self.repeated += 1
                if self.records[place] != line:
                    self.differing.append(place)
            self.records[place] = line

    def flow_logs(self) -> dict[str, int]:
        """Count the flow logs of each conversation that ended."""
        found: dict[str, int] = {}
        for line in self.records.values():
            record: dict[str, Any] = json.loads(line)
            if record["_RecordType"] == "endConnection":
                side = "Src" if record["DstPort"] == _SERVER_PORT else "Dst"
                name = f"{record[f'{side}Addr']}:{record[f'{side}Port']}"
                found[name] = found.get(name, 0) + record["numFlowLogs"]
        return found


class Group:
    """A group, its topics and its instances.

    Args:
        brokers: The brokers.
        directory: Where files go.
        name: What its topics begin with.
        words: More words for each instance.
        session_seconds: After how long the brokers take an instance for dead. The mock divides
            partitions anew a second earlier; who has not come back by then has lost its own.
    """

    def __init__(
        self,
        brokers: Sequence[str],
        directory: Path,
        name: str,
        *words: str,
        session_seconds: int = 4,
    ) -> None:
        import confluent_kafka  # noqa: PLC0415  belongs to the extra

        self.name = name
        self.sent: dict[str, int] = {}
        self.running: list[subprocess.Popen[str]] = []
        self._brokers = brokers
        self._words = words
        self._session = f"session_timeout_seconds={session_seconds}"
        self._config = directory / "conntrack.json"
        self._directory = directory
        config = default_tracking_config() | {
            "scheduling": [
                {
                    "heartbeatInterval": "1s",
                    "endConnectionTimeout": "3s",
                    "terminatingTimeout": "1s",
                }
            ]
        }
        self._config.write_text(json.dumps(config), encoding="utf-8")
        self._producer = confluent_kafka.Producer(
            {"bootstrap.servers": ",".join(brokers), "enable.idempotence": True}
        )
        self._looker = confluent_kafka.Consumer(
            {"bootstrap.servers": ",".join(brokers), "group.id": name}
        )
        self._number = 0

    def close(self) -> None:
        """Kill every instance."""
        self._looker.close()
        for process in self.running:
            process.kill()
            process.communicate()

    @property
    def to_topic(self) -> tuple[str, ...]:
        """Words that write to the topic of the group."""
        brokers = "brokers=" + ",".join(self._brokers)
        return "--to", "kafka", "--sink", brokers, "-o", f"{self.name}-out"

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start an instance; it writes to the topic of the group if nothing else is said."""
        brokers = "brokers=" + ",".join(self._brokers)
        output = words or self.to_topic
        process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("trireme-collector")),
                "conversations",
                "--from",
                "kafka",
                "--group",
                self.name,
                "--source",
                brokers,
                "--source",
                self._session,
                "--source",
                "timeout_seconds=5",
                "--checkpoint-seconds",
                "0.7",
                "--config",
                str(self._config),
                "--json",
                *output,
                *self._words,
                f"{self.name}-flows",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def send(self, count: int) -> None:
        """Produce flow logs, both directions of each conversation under one key."""
        for _ in range(count):
            host = self._number * 7 % _HOSTS
            source, port = f"192.0.2.{host}", 40000 + host
            ends = [("Src", source, port), ("Dst", "198.51.100.1", _SERVER_PORT)]
            turned = self._number % 3 == 0
            record: dict[str, object] = {"Proto": 6, "Bytes": 1, "Packets": 1}
            for (side, _, _), (_, address, number) in zip(
                ends, reversed(ends) if turned else ends, strict=True
            ):
                record |= {f"{side}Addr": address, f"{side}Port": number}
            record["TimeFlowEndMs"] = time.time_ns() // 1_000_000
            name = f"{source}:{port}"
            self._producer.produce(
                f"{self.name}-flows", json.dumps(record).encode(), key=name.encode()
            )
            self.sent[name] = self.sent.get(name, 0) + 1
            self._number += 1
        assert not self._producer.flush(30)

    def wait_until_kept(self) -> None:
        """Wait until all that was sent is behind a checkpoint: every partition has its owner.

        While the mock divides partitions it takes no commit, not even of who leaves; a broker does.
        """
        import confluent_kafka  # noqa: PLC0415  belongs to the extra

        topic = f"{self.name}-flows"
        found = self._looker.list_topics(topic, timeout=30).topics[topic].partitions
        places = [confluent_kafka.TopicPartition(topic, number) for number in found]
        ends = [self._looker.get_watermark_offsets(place, timeout=30)[1] for place in places]
        limit = time.monotonic() + _PATIENCE_SECONDS
        while True:
            kept = [place.offset for place in self._looker.committed(places, timeout=30)]
            if all(offset >= end for offset, end in zip(kept, ends, strict=True) if end):
                return
            assert time.monotonic() < limit, (kept, ends)
            time.sleep(0.1)

    def outcome(self) -> Outcome:
        """Read what was given out."""
        return Outcome(
            [
                (message.headers["trireme-place"].decode(), message.value)
                for message in read(self._brokers, f"{self.name}-out")
            ]
        )

    def settled(self) -> Outcome:
        """Wait until every flow log is in a conversation that ended."""
        limit = time.monotonic() + _PATIENCE_SECONDS
        while True:
            outcome = self.outcome()
            total = sum(outcome.flow_logs().values())
            if total >= sum(self.sent.values()):
                return outcome
            assert time.monotonic() < limit, (total, sum(self.sent.values()))
            time.sleep(0.5)

    def stop(self, process: subprocess.Popen[str]) -> Mapping[str, Any]:
        """Stop an instance kindly; give its summary."""
        process.terminate()
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said
        summary: dict[str, Any] = json.loads(said.splitlines()[-1])["summary"]
        return summary
