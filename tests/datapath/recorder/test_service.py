"""The recorder over gRPC: every sequence, every refusal, clients that behave badly."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import pytest

from tests.datapath.recorder.sources import ScriptedSource, frames
from trireme_collector.control import SocketBusyError
from trireme_datapath.recorder import (
    RecorderConfig,
    RecorderError,
    RecordingRequest,
    Refusal,
    build_filter,
)
from trireme_datapath.recorder.protocol import recorder_schema

grpc = pytest.importorskip("grpc")

from trireme_datapath.grpc_server import Messages  # noqa: E402  after the extra was found
from trireme_datapath.recorder._grpc_client import ClientTls, RecorderClient  # noqa: E402
from trireme_datapath.recorder.server import RecorderServer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

Dynamic: TypeAlias = Any  # messages are made at run time
METHOD = "/recorder.Recorder/Record"
# What Hubble's own client sends, see the reference of its protocol.
START = bytes.fromhex(
    "0a260a080a06687562626c6512160a09302e302e302e302f301a09302e302e302e302f3022021a00"
)
START_FOUR_PACKETS = bytes.fromhex(
    "0a280a080a06687562626c6512160a09302e302e302e302f301a09302e302e302e302f30220410041a00"
)
START_TIMED = bytes.fromhex(
    "0a2e0a080a06687562626c6512160a09302e302e302e302f301a09302e302e302e302f30220a1a0808011080cab5ee01"
)
START_ALL = bytes.fromhex(
    "0a82010a060a046162633112210a0e3139322e3136382e312e302f32341a0b31302e302e302e302f313620502806"
    "12100a043a3a2f3010351a043a3a2f30281112160a09302e302e302e302f301a09302e302e302e302f30121d0a0930"
    "2e302e302e302f301a09302e302e302e302f3020bc9c022884011860220a08882710e8071a020802"
)
STOP = bytes.fromhex("1200")
SECONDS = 60.0


class Client:
    """A client that says what it is told to, when it is told to."""

    def __init__(
        self, channel: Dynamic, types: Messages, *first: bytes, **options: Dynamic
    ) -> None:
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        for one in first:
            self.say(one)
        self._types = types
        options.setdefault("timeout", SECONDS)
        self.call = channel.stream_stream(METHOD)(iter(self._queue.get, None), **options)

    def say(self, *messages: bytes | None) -> None:
        for one in messages:
            self._queue.put(one)

    def half_close(self) -> None:
        self.say(None)

    def next(self) -> Dynamic:
        return self._types["recorder.RecordResponse"].FromString(next(self.call))

    def rest(self) -> list[Any]:
        kind = self._types["recorder.RecordResponse"]
        return [kind.FromString(one) for one in self.call]

    def failure(self) -> tuple[str, str]:
        with pytest.raises(grpc.RpcError) as caught:
            self.rest()
        self.half_close()
        error: Dynamic = caught.value
        return error.code().name, error.details()


class Lab:
    """A recorder with scripted sources, and clients."""

    def __init__(self, directory: Path, **settings: Dynamic) -> None:
        self.sources: list[ScriptedSource] = []
        self.requests: list[RecordingRequest] = []
        self.refusal: RecorderError | None = None
        self.address = f"unix://{directory}/s"
        settings.setdefault("listen", [self.address])
        settings.setdefault("node_name", "nöde/1")
        limits = {"min_free_bytes": 0}
        directory_and_limits = {"directory": str(directory / "r"), "limits": limits}
        self.config = msgspec.convert(
            {**directory_and_limits, "update_seconds": 0.1, **settings}, RecorderConfig
        )
        self.server = RecorderServer(self.config, open_source=self.open_source)
        self.server.open()
        self.types = Messages(recorder_schema())
        self.channel = grpc.insecure_channel(self.address)
        self._clients: list[Client] = []

    def open_source(self, config: RecorderConfig, request: RecordingRequest) -> ScriptedSource:
        del config
        if self.refusal is not None:
            raise self.refusal
        self.requests.append(request)
        self.sources.append(ScriptedSource())
        return self.sources[-1]

    def client(self, *first: bytes, **options: Dynamic) -> Client:
        made = Client(self.channel, self.types, *first, **options)
        self._clients.append(made)
        return made

    def ask(self, method: str, kind: str, answer: str, **fields: Dynamic) -> Dynamic:
        package = "trireme.recorder.v1"
        make: Dynamic = self.types[f"{package}.{kind}"]
        call = self.channel.unary_unary(f"/{package}.Recordings/{method}")
        data = call(make(**fields).SerializeToString(), timeout=SECONDS)
        return self.types[f"{package}.{answer}"].FromString(data)

    def close(self) -> None:
        for one in self._clients:
            one.half_close()
            one.call.cancel()
        self.channel.close()
        self.server.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.close()


def wait_for(condition: Dynamic) -> bool:
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def start_message(lab: Lab, **fields: Dynamic) -> bytes:
    types: Dynamic = lab.types
    message = types["recorder.RecordRequest"](start=types["recorder.StartRecording"](**fields))
    data: bytes = message.SerializeToString()
    return data


def one_filter(**fields: Dynamic) -> dict[str, Any]:
    return {"source_cidr": "0.0.0.0/0", "destination_cidr": "0.0.0.0/0", **fields}


# Sequences.


def test_a_recording_confirms_tells_and_ends(lab: Lab) -> None:
    client = lab.client(START)
    before = time.time()
    first = client.next()
    assert first.WhichOneof("response_type") == "running"
    assert first.running.HasField("stats")
    assert first.running.stats.packets_captured == 0
    assert first.node_name == "nöde/1"
    assert abs(first.time.seconds - before) < 60
    lab.sources[0].put(frames(3, 500))
    totals = [0]
    while totals[-1] < 3:
        totals.append(client.next().running.stats.packets_captured)
    assert totals == sorted(totals)
    client.say(STOP)
    *_, last = client.rest()
    assert last.WhichOneof("response_type") == "stopped"
    stats = last.stopped.stats
    assert (stats.packets_captured, stats.bytes_captured, stats.packets_lost) == (3, 1500, 0)
    path = Path(last.stopped.filesink.file_path)
    assert path.is_absolute()
    assert path.stat().st_size == 24 + 3 * 516
    assert path.name.startswith("hubble_")
    assert path.name.endswith("_n_de_1.pcap")
    assert client.call.code() is grpc.StatusCode.OK


def test_without_packets_a_client_hears_all_the_same(lab: Lab) -> None:
    client = lab.client(START)
    assert [client.next().running.stats.packets_captured for _ in range(4)] == [0] * 4


def test_zero_conditions_are_off(lab: Lab) -> None:
    client = lab.client(START)
    client.next()
    lab.sources[0].put(frames(10))
    while client.next().running.stats.packets_captured < 10:
        pass
    client.say(STOP)
    assert client.rest()[-1].stopped.stats.packets_captured == 10


def test_a_packet_limit_of_the_real_client(lab: Lab) -> None:
    client = lab.client(START_FOUR_PACKETS)
    client.next()
    lab.sources[0].put(frames(10))
    assert client.rest()[-1].stopped.stats.packets_captured == 4
    assert dict(client.call.trailing_metadata())["trireme-stop-reason"] == "packets"


def test_a_time_limit_of_the_real_client(lab: Lab) -> None:
    client = lab.client(START_TIMED)
    begin = time.monotonic()
    assert client.rest()[-1].WhichOneof("response_type") == "stopped"
    assert 1.4 < time.monotonic() - begin < 8
    assert lab.requests[0].stop_condition.time_elapsed_ns == 1_500_000_000


def test_all_that_the_real_client_can_say(lab: Lab) -> None:
    client = lab.client(START_ALL)
    client.next()
    request = lab.requests[0]
    assert [str(one) for one in request.include] == [
        "192.168.1.0/24 0 10.0.0.0/16 80 TCP",
        "::/0 53 ::/0 0 UDP",
        "0.0.0.0/0 0 0.0.0.0/0 0 ANY",
        "0.0.0.0/0 0 0.0.0.0/0 36412 SCTP",
    ]
    assert request.max_capture_length == 96
    stop = request.stop_condition
    assert (stop.bytes_captured_count, stop.packets_captured_count) == (5000, 1000)
    assert stop.time_elapsed_ns == 2_000_000_000
    client.say(STOP)
    path = client.rest()[-1].stopped.filesink.file_path
    assert Path(path).name.startswith("abc1_")
    assert Path(path).read_bytes()[16:20] == b"\x60\0\0\0"


@pytest.mark.parametrize("seconds", [-5, 315_576_000_000])
def test_odd_durations(lab: Lab, seconds: int) -> None:
    stop = {"time_elapsed": {"seconds": seconds}}
    client = lab.client(start_message(lab, include=[one_filter()], stop_condition=stop))
    client.next()
    if seconds > 0:
        client.say(STOP)
    assert client.rest()[-1].stopped.stats.packets_captured == 0


def test_stop_twice_is_once(lab: Lab) -> None:
    client = lab.client(START, STOP, STOP, STOP)
    answers = client.rest()
    assert [one.WhichOneof("response_type") for one in answers].count("stopped") == 1
    assert answers[0].WhichOneof("response_type") == "running"
    # And the server lives on.
    assert lab.client(START, STOP).rest()[-1].WhichOneof("response_type") == "stopped"


def test_half_closing_after_stop_changes_nothing(lab: Lab) -> None:
    for _ in range(20):
        client = lab.client(START, STOP)
        client.half_close()
        assert client.rest()[-1].WhichOneof("response_type") == "stopped"


def test_half_closing_without_stop_ends_with_an_error_and_keeps_the_file(lab: Lab) -> None:
    client = lab.client(START)
    client.next()
    lab.sources[0].put(frames(2))
    client.half_close()
    code, text = client.failure()
    assert (code, text) == ("ABORTED", "failed to receive from recorder client: EOF")
    assert wait_for(lambda: not lab.server.recorder.active)
    (entry,) = lab.server.recorder.entries()
    assert entry.size_bytes == 24 + 2 * 76


def test_a_client_that_cancels_keeps_its_file(lab: Lab) -> None:
    client = lab.client(START)
    client.next()
    lab.sources[0].put(frames(2))
    client.call.cancel()
    assert wait_for(lambda: not lab.server.recorder.active)
    (entry,) = lab.server.recorder.entries()
    assert entry.size_bytes == 24 + 2 * 76
    audit = (lab.server.recorder.store.path / "audit.jsonl").read_text()
    assert entry.name in audit.splitlines()[-1]
    assert '"reason":"gone"' in audit


def test_a_deadline_of_the_client_ends_it(lab: Lab) -> None:
    stub = lab.channel.stream_stream(METHOD)
    waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    waiting.put(START)
    call = stub(iter(waiting.get, None), timeout=0.5)
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    waiting.put(None)
    error: Dynamic = caught.value
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert wait_for(lambda: not lab.server.recorder.active)


def test_shutting_down_sends_stopped(lab: Lab) -> None:
    client = lab.client(START)
    client.next()
    lab.sources[0].put(frames(2))
    closing = threading.Thread(target=lab.server.close)
    closing.start()
    assert client.rest()[-1].stopped.stats.packets_captured == 2
    closing.join(SECONDS)


def test_many_recordings_at_once_do_not_touch_each_other(lab: Lab) -> None:
    clients = [lab.client(START) for _ in range(10)]
    for client in clients:
        client.next()
    for source in lab.sources:
        source.put(frames(5))
    clients[0].call.cancel()
    clients[1].say(b"\xff")
    with pytest.raises(grpc.RpcError):
        clients[1].rest()
    for client in clients[2:]:
        client.say(STOP)
        assert client.rest()[-1].stopped.stats.packets_captured == 5


# Refusals.


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([b""], 'received invalid request "", expected start request'),
        ([b"\x28\x01"], 'received invalid request "5:1", expected start request'),
        ([STOP], 'received invalid request "stop:{}", expected start request'),
        ([START, b""], 'received invalid request "", expected stop request'),
        ([b"\xff\xff"], "cannot read a message of 2 bytes as recorder.RecordRequest"),
        ([b"\x0a\x00"], "need to specify at least one include filter"),
    ],
)
def test_invalid_requests_are_quoted(lab: Lab, messages: list[bytes], text: str) -> None:
    assert lab.client(*messages).failure() == ("INVALID_ARGUMENT", text)


def test_a_second_start_is_refused(lab: Lab) -> None:
    code, text = lab.client(START, START).failure()
    assert code == "INVALID_ARGUMENT"
    assert text.startswith('received invalid request "start:{filesink:{file_prefix:\\"hubble\\"}')
    assert text.endswith('", expected stop request')


def test_nothing_at_all_is_refused(lab: Lab) -> None:
    client = lab.client()
    client.half_close()
    assert client.failure() == ("INVALID_ARGUMENT", "failed to receive from recorder client: EOF")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"filesink": {"file_prefix": "Abc"}}, 'invalid file sink prefix: "Abc"'),
        ({"filesink": {"file_prefix": "../x"}}, 'invalid file sink prefix: "../x"'),
        ({"filesink": {"file_prefix": "ab\n"}}, 'invalid file sink prefix: "ab\\n"'),
        ({"include": []}, "need to specify at least one include filter"),
        (
            {"include": [one_filter(source_cidr="10.0.0.1")]},
            'failed to parse source cidr "10.0.0.1": invalid CIDR address: 10.0.0.1',
        ),
        (
            {"include": [one_filter(destination_cidr="")]},
            'failed to parse destination cidr "": invalid CIDR address: ',
        ),
        (
            {"include": [one_filter(source_cidr="10.0.0.0/8", destination_cidr="fd00::/8")]},
            "source (10.0.0.0/8) and destination cidr (fd00::/8) must be same protocol version",
        ),
        ({"include": [one_filter(source_port=65536)]}, "source port 65536 out of range"),
        ({"include": [one_filter(destination_port=70000)]}, "destination port 70000 out of range"),
        ({"include": [one_filter(protocol=300)]}, "protocol 300 out of range"),
        (
            {"include": [one_filter()] * 1025},
            "1025 include filters are too many, 1024 are possible",
        ),
    ],
)
def test_every_refusal_has_its_text(lab: Lab, fields: dict[str, Any], text: str) -> None:
    message = start_message(lab, **{"include": [one_filter()], **fields})
    assert lab.client(message).failure() == ("INVALID_ARGUMENT", text)
    assert lab.server.recorder.entries() == []


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (Refusal.UNFIT, "FAILED_PRECONDITION"),
        (Refusal.FORBIDDEN, "FAILED_PRECONDITION"),
        (Refusal.EXHAUSTED, "RESOURCE_EXHAUSTED"),
        (Refusal.FAILED, "INTERNAL"),
        (Refusal.CLOSING, "UNAVAILABLE"),
    ],
)
def test_refusals_of_the_recorder_have_proper_codes(lab: Lab, refusal: Refusal, code: str) -> None:
    lab.refusal = RecorderError("not now", refusal)
    assert lab.client(START).failure() == (code, "not now")


def test_strict_compatibility_knows_one_code(tmp_path: Path) -> None:
    lab = Lab(tmp_path, strict_compat=True)
    assert lab.client(b"").failure()[0] == "UNKNOWN"
    lab.refusal = RecorderError("not now", Refusal.EXHAUSTED)
    assert lab.client(START).failure() == ("UNKNOWN", "not now")
    assert lab.config.kept_bytes == 0
    lab.close()


def test_too_many_recordings_are_refused(tmp_path: Path) -> None:
    lab = Lab(tmp_path, max_recordings=1)
    client = lab.client(START)
    client.next()
    code, text = lab.client(START).failure()
    assert code == "RESOURCE_EXHAUSTED"
    assert text.startswith("unable to allocate capture rule id")
    client.say(STOP)
    client.rest()
    assert lab.client(START, STOP).rest()[-1].WhichOneof("response_type") == "stopped"
    lab.close()


def test_a_recording_that_breaks_ends_with_its_error(lab: Lab) -> None:
    client = lab.client(START)
    client.next()
    lab.sources[0].lost = "nonsense"  # type: ignore[assignment]  # a source that breaks
    code, text = client.failure()
    assert code == "INTERNAL"
    assert text.startswith("recorder recording error: ")


def test_a_huge_request_is_refused(lab: Lab) -> None:
    code, _ = lab.client(b"\x0a" + b"\xff" * 2_000_000).failure()
    assert code == "RESOURCE_EXHAUSTED"
    assert lab.client(START, STOP).rest()[-1].WhichOneof("response_type") == "stopped"


# Clients that behave badly.


def test_a_silent_client_is_let_go(lab: Lab) -> None:
    lab.server._service._first_message_seconds = 0.1
    code, text = lab.client().failure()
    assert code == "ABORTED"
    assert text == "no request came within 0.1 seconds"


def test_a_client_that_reads_nothing_is_let_go(lab: Lab) -> None:
    """Its window fills up with updates; then its recording ends and its place is free."""
    lab.server._service._write_seconds = 0.3
    lab.server.recorder.config = msgspec.structs.replace(lab.config, node_name="n" * 1_000_000)
    stub = lab.channel.stream_stream(METHOD)
    waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    waiting.put(START)
    call = stub(iter(waiting.get, None), timeout=60)
    assert wait_for(lambda: lab.server.recorder.active)
    assert wait_for(lambda: not lab.server.recorder.active)
    audit = (lab.server.recorder.store.path / "audit.jsonl").read_text()
    assert '"reason":"gone"' in audit
    waiting.put(None)
    call.cancel()


def test_a_thousand_streams_are_bounded(tmp_path: Path) -> None:
    lab = Lab(tmp_path, max_streams=8, max_recordings=4)
    clients = [lab.client(START, timeout=300) for _ in range(1000)]
    codes: dict[str, int] = {}
    for client in clients:
        try:
            client.next()
            codes["OK"] = codes.get("OK", 0) + 1
        except (grpc.RpcError, StopIteration) as error:
            name = error.code().name  # type: ignore[union-attr]  # a call, too
            codes[name] = codes.get(name, 0) + 1
            client.half_close()
    # A few are turned away before the client knows how many streams there may be.
    assert codes.pop("OK") == 4
    assert codes.keys() <= {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}
    # The client's library has threads of its own in this process, one for each call.
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("trireme")]
    assert len(ours) < 100
    assert len(lab.server.recorder.active) == 4
    for client in clients:
        client.half_close()
    lab.close()


def test_a_second_recorder_does_not_take_the_socket(lab: Lab, tmp_path: Path) -> None:
    config = RecorderConfig(directory=str(tmp_path / "other"), listen=[lab.address])
    with pytest.raises(SocketBusyError, match=r"\[recorder\] another process has"):
        RecorderServer(config).open()
    assert lab.client(START, STOP).rest()[-1].WhichOneof("response_type") == "stopped"
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o660


# Beyond Hubble.


def test_options_come_as_metadata(lab: Lab) -> None:
    make: Dynamic = lab.types["trireme.recorder.v1.RecordingOptions"]
    options = make(
        capture_format="pcapng",
        ring_files=3,
        rotate_bytes=1000,
        interfaces=["eth0", "eth1"],
        from_queue=True,
        rotate_every={"seconds": 60},
    )
    metadata = (("trireme-recording-options-bin", options.SerializeToString()),)
    client = lab.client(START, STOP, metadata=metadata)
    assert client.rest()[-1].stopped.filesink.file_path.endswith(".pcapng")
    request = lab.requests[0]
    assert (request.ring_files, request.rotate_bytes) == (3, 1000)
    assert request.rotate_ns == 60_000_000_000
    assert request.interfaces == ("eth0", "eth1")
    assert request.from_queue
    assert dict(client.call.initial_metadata())["trireme-file"].endswith(".pcapng")


@pytest.mark.parametrize(
    ("options", "text"),
    [(b"\xff", "cannot read a message"), (b"\x0a\x03zip", 'unknown capture format "zip"')],
)
def test_wrong_options_are_refused(lab: Lab, options: bytes, text: str) -> None:
    metadata = (("trireme-recording-options-bin", options),)
    code, found = lab.client(START, metadata=metadata).failure()
    assert code == "INVALID_ARGUMENT"
    assert text in found


def test_recordings_are_listed_stopped_and_fetched(lab: Lab) -> None:
    client = lab.client(START)
    client.next()
    lab.sources[0].put(frames(2))
    (entry,) = lab.ask("List", "ListRequest", "ListResponse").recordings
    assert entry.running
    assert entry.who == f"uid {os.getuid()} (process {os.getpid()})"
    answer = lab.ask("Stop", "StopRequest", "StopResponse", name=entry.name)
    assert answer.path == entry.path
    assert answer.stats.packets_captured == 2
    assert client.rest()[-1].WhichOneof("response_type") == "stopped"
    fetch = lab.channel.unary_stream("/trireme.recorder.v1.Recordings/Fetch")
    make: Dynamic = lab.types["trireme.recorder.v1.FetchRequest"]
    kind: Dynamic = lab.types["trireme.recorder.v1.FetchResponse"]
    chunks = fetch(make(name=entry.name).SerializeToString(), timeout=SECONDS)
    content = b"".join(kind.FromString(one).data for one in chunks)
    assert content == Path(entry.path).read_bytes()
    for name in ("audit.jsonl", "../s", ""):
        with pytest.raises(grpc.RpcError) as caught:
            list(fetch(make(name=name).SerializeToString(), timeout=SECONDS))
        error: Dynamic = caught.value
        assert error.code() is grpc.StatusCode.NOT_FOUND


def test_a_running_recording_is_followed_to_its_end(lab: Lab) -> None:
    client = lab.client(START)
    client.next()
    name = dict(client.call.initial_metadata())["trireme-file"]
    fetch = lab.channel.unary_stream("/trireme.recorder.v1.Recordings/Fetch")
    make: Dynamic = lab.types["trireme.recorder.v1.FetchRequest"]
    kind: Dynamic = lab.types["trireme.recorder.v1.FetchResponse"]
    chunks = fetch(make(name=name, follow=True).SerializeToString(), timeout=SECONDS)
    content = kind.FromString(next(chunks)).data
    lab.sources[0].put(frames(2))
    client.say(STOP)
    path = client.rest()[-1].stopped.filesink.file_path
    content += b"".join(kind.FromString(one).data for one in chunks)
    assert content == Path(path).read_bytes()
    assert len(content) == 24 + 2 * 76


def test_nothing_stays_behind(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.client(START, STOP).rest()
    lab.close()
    assert [one.name for one in tmp_path.iterdir()] == ["r"]
    with contextlib.suppress(OSError):
        lab.server.close()


# Over the network.


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, str]:
    """Make an authority, a certificate for the recorder, and one for a client."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    paths = {}
    for name, made in (
        ("server", authority.issue_cert("127.0.0.1")),
        ("client", authority.issue_cert("alice@example.org")),
    ):
        paths[f"{name}_key"] = tmp_path / f"{name}.key"
        paths[f"{name}_certificate"] = tmp_path / f"{name}.crt"
        made.private_key_pem.write_to_path(paths[f"{name}_key"])
        made.cert_chain_pems[0].write_to_path(paths[f"{name}_certificate"])
    paths["authority"] = tmp_path / "ca.crt"
    authority.cert_pem.write_to_path(paths["authority"])
    return {name: str(path) for name, path in paths.items()}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_tcp_is_for_clients_with_a_certificate(
    tmp_path: Path, certificates: dict[str, str]
) -> None:
    address = f"127.0.0.1:{free_port()}"
    lab = Lab(
        tmp_path,
        listen=[address],
        tls_certificate_file=certificates["server_certificate"],
        tls_key_file=certificates["server_key"],
        tls_client_ca_file=certificates["authority"],
    )
    tls = ClientTls(
        authority=certificates["authority"],
        certificate=certificates["client_certificate"],
        key=certificates["client_key"],
    )
    with RecorderClient(address, tls) as client:
        call = client.record(RecordingRequest(include=(build_filter("::/0", "::/0"),)))
        updates = iter(call)
        assert next(updates).path == ""
        assert client.list()[0].who.startswith("alice@example.org at ipv4:127.0.0.1:")
        call.stop()
        assert list(updates)[-1].path.endswith(".pcap")
    authority = Path(certificates["authority"]).read_bytes()
    with (
        grpc.secure_channel(address, grpc.ssl_channel_credentials(authority)) as nobody,
        pytest.raises(grpc.RpcError) as caught,
    ):
        Client(nobody, lab.types, START, STOP).rest()
    error: Dynamic = caught.value
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    with (
        grpc.insecure_channel(address) as plain,
        pytest.raises(grpc.RpcError),
    ):
        Client(plain, lab.types, START, STOP).rest()
    assert len(lab.requests) == 1
    lab.close()
