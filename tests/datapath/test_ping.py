"""Pings, against sockets on the loopback interface."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import pytest

from trireme_collector.errors import DatapathError
from trireme_collector.records import PingReport, PingType, Stage
from trireme_datapath import ping as ping_module
from trireme_datapath.ping import PingPlan, go_duration, plan_ping, send_pings
from trireme_datapath.policy import compile_policy, parse_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_mock import MockerFixture

POLICY = """
version = 1
[[unit]]
id = "host"
context = "ctx-host"
namespace = "/n"
select = { local = true }
[[unit]]
id = "addressed"
select = { address = ["10.9.0.0/16", "192.0.2.7", "2001:db8::7"] }
[[unit]]
id = "marked"
select = { mark = "0x500/0xff00" }
[[unit]]
id = "grouped"
select = { cgroup = "web.slice" }
[[unit]]
id = "behind"
select = { interface = "veth0" }
[[peer]]
id = "db"
namespace = "/m"
address = "127.0.0.0/8"
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def clock() -> Callable[[], int]:
    times = iter(range(0, 1_000_000_000, 1_234_567))
    return lambda: next(times)


def plan_to(port: int, **settings: object) -> PingPlan:
    made = PingPlan(destination="127.0.0.1", port=port, interval_seconds=0, **settings)  # type: ignore[arg-type]  # passed on
    return plan_ping(compile_policy(parse_policy(POLICY)), made)


def test_an_answer_is_reported_with_its_latency(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    reports: list[PingReport] = []
    (probe,) = send_pings(plan_to(port), reports.append, clock())
    assert (probe.request, probe.error, probe.latency_ns) == (1, "", 1_234_567)
    origin, reply = reports
    assert (origin.stage, reply.stage) == (Stage.ORIGIN, Stage.REPLY)
    assert (origin.latency, reply.latency) == ("", "1.234567ms")
    assert origin.session_id == reply.session_id == probe.session_id
    assert len(origin.session_id) == 20
    assert origin.flow_tuple == reply.flow_tuple == probe.flow_tuple
    assert origin.flow_tuple.startswith("127.0.0.1:127.0.0.1:")
    assert origin.flow_tuple.endswith(f":{port}")
    assert (origin.source_id, origin.source_namespace) == ("host", "/n")
    assert (origin.destination_id, reply.destination_id) == ("", "db")
    assert reply.destination_namespace == "/m"
    assert (reply.protocol, reply.service_type, reply.ping_type) == (6, "L3", PingType.NONE)
    assert not reply.error


def test_a_refusal_is_an_answer(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    reports: list[PingReport] = []
    (probe,) = send_pings(plan_to(port), reports.append, clock())
    assert (probe.error, probe.latency_ns > 0) == ("refused", True)
    assert (reports[1].error, reports[1].latency) == ("refused", "1.234567ms")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.ETIMEDOUT, "timeout"),
        (errno.EHOSTUNREACH, "unreachable"),
        (errno.EPERM, "prohibited"),
    ],
)
def test_what_is_no_answer_has_no_latency(
    listener: socket.socket, mocker: MockerFixture, code: int, error: str
) -> None:
    mocker.patch.object(ping_module, "_wait", return_value=code)
    reports: list[PingReport] = []
    (probe,) = send_pings(plan_to(listener.getsockname()[1]), reports.append, clock())
    assert (probe.error, probe.latency_ns) == (error, 0)
    assert (reports[1].stage, reports[1].latency, reports[1].error) == (Stage.REPLY, "", error)


def test_each_probe_has_a_number_and_a_session(listener: socket.socket) -> None:
    reports: list[PingReport] = []
    send_pings(plan_to(listener.getsockname()[1], count=3), reports.append, clock())
    assert [one.request for one in reports] == [1, 1, 2, 2, 3, 3]
    assert len({one.session_id for one in reports}) == 3


@pytest.mark.parametrize(
    ("unit", "destination", "source", "mark"),
    [
        ("", "192.0.2.1", "", None),
        ("ctx-host", "192.0.2.1", "", None),
        ("addressed", "192.0.2.1", "192.0.2.7", None),
        ("addressed", "2001:db8::1", "2001:db8::7", None),
        ("marked", "192.0.2.1", "", 0x500),
        ("grouped", "192.0.2.1", "", 100 << 18),
    ],
)
def test_a_unit_has_its_address_or_mark(
    unit: str, destination: str, source: str, mark: int | None
) -> None:
    policy = compile_policy(parse_policy(POLICY))
    plan = plan_ping(policy, PingPlan(destination=destination, port=1), unit)
    assert (plan.source, plan.mark) == (source, mark)
    assert plan.source_id == ({"": "host", "ctx-host": "host"}.get(unit, unit))


def test_the_source_tells_the_unit() -> None:
    policy = compile_policy(parse_policy(POLICY))
    plan = plan_ping(policy, PingPlan(destination="192.0.2.1", port=1, source="10.9.1.1"))
    assert plan.source_id == "addressed"


@pytest.mark.parametrize(("unit", "words"), [("behind", "from where it runs"), ("x", "no unit")])
def test_nobody_else_is_pretended_to_be(unit: str, words: str) -> None:
    policy = compile_policy(parse_policy(POLICY))
    with pytest.raises(DatapathError, match=words):
        plan_ping(policy, PingPlan(destination="192.0.2.1", port=1), unit)


def test_an_address_of_others_is_refused() -> None:
    plan = PingPlan(destination="127.0.0.1", port=1, source="192.0.2.77")
    with pytest.raises(DatapathError, match=r"192\.0\.2\.77"):
        send_pings(plan, lambda _: None)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (17, "17ns"),
        (1_500, "1.5µs"),
        (1_234_567, "1.234567ms"),
        (20_000_000, "20ms"),
        (1_000_000_001, "1.000000001s"),
        (62_500_000_000, "1m2.5s"),
        (3_600_000_000_000, "1h0m0s"),
    ],
)
def test_durations_are_written_as_go_does(nanoseconds: int, text: str) -> None:
    assert go_duration(nanoseconds) == text
