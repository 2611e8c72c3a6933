"""People read one line per record, and nothing that a record holds can command their terminal."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given

from trireme_collector import (
    ActionType,
    ConfigError,
    EndPoint,
    FlowRecord,
    PermanentDeliveryError,
    Pipeline,
    Record,
    Registry,
    RetryableDeliveryError,
    decode_json,
)
from trireme_collector.formats import render_text
from trireme_collector.testing import FakeClock
from trireme_collector.testing.strategies import NASTY_TEXT, records
from trireme_collector_console import ConsoleCollector, ConsoleOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_mock import MockerFixture

RED = "\x1b[31m"


def flow(port: int) -> FlowRecord:
    return FlowRecord(
        source=EndPoint(ip="192.0.2.1", port=40000),
        destination=EndPoint(ip="192.0.2.2", port=port),
        action=ActionType.REJECT,
        l4_protocol=6,
        count=1,
    )


def build(
    descriptor: int | None, environment: dict[str, str] | None = None, **options: object
) -> ConsoleCollector:
    return ConsoleCollector(
        msgspec.convert(options, ConsoleOptions),
        name="c",
        descriptor=descriptor,
        environment=environment or {},
    )


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    """A pipe of one page that does not block; a test may close its ends."""
    ends = list(os.pipe2(os.O_NONBLOCK))
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    yield ends
    for descriptor in ends:
        if descriptor >= 0:
            os.close(descriptor)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ends = os.openpty()
    yield ends
    for descriptor in ends:
        os.close(descriptor)


def close_end(pipe: list[int], end: int) -> None:
    os.close(pipe[end])
    pipe[end] = -1


def read(descriptor: int) -> bytes:
    found = b""
    while True:
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return found
        if not data:
            return found
        found += data


def test_it_enters_by_the_plugin_door() -> None:
    assert Registry().collector_spec("console").config_type is ConsoleOptions


def test_each_record_is_one_line(pipe: list[int]) -> None:
    collector = build(pipe[1])
    collector.open()
    collector.deliver([flow(80), flow(443)])
    lines = read(pipe[0]).decode().splitlines()
    assert lines == [render_text(flow(80)), render_text(flow(443))]


def test_json_lines_read_back(pipe: list[int]) -> None:
    build(pipe[1], json=True, color="always").deliver([flow(80)])
    assert decode_json(read(pipe[0])) == flow(80)


@pytest.mark.parametrize(
    ("color", "environment", "colored"),
    [
        ("auto", {}, True),
        ("auto", {"NO_COLOR": "1"}, False),
        ("auto", {"NO_COLOR": "", "TERM": "dumb"}, False),
        ("always", {"NO_COLOR": "1"}, True),
        ("never", {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colour_on_a_terminal(
    terminal: tuple[int, int], color: str, environment: dict[str, str], *, colored: bool
) -> None:
    build(terminal[1], environment, color=color).deliver([flow(80)])
    assert (RED.encode() in os.read(terminal[0], 4096)) is colored


@pytest.mark.parametrize(("environment", "colored"), [({}, False), ({"FORCE_COLOR": "1"}, True)])
def test_colour_where_no_terminal_is(
    pipe: list[int], environment: dict[str, str], *, colored: bool
) -> None:
    build(pipe[1], environment).deliver([flow(80)])
    assert (RED.encode() in read(pipe[0])) is colored


@pytest.mark.parametrize("as_json", [False, True])
def test_nothing_from_the_network_is_printed_raw(*, as_json: bool) -> None:
    @given(records(text=NASTY_TEXT))
    def check(record: Record) -> None:
        descriptor = os.memfd_create("printed")
        try:
            build(descriptor, json=as_json, color="never").deliver([record])
            line = os.pread(descriptor, 1 << 20, 0).decode()
        finally:
            os.close(descriptor)
        assert line.endswith("\n")
        assert line[:-1].isprintable()

    check()


def test_a_reader_that_left_stops_it_for_good(pipe: list[int]) -> None:
    collector = build(pipe[1])
    close_end(pipe, 0)
    with pytest.raises(PermanentDeliveryError, match="broken pipe; nothing reads it any more"):
        collector.deliver([flow(1)])
    # The descriptor is not touched again: it could belong to something else.
    close_end(pipe, 1)
    with pytest.raises(PermanentDeliveryError, match="broken pipe"):
        collector.deliver([flow(2)])


def test_the_account_balances_when_the_reader_left(pipe: list[int]) -> None:
    clock = FakeClock()
    pipeline = Pipeline({"c": build(pipe[1])}, clock=clock, threads=False).start()
    close_end(pipe, 0)
    for port in range(3):
        pipeline.collect_flow_event(flow(port))
    report = pipeline.close()
    (account,) = report.status.collectors
    assert (account.accepted, account.delivered, account.queued) == (3, 0, 0)


def test_a_full_pipe_keeps_whole_lines_and_loses_none(pipe: list[int]) -> None:
    collector = ConsoleCollector(
        ConsoleOptions(), descriptor=pipe[1], environment={}, wait_writable=lambda _: True
    )
    waiting = [flow(port) for port in range(1, 101)]
    printed = b""
    attempts = 0
    while waiting:
        attempts += 1
        assert attempts < 20
        try:
            collector.deliver(waiting)
            waiting = []
        except RetryableDeliveryError as error:
            waiting = waiting[error.delivered :]
        printed += read(pipe[0])
    assert attempts > 1
    lines = printed.decode().split("\n")
    whole = [render_text(flow(port)) for port in range(1, 101)]
    assert [line for line in lines if line in whole] == whole
    # What is more was cut off where the pipe was full, and stands alone.
    assert all(any(w.startswith(line) for w in whole) for line in lines)


def test_it_does_not_wait_for_ever(pipe: list[int]) -> None:
    collector = ConsoleCollector(
        ConsoleOptions(), descriptor=pipe[1], environment={}, wait_writable=lambda _: False
    )
    with pytest.raises(RetryableDeliveryError, match="it takes no more") as caught:
        collector.deliver([flow(1)])
    assert (caught.value.delivered, caught.value.retry_after) == (0, 1.0)
    assert read(pipe[0]) == b""


def test_a_full_disk_behind_it_may_pass(pipe: list[int], mocker: MockerFixture) -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    mocker.patch("trireme_collector_console.collector.os.write", side_effect=error)
    with pytest.raises(RetryableDeliveryError, match="no space left on device"):
        build(pipe[1]).deliver([flow(1)])


def test_a_reopened_stream_is_tried_again(pipe: list[int], mocker: MockerFixture) -> None:
    collector = build(pipe[1])
    write = mocker.patch("trireme_collector_console.collector.os.write")
    write.side_effect = OSError(errno.EIO, "Input/output error")
    with pytest.raises(PermanentDeliveryError):
        collector.deliver([flow(1)])
    mocker.stopall()
    collector.reopen()
    collector.deliver([flow(2)])
    assert read(pipe[0]).decode() == render_text(flow(2)) + "\n"


@pytest.mark.parametrize(("stream", "name"), [("stdout", "output"), ("stderr", "error")])
def test_a_stream_that_was_never_open_is_a_mistake(
    mocker: MockerFixture, stream: str, name: str
) -> None:
    mocker.patch.object(sys, f"__{stream}__", None)
    with pytest.raises(ConfigError, match=f"standard {name} is closed"):
        build(None, stream=stream).open()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_process_prints_to_the_stream_that_was_asked_for(stream: str) -> None:
    code = (
        "import sys, msgspec\n"
        "from trireme_collector import ContainerRecord\n"
        "from trireme_collector_console import ConsoleCollector, ConsoleOptions\n"
        f"options = msgspec.convert({{'stream': {stream!r}}}, ConsoleOptions)\n"
        "ConsoleCollector(options).deliver([ContainerRecord(context_id='one', event='start')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    printed = {"stdout": done.stdout, "stderr": done.stderr}
    assert "unit=one" in printed.pop(stream)
    assert list(printed.values()) == [""]
