"""Options and names of the source and of the sink for conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from trireme_collector import ConfigError
from trireme_collector.cli._part_options import read_part_options
from trireme_collector_kafka.sink import KafkaSinkOptions
from trireme_collector_kafka.source import KafkaSource, KafkaSourceOptions

if TYPE_CHECKING:
    from pathlib import Path

GOOD = KafkaSourceOptions(brokers=["localhost"])


@pytest.mark.parametrize(
    "word",
    [
        "state_topic=a b",
        "instance_id=a b",
        "session_timeout_seconds=0",
        "prefetch_bytes=1",
        "format=pcap",
        "tls=maybe",
        "ca_file=/nowhere",
    ],
)
def test_what_the_source_does_not_take(word: str) -> None:
    with pytest.raises(ConfigError, match=word.partition("=")[0]):
        read_part_options(KafkaSourceOptions, "source", None, ["brokers=localhost", word])


def test_one_file_for_both(tmp_path: Path) -> None:
    path = tmp_path / "conversations.toml"
    path.write_text(
        '[source]\nbrokers = ["a:1"]\nstate_topic = "s"\n[sink]\nbrokers = ["b:1"]\n',
        encoding="utf-8",
    )
    source = read_part_options(KafkaSourceOptions, "source", str(path), ())
    sink = read_part_options(KafkaSinkOptions, "sink", str(path), ())
    assert (source.brokers, source.state_topic, sink.brokers) == (["a:1"], "s", ["b:1"])


@pytest.mark.parametrize(
    ("topics", "group"), [([], "g"), (["t"], ""), (["a b"], "g"), (["t"], "a b")]
)
def test_names(topics: list[str], group: str) -> None:
    with pytest.raises(ConfigError):
        KafkaSource(GOOD, topics, group)


def test_a_group_of_any_name_with_a_topic_of_its_own() -> None:
    options = msgspec.structs.replace(GOOD, state_topic="states", format="json")
    assert KafkaSource(options, ["t"], "a b").values == "native"
