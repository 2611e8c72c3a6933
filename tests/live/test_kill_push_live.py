"""Killed at any moment, nothing is lost on the way to Kafka and Loki, and little comes twice.

The receivers live on: the mock brokers of librdkafka, and a server that reads pushes as Loki does.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.live.kill_child import BATCH_RECORDS
from tests.plugins.kafka.mock_cluster import MockCluster
from tests.plugins.kafka.topics import read
from tests.plugins.loki.receiver import LokiReceiver

pytestmark = [pytest.mark.live, pytest.mark.patient]

KILLS = int(os.environ.get("PUSH_KILLS", "15"))
LONGEST_LIFE_SECONDS = 1.5
DEADLINE_SECONDS = 120
ROOT = Path(__file__).parents[2]


def test_every_accepted_record_arrives(tmp_path: Path) -> None:
    chance = random.Random(7)
    loki = LokiReceiver()
    with MockCluster(3) as cluster:
        cluster.create("records", 6)
        collectors: dict[str, object] = {
            # One pair of addresses would have one partition, and these brokers keep little.
            "kafka": {"brokers": cluster.brokers, "topic": "records", "key": "none"},
            "loki": {"url": loki.url, "format": "json"},
        }
        for _ in range(KILLS):
            child = _live(tmp_path, collectors, seconds=60)
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(chance.uniform(0.1, LONGEST_LIFE_SECONDS))
            child.kill()
            child.communicate()
        child = _live(tmp_path, collectors, seconds=0.1)
        out, _ = child.communicate(timeout=DEADLINE_SECONDS)
        report = json.loads(out)
        assert report["complete"], report
        accounts = {account["name"]: account for account in report["status"]["collectors"]}
        found = {
            "kafka": Counter(
                (record["epoch"], record["sequence"])
                for record in (json.loads(m.value) for m in read(cluster.brokers, "records"))
            ),
            "loki": Counter((line.fields["epoch"], line.fields["sequence"]) for line in loki.lines),
        }
    loki.stop()
    for name, received in found.items():
        account = accounts[name]
        assert account["accepted"] > 100 * KILLS
        assert account["accepted"] == account["delivered"]
        assert len(received) == account["accepted"], f"{name} lacks records, or got others"
        twice = sum(count - 1 for count in received.values())
        assert twice <= KILLS * BATCH_RECORDS, name


def _live(
    directory: Path, collectors: dict[str, object], *, seconds: float
) -> subprocess.Popen[bytes]:
    orders = {
        "state": str(directory / "state"),
        "collectors": collectors,
        "accepted": str(directory / "accepted"),
        "seconds": seconds,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.live.kill_child", json.dumps(orders)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
