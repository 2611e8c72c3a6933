"""The services over a real socket, asked as Hubble's clients ask them."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from trireme_collector.records import ActionType, EndPoint, FlowRecord
from trireme_datapath.grpc_server import ListenConfig, parse_address
from trireme_datapath.observer import EventTypeFilter, FlowFilter, FlowObserver, FlowsRequest

grpc = pytest.importorskip("grpc")

from trireme_datapath.grpc_server import GrpcServers  # noqa: E402  after the extra was found
from trireme_datapath.observer._grpc_client import (  # noqa: E402
    ObserverClient,
    ObserverError,
)
from trireme_datapath.observer._grpc_forms import messages, read_form  # noqa: E402
from trireme_datapath.observer._grpc_service import ObserverService  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND
GET_FLOWS = "/observer.Observer/GetFlows"


def record(port: int, *, tags: tuple[str, ...] = ()) -> FlowRecord:
    return FlowRecord(
        namespace="/shop",
        source=EndPoint(ip="192.0.2.1", port=port),
        destination=EndPoint(ip="192.0.2.2", port=443, id="web"),
        tags=tags,
        l4_protocol=6,
        action=ActionType.ACCEPT,
        end_time_ns=START + port,
        start_time_ns=START + port,
    )


class Lab:
    """An observer behind a socket."""

    def __init__(self, path: Path, max_rate: int = 0) -> None:
        self.observer = FlowObserver("node1", START, max_flows=64)
        self.service = ObserverService(
            self.observer, version="v1", address="unix:///x", clock=lambda: START, max_rate=max_rate
        )
        self.place = f"unix://{path}/s"
        self.servers = GrpcServers()
        for service in self.service.services():
            self.servers.add("observer", ListenConfig(listen=[self.place]), service)
        self.servers.open()
        self.client = ObserverClient(parse_address(self.place))

    def see(self, *ports: int) -> None:
        for port in ports:
            self.observer.observe(record(port), START)

    def close(self) -> None:
        self.client.close()
        self.servers.close(0)

    def ports(self, request: FlowsRequest) -> list[int]:
        return [port_of(response) for response in self.client.flows(request)]


def port_of(response: dict[str, Any]) -> int:
    port: int = response["flow"]["l4"]["TCP"]["source_port"]
    return port


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.close()


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def raw(lab: Lab, content: bytes) -> list[bytes]:
    with grpc.insecure_channel(lab.place) as channel:
        return list(channel.unary_stream(GET_FLOWS)(content, timeout=10))


def test_what_common_commands_send_is_answered(lab: Lab) -> None:
    lab.see(*range(1, 51))
    # `observe`, `--last 5`, `--first 2`, `--all`: the bytes that the client sends.
    for content, count in (
        (b"\x08\x14", 20),
        (b"\x08\x05", 5),
        (b"\x08\x02\x48\x01", 2),
        (b"\x08" + b"\xff" * 9 + b"\x01", 50),
        (b"", 50),
    ):
        assert len(raw(lab, content)) == count
    # `--port 7`: one filter for either side.
    both = b"\x32\x04\x6a\x02\x31\x37\x32\x04\x72\x02\x31\x37"
    assert len(raw(lab, both)) == 1


def test_a_flow_arrives_whole(lab: Lab) -> None:
    lab.see(7)
    (response,) = lab.client.flows(FlowsRequest())
    flow = response["flow"]
    assert isinstance(flow, dict)
    assert response["node_name"] == flow["node_name"] == "node1"
    assert response["time"] == flow["time"] == "2027-01-15T08:00:00.000000007Z"
    assert flow["is_reply"] is False
    assert flow["IP"] == {
        "source": "192.0.2.1",
        "destination": "192.0.2.2",
        "ipVersion": "IPv4",
    }
    assert flow["Summary"] == "TCP"


def test_filters_and_lists(lab: Lab) -> None:
    lab.see(1, 2, 3, 4)
    two = FlowFilter(source_port=("2",))
    policy = FlowFilter(event_type=(EventTypeFilter(type=5),), verdict=("FORWARDED",))
    assert lab.ports(FlowsRequest(allow=(two,))) == [2]
    assert lab.ports(FlowsRequest(allow=(policy,), deny=(two,))) == [1, 3, 4]
    assert lab.ports(FlowsRequest(since_ns=START + 3)) == [3, 4]
    assert lab.ports(FlowsRequest(until_ns=START + 1)) == [1]


def test_masks(lab: Lab) -> None:
    lab.see(1)
    (response,) = lab.client.flows(FlowsRequest(), mask=["verdict", "IP.source"])
    assert response == {"flow": {"verdict": "FORWARDED", "IP": {"source": "192.0.2.1"}}}


@pytest.mark.parametrize(
    ("request_", "details"),
    [
        ({"first": True, "follow": True}, "first cannot be specified with follow"),
        ({"whitelist": [{"source_ip": ["x"]}]}, 'invalid IP address in filter: "x"'),
        ({"blacklist": [{"source_port": ["x"]}]}, 'invalid source port filter: invalid port "x"'),
        ({"whitelist": [{"http_url": [".*"]}]}, "filters by http_url are not supported"),
        ({"field_mask": {"paths": ["x"]}}, "invalid fieldmask"),
        ({"since": {"seconds": 1 << 50}}, "since is no time"),
        ({"until": {"nanos": -1}}, "until is no time"),
        ({"whitelist": [{}] * 300}, "300 filters are more than 256"),
    ],
)
def test_requests_that_are_refused(lab: Lab, request_: dict[str, Any], details: str) -> None:
    content = messages()["observer.GetFlowsRequest"](**request_).SerializeToString()
    with pytest.raises(grpc.RpcError) as caught:
        raw(lab, content)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details in caught.value.details()


def test_a_field_of_filters_that_is_not_known_is_refused(lab: Lab) -> None:
    # Field 39, of a newer server: whoever ignores it shows what nobody asked for.
    with pytest.raises(grpc.RpcError) as caught:
        raw(lab, b"\x32\x05\xba\x02\x02ab")
    assert caught.value.details() == "filters by field 39 of FlowFilter are not supported"


@pytest.mark.parametrize("content", [b"\xff", b"\x32\x7f", b"\x08", b"\x32\x02\x0a\x01\xff"])
def test_malformed_requests_are_refused(lab: Lab, content: bytes) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        raw(lab, content)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raw(lab, b"") == []


def test_a_follower_can_be_interrupted_while_it_waits(lab: Lab) -> None:
    interrupter = threading.Timer(0.1, lab.client.interrupt)  # as a handler would, meanwhile
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        next(lab.client.flows(FlowsRequest(follow=True)))
    interrupter.join()
    with pytest.raises(KeyboardInterrupt):  # the second time it does not wait for the library
        lab.client.interrupt()


def test_a_follower_gets_what_comes(lab: Lab) -> None:
    lab.see(1)
    found: list[int] = []

    def follow() -> None:
        flows = lab.client.flows(FlowsRequest(follow=True, number=1))
        found.extend(map(port_of, itertools.islice(flows, 4)))

    thread = threading.Thread(target=follow)
    thread.start()
    eventually(lambda: lab.observer._wake is not None)
    lab.see(2, 3)
    eventually(lambda: lab.observer._wake is not None)
    lab.see(4)
    thread.join(10)
    assert found == [1, 2, 3, 4]


def test_a_client_that_reads_nothing_loses_and_is_told(lab: Lab) -> None:
    with grpc.insecure_channel(
        lab.place, [("grpc.max_receive_message_length", -1), ("grpc.http2.lookahead_bytes", 1024)]
    ) as channel:
        stream = channel.unary_stream(GET_FLOWS)(b"\x18\x01", timeout=60)
        eventually(lambda: lab.observer._wake is not None)
        begun = time.monotonic()
        for _ in range(300):
            # More than sockets and windows hold.
            for port in range(1, 65):
                lab.observer.observe(record(port, tags=("x=" + "y" * 4000,)), START)
            time.sleep(0.001)
        assert time.monotonic() - begun < 10, "the writer waited for its reader"
        response = messages()["observer.GetFlowsResponse"]
        lost = 0
        for content in stream:
            form = read_form(response.FromString(content))
            if "lost_events" in form:
                told: Any = form["lost_events"]
                assert told["source"] == "HUBBLE_RING_BUFFER"
                lost = int(told["num_events_lost"])
                break
        assert lost > 0


def test_a_flow_that_protobuf_cannot_hold_is_mended_or_left_out(lab: Lab) -> None:
    lab.observer.observe(record(1, tags=("half\ud800",)), START)
    lab.observer.observe(record(1 << 40), START)
    lab.see(2)
    assert lab.ports(FlowsRequest()) == [1, 2]
    assert lab.observer.status(START).unsound == 1


def test_the_server_tells_how_it_is(lab: Lab) -> None:
    lab.see(*range(1, 71))
    status = lab.client.ask("ServerStatus")
    assert status["num_flows"] == status["max_flows"] == "64"
    assert status["seen_flows"] == "70"
    assert status["version"] == "v1"
    nodes: Any = lab.client.ask("GetNodes")["nodes"]
    assert nodes[0] == {
        "name": "node1",
        "version": "v1",
        "address": "unix:///x",
        "state": "NODE_CONNECTED",
        "num_flows": "64",
        "max_flows": "64",
        "seen_flows": "70",
    }
    assert lab.client.ask("GetNamespaces") == {"namespaces": [{"namespace": "/shop"}]}


def test_health_and_peers(lab: Lab) -> None:
    with grpc.insecure_channel(lab.place) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"\x0a\x16hubble.server.Observer", timeout=10) == b"\x08\x01"
        peers = channel.unary_stream("/peer.Peer/Notify")(b"", timeout=10)
        notification = messages()["peer.ChangeNotification"].FromString(next(peers))
        assert read_form(notification) == {
            "name": "node1",
            "address": "unix:///x",
            "type": "PEER_ADDED",
        }
        peers.cancel()


def test_streams_end_with_the_server(lab: Lab) -> None:
    with grpc.insecure_channel(lab.place) as channel:
        flows = channel.unary_stream(GET_FLOWS)(b"\x18\x01", timeout=10)
        eventually(lambda: lab.observer._wake is not None)
        lab.servers.close(1)
        with pytest.raises(grpc.RpcError) as caught:
            next(flows)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_the_pace_is_kept(tmp_path: Path) -> None:
    lab = Lab(tmp_path, max_rate=200)
    lab.see(*range(1, 61))
    begun = time.monotonic()
    assert len(lab.ports(FlowsRequest())) == 60
    assert time.monotonic() - begun > 0.15
    lab.close()


def test_nobody_there(tmp_path: Path) -> None:
    with (
        ObserverClient(parse_address(f"unix://{tmp_path}/none")) as client,
        pytest.raises(ObserverError, match="cannot be reached"),
    ):
        client.ask("ServerStatus")


def test_thousands_of_streams(lab: Lab) -> None:
    lab.see(1)
    with grpc.insecure_channel(lab.place) as channel:
        method = channel.unary_stream(GET_FLOWS)
        streams = [method(b"\x08\x01\x18\x01", timeout=60) for _ in range(2000)]
        outcomes = {"served": 0, "refused": 0}
        for stream in streams:
            try:
                next(stream)
                outcomes["served"] += 1
            except grpc.RpcError:
                outcomes["refused"] += 1
        assert outcomes["served"] >= 256
        assert outcomes["refused"] >= 1000
        for stream in streams:
            stream.cancel()
    eventually(lambda: _is_answered(lab))


def _is_answered(lab: Lab) -> bool:
    try:
        return lab.ports(FlowsRequest(number=1)) == [1]
    except ObserverError:
        return False  # the streams of before are still being ended


def test_a_hundred_clients(lab: Lab) -> None:
    lab.see(*range(1, 65))
    with grpc.insecure_channel(lab.place) as channel:
        method = channel.unary_stream(GET_FLOWS)
        streams = [method(b"\x08\x40\x18\x01", timeout=60) for _ in range(100)]
        for stream in streams:
            assert len([next(stream) for _ in range(64)]) == 64
        for stream in streams:
            stream.cancel()
    assert lab.ports(FlowsRequest(number=1)) == [64]
