"""A Kafka cluster without Kafka: the mock brokers of librdkafka, in a process of their own.

They speak the real protocol on loopback and fail on command. As a program, this module is the
cluster: it writes its brokers' addresses, then obeys one command a line and answers each.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

__all__ = ["MockCluster"]

PRODUCE, METADATA, INIT_PRODUCER_ID = 0, 3, 22  # keys of requests in the protocol
_PRODUCER = 0


class MockCluster:
    """The cluster, seen from a test.

    Args:
        brokers: How many there are.
    """

    def __init__(self, brokers: int = 1) -> None:
        self.ids = range(1, brokers + 1)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(brokers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the library is talkative
            text=True,
        )
        self.brokers = self._answer().split(",")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def create(self, topic: str, partitions: int = 1) -> None:
        """Make a topic, kept by every broker."""
        self._do("create", topic, partitions, len(self.ids))

    def lead(self, topic: str, partition: int, broker: int) -> None:
        """Make a broker the leader of a partition."""
        self._do("lead", topic, partition, broker)

    def down(self, *brokers: int) -> None:
        """Break the connections to brokers, all of them by default, and refuse new ones."""
        for broker in brokers or self.ids:
            self._do("down", broker)

    def up(self, *brokers: int) -> None:
        """Let brokers come back."""
        for broker in brokers or self.ids:
            self._do("up", broker)

    def advertise(self, broker: int, port: int) -> None:
        """Tell clients another port of a broker from now on."""
        self._do("advertise", broker, port)

    def slow(self, milliseconds: int) -> None:
        """Answer every request so much later."""
        for broker in self.ids:
            self._do("rtt", broker, milliseconds)

    def fail(self, request: int, codes: Sequence[int]) -> None:
        """Answer the next requests of a kind with these error codes."""
        self._do("fail", request, *codes)

    def heal(self, request: int) -> None:
        """Forget the errors that have not been given yet."""
        self._do("heal", request)

    def refuse(self, topic: str, code: int) -> None:
        """Answer every question about a topic with an error code; 0 for none."""
        self._do("refuse", topic, code)

    def _do(self, *words: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        assert answer == "done", answer

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def _library() -> ctypes.CDLL:
    """Open the library that the extension module brought into this process."""
    import confluent_kafka  # noqa: F401, PLC0415  loads it

    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    found = re.search(r"(/\S*librdkafka\S*\.so[.\d]*)$", maps, re.MULTILINE)
    assert found is not None
    library = ctypes.CDLL(found[1])
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


def main(count: int) -> None:
    """Be the cluster until the other side closes the pipe."""
    library = _library()
    text = ctypes.create_string_buffer(512)
    handle = library.rd_kafka_new(
        _PRODUCER, ctypes.c_void_p(library.rd_kafka_conf_new()), text, len(text)
    )
    assert handle, text.value
    cluster = ctypes.c_void_p(
        library.rd_kafka_mock_cluster_new(ctypes.c_void_p(handle), ctypes.c_int(count))
    )
    _say(library.rd_kafka_mock_cluster_bootstraps(cluster).decode())
    for line in sys.stdin:
        code = _obey(library, cluster, line.split())
        _say("done" if not code else f"error {code}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _obey(library: ctypes.CDLL, cluster: ctypes.c_void_p, words: Sequence[str]) -> int:
    match words:
        case ["create", topic, partitions, replicas]:
            code = library.rd_kafka_mock_topic_create(
                cluster, topic.encode(), int(partitions), int(replicas)
            )
        case ["lead", topic, partition, broker]:
            code = library.rd_kafka_mock_partition_set_leader(
                cluster, topic.encode(), int(partition), int(broker)
            )
        case ["down", broker]:
            code = library.rd_kafka_mock_broker_set_down(cluster, int(broker))
        case ["up", broker]:
            code = library.rd_kafka_mock_broker_set_up(cluster, int(broker))
        case ["rtt", broker, milliseconds]:
            code = library.rd_kafka_mock_broker_set_rtt(cluster, int(broker), int(milliseconds))
        case ["advertise", broker, port]:
            library.rd_kafka_mock_broker_set_host_port(
                cluster, int(broker), b"127.0.0.1", int(port)
            )
            code = 0
        case ["fail", request, *codes]:
            errors = (ctypes.c_int * len(codes))(*map(int, codes))
            library.rd_kafka_mock_push_request_errors_array(
                cluster, ctypes.c_int16(int(request)), ctypes.c_size_t(len(codes)), errors
            )
            code = 0
        case ["heal", request]:
            library.rd_kafka_mock_clear_request_errors(cluster, ctypes.c_int16(int(request)))
            code = 0
        case ["refuse", topic, error]:
            library.rd_kafka_mock_topic_set_error(cluster, topic.encode(), int(error))
            code = 0
        case _:
            code = -1
    return int(code)


if __name__ == "__main__":
    main(int(sys.argv[1]))
    os._exit(0)  # the library's threads need no farewell
